"""How far each run of a sweep is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.cells import Cell
from sweeps.found import Record, Records, checkpoint_to_continue, last_checkpoint
from sweeps.places import Places
from sweeps.worker import DONE, ELSEWHERE, FAILED, STOPPED

WAITING, RUNNING = "waiting", "running"
ENDED = (DONE, STOPPED, FAILED)


@dataclass
class Standing:
    """One run and what became of it.

    what: WAITING, RUNNING, DONE, ELSEWHERE (another process has it), STOPPED or FAILED. before: it was done before this
    sweep. why, lines: how it failed and what it last printed. losses: how often its worker was lost. not_before: when
    to look again, on the clock of `time.monotonic`. leader: the run whose process does this one, itself or that of
    another seed. mates: how many runs that process does. notice: what is to be said as it goes on.
    """

    cell: Cell
    what: str = WAITING
    score: str = ""
    before: bool = False
    why: str = ""
    lines: tuple[str, ...] = ()
    losses: int = 0
    not_before: float = 0.0
    began: float = 0.0
    seconds: float = 0.0
    leader: Cell | None = None
    mates: int = 1
    notice: str = ""

    @property
    def places(self) -> Places:
        """Where the process that does the run prints and tells."""
        return (self.leader or self.cell).places

    def finish(self, record: Record | None) -> None:
        """Note that the run is done, and its score."""
        self.what = DONE
        self.score = score_of(record)

    def stop_at(self, step: Path) -> None:
        """Note that the run has stopped, and its last checkpoint."""
        self.what, self.why = STOPPED, f"at {step.name} of {self.cell.t_max}"

    def progress(self) -> dict[str, Any]:
        """What the run last told, empty where it is not running."""
        return self.places.read_progress() if self.what in (RUNNING, ELSEWHERE) else {}


def score_of(record: Record | None) -> str:
    """A finished run's score for a table: `67.21 normalised score`."""
    if record is None or not isinstance(record.score, int | float):
        return ""
    return f"{record.score:.2f} {record.score_is or ''}".rstrip()


class Index:
    """The records of all folders in which the runs of a sweep are filed."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._records = {folder: Records(folder) for folder in {cell.records for cell in cells}}

    def finished(self, cell: Cell, refresh: bool = False) -> Record | None:
        """The completed record of a run."""
        records = self._records[cell.records]
        if refresh:
            records.refresh()
        return records.finished(cell.identity)

    def elsewhere(self, cell: Cell) -> bool:
        """Whether a run that was started by hand is at work."""
        return self._records[cell.records].elsewhere(cell.identity) is not None


def looked_up(cells: Sequence[Cell]) -> list[Standing]:
    """Every run as the results folder tells it; those that are not done are waiting."""
    index, found = Index(cells), []
    for cell in cells:
        standing = Standing(cell)
        if (record := index.finished(cell)) is not None:
            standing.finish(record)
            standing.before = True
        found.append(standing)
    return found


def trained_together(standings: Sequence[Standing]) -> list[list[Standing]]:
    """Runs that wait and of which nothing is there, those that differ by their seed alone together.

    A run that was broken off goes on by itself.
    """
    found: dict[tuple[str, ...], list[Standing]] = {}
    for each in standings:
        if each.what == WAITING:
            fresh = not each.losses and stopped_at(each.cell) is None
            found.setdefault(each.cell.shared_words if fresh else each.cell.words, []).append(each)
    return list(found.values())


def told_from_outside(cells: Sequence[Cell]) -> list[Standing]:
    """Every run as somebody sees it who runs none: also which go on, and how far the stopped ones came."""
    index, standings = Index(cells), looked_up(cells)
    for standing in standings:
        cell = standing.cell
        if standing.what == DONE:
            continue
        if cell.places.taken() or index.elsewhere(cell):
            standing.what = RUNNING
        elif (step := stopped_at(cell)) is not None:
            standing.stop_at(step)
    return standings


def stopped_at(cell: Cell) -> Path | None:
    """The checkpoint from which a run will go on; None where it will begin."""
    return checkpoint_to_continue(*_of_run(cell))


def _of_run(cell: Cell) -> tuple[Path, str, int, str, int]:
    """What its checkpoints are found by."""
    return cell.results, str(cell.config["name"]), cell.seed, cell.identity, cell.t_max


def notice_of(cell: Cell) -> str:
    """What a user should know of a run that goes on: from where; an online one starts its environments anew.

    Empty for a run that begins. Checkpoints are not read for it: where the last one is damaged, the run's own process
    goes on from an earlier one.
    """
    step = last_checkpoint(*_of_run(cell))
    if step is None:
        return ""
    if cell.config["offline"]:
        return f"goes on at update {step.name}"
    return "goes on from its checkpoint: online runs are continued, not repeated bit for bit"
