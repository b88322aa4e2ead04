"""What a process is told of one run of a sweep. Nothing large is imported here: processes that only wait read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeps.places import Places
from utils.overrides import overrides

MAIN = Path(__file__).resolve().parents[1] / "main.py"
BUSY = 75  # exit status where another process has the run; sysexits.h calls it a temporary failure


@dataclass(frozen=True)
class Job:
    """What a process needs to know to do one run; plain values, for it goes to other machines.

    records: Sacred's folder of the algorithm's runs. environment: variables to set. mates: identities of further seeds'
    runs that the same process does.
    """

    words: tuple[str, ...]
    identity: str
    name: str
    seed: int
    t_max: int
    results: str
    records: str
    directory: str
    environment: Mapping[str, str]
    mates: tuple[str, ...] = ()

    @property
    def places(self) -> Places:
        return Places(Path(self.results), self.identity)

    @property
    def locks(self) -> list[Places]:
        """Of all runs that its process does."""
        return [Places(Path(self.results), identity) for identity in (self.identity, *self.mates)]

    def plain(self) -> dict[str, Any]:
        """The fields as JSON has them; `Job(**plain)` is the job again."""
        return asdict(self)


def continuing(words: Sequence[str], checkpoint: Path | None) -> list[str]:
    """A run's words, with which it begins, or goes on from a checkpoint.

    Weights that it began from are then left out: the description beside the checkpoint names them. Where a file of
    overrides has them, a word after it says none.
    """
    if checkpoint is None:
        return list(words)
    kept = [word for word in words if word.partition("=")[0] != "load_weights"]
    if "with" in kept and overrides(kept[kept.index("with") + 1 :]).get("load_weights"):
        kept.append("load_weights=''")
    return [*kept, f"checkpoint_path={str(checkpoint)!r}"]
