"""The loop of a sweep: hands out runs, sees how they end, shows it, and stops them all on a signal."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from sweeps.cells import Cell, words_together
from sweeps.job import Job
from sweeps.standing import (
    ENDED,
    RUNNING,
    WAITING,
    Index,
    Standing,
    looked_up,
    notice_of,
    stopped_at,
    trained_together,
)
from sweeps.table import View
from sweeps.worker import DONE, ELSEWHERE, FAILED, LOST, STOPPED, Outcome
from utils import signals

TICK_SECONDS = 0.5
AGAIN_SECONDS = 2.0  # until a run that another process has is looked at again
MOST_LOSSES = 3  # of a run's worker, after which the run is the likely cause
FAILED_STATUS = 1


class Backend(Protocol):
    """Who runs jobs."""

    def capacity(self) -> int: ...
    def submit(self, job: Job) -> None: ...
    def ended(self, seconds: float) -> list[tuple[Job, Outcome]]: ...
    def close(self) -> None: ...


def stop_file(results: Path) -> Path:
    """The file whose appearance stops the workers of this sweep and of no other."""
    return results / "sweeps" / f"stop-{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"


def job_of(cells: Sequence[Cell]) -> Job:
    """What a worker is told of a run, or of several seeds' runs."""
    cell, *mates = cells
    return Job(words_together(cells), cell.identity, str(cell.config["name"]), cell.seed, cell.t_max, str(cell.results),
               str(cell.records), os.getcwd(), {}, tuple(mate.identity for mate in mates))  # fmt: skip


class Sweep:
    """The runs of a grid and the backend that does them.

    stop: the file by which workers are told to stop. together: whether one process trains all seeds of a configuration.
    """

    def __init__(self, cells: Sequence[Cell], backend: Backend, view: View, stop: Path, together: bool = False) -> None:
        self.backend, self.view, self.stop, self.together = backend, view, stop, together
        self.standings = looked_up(cells)
        self._by_identity = {standing.cell.identity: standing for standing in self.standings}
        self._index = Index(cells)

    def run(self) -> int:
        """Do all runs that are not done; returns the exit status (1: some failed, 130: stopped by a signal)."""
        self.view.begin(self.standings)
        with signals.StopSignals() as stopping:
            try:
                while self._goes_on(stopping.received is not None):
                    if stopping.received is not None:
                        self._stop()
                    else:
                        self._hand_out()
                    for job, outcome in self.backend.ended(TICK_SECONDS):
                        for identity in (job.identity, *job.mates):
                            self._note(self._by_identity[identity], outcome, stopping.received is not None)
                    self.view.show(self.standings)
            finally:
                self.stop.unlink(missing_ok=True)
            self.view.end(self.standings)
            whats = {standing.what for standing in self.standings}
            if STOPPED in whats:
                but = ", but for those that wait" if WAITING in whats else ""
                raise signals.Interrupted(
                    f"the runs were stopped and have saved{but}; the same command goes on with them"
                )
            if not whats <= {*ENDED}:
                raise signals.Interrupted("there was nothing to save; the same command goes on with what is not done")
        return FAILED_STATUS if FAILED in whats else 0

    def _goes_on(self, stopping: bool) -> bool:
        """Whether there is something to wait for: runs at work, and without a signal those that wait for a worker."""
        ended = (*ENDED, WAITING, ELSEWHERE) if stopping else ENDED
        return not all(standing.what in ended for standing in self.standings)

    def _stop(self) -> None:
        """Tell the workers to stop."""
        if not self.stop.exists():
            self.stop.parent.mkdir(parents=True, exist_ok=True)
            self.stop.touch()

    def _hand_out(self) -> None:
        """Have as many processes begun as workers are free."""
        running = (each for each in self.standings if each.what == RUNNING)
        free = self.backend.capacity() - sum(each.leader is each.cell for each in running)
        now = time.monotonic()
        ready = [each for each in self.standings if each.what in (WAITING, ELSEWHERE) and each.not_before <= now]
        alone = [[each] for each in ready if each.what == ELSEWHERE or not self.together]
        several = trained_together(ready) if self.together and free > 0 else []
        for group in sorted([*several, *alone], key=lambda group: group[0].what == ELSEWHERE)[: max(0, free)]:
            if group[0].what == ELSEWHERE and group[0].cell.places.taken():
                group[0].not_before = now + AGAIN_SECONDS
                continue
            for standing in group:
                standing.what, standing.began = RUNNING, now
                standing.leader, standing.mates = group[0].cell, len(group)
                standing.notice = notice_of(standing.cell)
            self.backend.submit(job_of([standing.cell for standing in group]))

    def _note(self, standing: Standing, outcome: Outcome, stopping: bool) -> None:
        """Note how a worker's attempt at a run ended."""
        now = time.monotonic()
        if outcome.what == DONE or (outcome.what == FAILED and standing.mates > 1):
            record = self._index.finished(standing.cell, refresh=True)
            if record is not None:  # of several seeds' runs some may end well and others not
                standing.seconds = now - standing.began
                standing.finish(record)
                return
            if outcome.what == DONE:
                outcome = Outcome(FAILED, "it ended without a record", outcome.lines)
        if outcome.what == LOST and stopping:  # nobody begins it again: it is as far as its last checkpoint
            outcome = Outcome(STOPPED, outcome.why, outcome.lines)
        if outcome.what == LOST:
            standing.losses += 1
            outcome = Outcome(WAITING if standing.losses < MOST_LOSSES else FAILED, outcome.why, outcome.lines)
        if outcome.what == STOPPED:
            if (step := stopped_at(standing.cell)) is not None:
                standing.stop_at(step)
            else:  # before its first checkpoint, or before it began
                standing.what, standing.why = WAITING, ""
            return
        if outcome.what == ELSEWHERE:
            standing.not_before = now + AGAIN_SECONDS
        standing.what, standing.why, standing.lines = outcome.what, outcome.why, outcome.lines
