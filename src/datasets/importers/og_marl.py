"""OG-MARL's vaults, which Flashbax writes: arrays (B, T, ...) in a tensorstore, all episodes one after the other.

A vault is a folder with metadata.json (the arrays' names, shapes and types) beside a store that the package tensorstore
reads; JAX and Flashbax are not needed. A step's row has its observation, action, reward and flags. What the last step
of an episode led to is not recorded.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from datasets.importers.ends import check_finite, check_flags, copied_note, gone_note, kept_rows, terminal_flags
from datasets.importers.leftovers import left_out_note
from datasets.importers.options import refuse_option, stated_bounds
from datasets.importers.padded_rows import check_no_onehot
from datasets.importers.source import Episode, Source
from datasets.importers.vault import OPTIONAL, REQUIRED, Vault, leaves, open_vault, read_metadata
from utils.errors import DatasetError, printable

_BLOCK = 1 << 24  # bytes read at once
_LOOKED_AT = 1000  # rows that tell whether actions are one-hot codes


@dataclass
class _Tally:
    reward: float = 0.0
    copied: int = 0
    cut: int = 0
    gone: int = 0
    notes: list[str] = field(default_factory=list)


class OGMARL:
    """The importer."""

    def recognise(self, path: Path) -> str | None:
        metadata = read_metadata(path) if (path / "metadata.json").is_file() else None
        if metadata is None or not isinstance(metadata.get("structure_shape"), dict):
            return None
        shapes = leaves(metadata["structure_shape"])
        if not set(REQUIRED) <= set(shapes):
            return None
        return f"a Flashbax vault of OG-MARL's with {', '.join(sorted(shapes))}"

    def open(self, path: Path, options: Mapping[str, Any]) -> Source:
        """Read the metadata and the first row, whose -inf are padding.

        options: `bounds` of continuous actions. Raises DatasetError for a folder that is no vault or lacks an array,
        and where tensorstore is not installed.
        """
        vault = open_vault(path)
        tally = _Tally()
        card: dict[str, Any] = {"environment": None, "behaviour": _origin(path), "quality": path.resolve().name.lower()}
        card["reference"] = None
        if vault.discrete:
            refuse_option(options, "bounds", f"the actions of {path} are discrete")
            if "infos.legals" not in vault.stores:
                raise DatasetError(f"{path} lacks 'infos.legals', which tells how many actions there are")
            card |= {"action_space": "discrete", "n_actions": int(vault.stores["infos.legals"].shape[3])}
        else:
            if len(vault.stores["actions"].shape) < 4:
                raise DatasetError(
                    f"'actions' in {path} are no whole numbers and have rows of shape (agents,); discrete actions are "
                    "whole numbers, continuous ones have rows of (agents, size)"
                )
            if "infos.legals" in vault.stores:
                check_no_onehot(vault.rows("actions", 0, 0, min(vault.n_rows, _LOOKED_AT)), path)
            low, high = stated_bounds(options, int(vault.stores["actions"].shape[3]))
            card |= {"action_space": "continuous", "action_low": low, "action_high": high}
        if vault.padded.any():
            card["obs_mask"] = (~vault.padded).astype(int).tolist()
            tally.notes.append(
                "observations padded with -inf are padded with zeros; the card's obs_mask has 0 in these places"
            )
        if "truncations" not in vault.stores:
            tally.notes.append(
                "the vault has no truncations: an episode that a time limit cut may look terminal or, where its last "
                "row has no flag, be joined to the next one"
            )
        taken = set(vault.stores) - (set() if vault.discrete else {"infos.legals"})
        tally.notes.extend(left_out_note(vault.names, taken, (*REQUIRED, *OPTIONAL)))
        return Source(card, _episodes(vault, tally), tally.notes)


IMPORTER = OGMARL()


def _origin(path: Path) -> str:
    """Source, environment, scenario and dataset, which the folders' names tell: vaults/SOURCE/ENV/SCENARIO.vlt/UID."""
    parts = path.resolve().parts[-4:]
    return printable("OG-MARL's " + "/".join(parts if len(parts) > 1 and parts[-2].endswith(".vlt") else parts[-1:]))


def _episodes(vault: Vault, tally: _Tally) -> Iterator[Episode]:
    per_row = sum(math.prod(store.shape[2:]) * store.dtype.numpy_dtype.itemsize for store in vault.stores.values())
    step = max(2, _BLOCK // max(1, per_row))
    for stream in range(vault.n_streams):
        kept: dict[str, np.ndarray] = {}
        first = 0  # the row of the vault in which `kept` begins
        for start in range(0, vault.n_rows, step):
            stop = min(start + step, vault.n_rows)
            block = {key: vault.rows(key, stream, start, stop) for key in vault.stores}
            for key in ("terminals", "truncations", "infos.legals"):
                if key in block:
                    check_flags(block[key], key, str(vault.folder), start)
            kept = {key: np.concatenate([kept[key], block[key]]) if kept else block[key] for key in block}
            ends = _ends(kept)
            begin = 0
            for end in np.flatnonzero(ends):
                yield from _episode(vault, kept, begin, int(end) + 1, first, stream, tally)
                begin = int(end) + 1
            kept = {key: array[begin:] for key, array in kept.items()}
            first += begin
        if len(kept.get("rewards", ())):
            yield from _episode(vault, kept, 0, len(kept["rewards"]), first, stream, tally)
    if tally.copied:
        tally.notes.append(copied_note(tally.copied))
    if tally.cut:
        tally.notes.append(
            f"{tally.cut} episodes were cut: their last recorded observation is their final row, so that step is left "
            f"out, and with it rewards of {tally.reward:g} in all{gone_note(tally.gone)}"
        )


def _ends(rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """Whether an episode ends with a row, (rows,) bool."""
    return np.asarray(_ended(rows).all(1))


def _ended(rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """Whether an agent's flag of either kind is set, (rows, N) bool."""
    ended: np.ndarray = rows["terminals"] != 0
    return ended | (rows["truncations"] != 0) if "truncations" in rows else ended


def _check_ended_stay(rows: Mapping[str, np.ndarray], origin: str) -> None:
    """Raise DatasetError where an agent that has ended goes on within what would be one episode."""
    ended = _ended(rows)
    again = ended[:-1] & ~ended[1:]  # (rows - 1, N)
    if again.any():
        row, agent = (int(index) for index in np.argwhere(again)[0])
        raise DatasetError(
            f"{origin}: the flag of agent {agent} is 1 on row {row} and 0 on the next, and no row between has all "
            "agents' flags, so two episodes would be joined; set every agent's flag on an episode's last row"
        )


def _episode(
    vault: Vault, rows: Mapping[str, np.ndarray], begin: int, end: int, first: int, stream: int, tally: _Tally
) -> Iterator[Episode]:
    """One episode from the vault's rows [begin, end); none where it was cut after its first row."""
    of = f" of stream {stream}" if vault.n_streams > 1 else ""
    origin = f"rows {first + begin} to {first + end - 1}{of} of {vault.folder}"
    own = {key: array[begin:end] for key, array in rows.items()}
    check_finite(own["rewards"], "rewards", origin)
    _check_ended_stay(own, origin)
    terminal = bool((own["terminals"][-1] != 0).all())
    if not terminal:
        tally.cut += 1
        tally.reward += float(own["rewards"][-1].mean())
        if end - begin < 2:
            tally.gone += 1
            return
    index = kept_rows(end - begin, terminal)
    tally.copied += terminal
    wrong = np.isneginf(own["observations"]) != vault.padded  # (L, N, O)
    if wrong.any():
        row, agent, column = np.argwhere(wrong)[0]
        raise DatasetError(
            f"{origin}: 'observations' has a -inf on row {row} of agent {agent} in column {column} where the first row "
            "of the vault has none, or the reverse, so it is no padding"
        )
    actions = np.array(own["actions"])[index]
    actions = actions[..., None] if actions.ndim == 2 else actions
    if terminal:
        actions[-1] = 0
    reward = own["rewards"][index].astype(np.float64)
    reward[-1] = 0
    arrays = {"obs": np.where(vault.padded, 0, own["observations"])[index], "actions": actions, "reward": reward,
              "terminated": terminal_flags(len(index), terminal)}  # fmt: skip
    arrays |= {"state": own["infos.state"][index]} if "infos.state" in own else {}
    arrays |= {"avail_actions": (own["infos.legals"] != 0)[index]} if vault.discrete else {}
    yield Episode(arrays, not terminal, origin)
