"""What the results folder has of a run already: a finished record, one in progress, checkpoints to continue from."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.checkpoint import check_checkpoint
from utils.description import FILE, read_description
from utils.errors import CheckpointError
from utils.finished_run import FINISHED

FRESH_SECONDS = 60  # a living run writes its record every ten seconds


@dataclass(frozen=True)
class Record:
    """A Sacred run directory of some run. score: its final one, None where it has none or has not ended."""

    folder: Path
    status: str
    score: float | None
    score_is: str | None
    by_hand: bool
    heartbeat: str | None

    @property
    def lives(self) -> bool:
        """Whether its process is at work, as far as its record tells."""
        if self.status != "RUNNING" or self.heartbeat is None:
            return False
        try:
            beat = datetime.datetime.fromisoformat(self.heartbeat)
        except ValueError:
            return False
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)  # as Sacred writes it
        return abs((now - beat).total_seconds()) < FRESH_SECONDS


class Records:
    """The records below one folder such as results/sacred/spacql, by their runs' identity.

    Between the folder and its runs is one for each environment, or each name that a dataset has had.

    only: the one identity that is of interest, by which most files need not be parsed.
    """

    def __init__(self, folder: Path, only: str = "") -> None:
        self.folder, self.only = folder, only
        self._by_folder: dict[Path, tuple[str, Record]] = {}
        self._without: set[Path] = set()  # ended records without an identity, such as those of earlier releases
        self.refresh()

    def refresh(self) -> None:
        """Read what is new; a record that has ended stays as it is."""
        for directory in (each for place in _entries(self.folder) for each in _entries(place)):
            known = self._by_folder.get(directory)
            if directory in self._without or (known is not None and known[1].status in FINISHED):
                continue
            # In this order: what is said of a run that has ended is written before that it has.
            entry, info = _read(directory / "run.json"), _read(directory / "info.json", self.only).get("run")
            if not isinstance(info, dict) or not isinstance(info.get("identity"), str) or not entry:
                if entry.get("status") in FINISHED:
                    self._without.add(directory)
                continue
            record = Record(directory, str(entry.get("status")), info.get("score"), info.get("score_is"),
                            not info.get("in_sweep"), entry.get("heartbeat"))  # fmt: skip
            self._by_folder[directory] = info["identity"], record

    def _of(self, identity: str) -> Iterator[Record]:
        return (record for own, record in self._by_folder.values() if own == identity)

    def finished(self, identity: str) -> Record | None:
        """The first completed record of a run."""
        return next((record for record in self._of(identity) if record.status == "COMPLETED"), None)

    def elsewhere(self, identity: str) -> Record | None:
        """The record of a living run that no sweep has started: those of sweeps hold a lock."""
        return next((record for record in self._of(identity) if record.by_hand and record.lives), None)


def checkpoint_to_continue(results: Path, name: str, seed: int, identity: str, t_max: int) -> Path | None:
    """The step directory of the run's furthest whole checkpoint below `t_max`; None where there is none.

    A checkpoint at `t_max` is of a run that was killed after its last step: it goes on from the one before, so that its
    closing evaluation is the same.
    """
    for _, step in sorted(_steps(results, name, seed, identity, t_max), reverse=True):
        try:
            check_checkpoint(step, warn=False)
        except CheckpointError:
            continue  # damaged: an earlier one will do
        return step
    return None


def last_checkpoint(results: Path, name: str, seed: int, identity: str, t_max: int) -> Path | None:
    """The run's furthest checkpoint below `t_max`, whole or not: their files, which may be large, are not read."""
    return max(_steps(results, name, seed, identity, t_max), default=(0, None))[1]


def _steps(results: Path, name: str, seed: int, identity: str, t_max: int) -> Iterator[tuple[int, Path]]:
    """The run's checkpoints below `t_max`, with their steps."""
    for folder in _model_folders(results, name, seed, identity):
        yield from ((int(step.name), step) for step in _entries(folder)
                    if step.name.isdecimal() and int(step.name) < t_max)  # fmt: skip


def _model_folders(results: Path, name: str, seed: int, identity: str) -> Iterator[Path]:
    for folder in _entries(results / "models"):
        if folder.name.startswith(f"{name}_seed{seed}_") and _describes(folder / FILE, identity):
            yield folder


def _describes(path: Path, identity: str) -> bool:
    """Whether a description is of the run and is sound; continuing would refuse a damaged one."""
    if _read(path, identity).get("identity") != identity:
        return False
    try:
        read_description(path)
    except CheckpointError:
        return False
    return True


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def _read(path: Path, holding: str = "") -> dict[str, Any]:
    """A JSON mapping; empty where it is none, such as a record that is just begun or that a kill has cut short.

    holding: a text without which the file is of no interest.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if holding in text else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
