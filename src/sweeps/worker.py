"""One run as a worker does it: in a process of its own, which is stopped when the sweep is."""

from __future__ import annotations

import signal
from concurrent.futures import TimeoutError as NotYet
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeps.forks import GONE, Forks
from sweeps.job import BUSY, Job

POLL_SECONDS = 0.2
INTERRUPTED_STATUS = 130  # of `main.py` after a signal
DONE, ELSEWHERE, LOST, STOPPED, FAILED = "done", "elsewhere", "lost", "stopped", "failed"


@dataclass(frozen=True)
class Outcome:
    """How a worker's attempt at a run ended.

    what: DONE; ELSEWHERE, another process has the run; LOST, something ended its process; STOPPED, with the sweep;
    FAILED. why: its exit status or the signal, for people. lines: the last that it printed.
    """

    what: str
    why: str
    lines: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """The fields as JSON has them; `Outcome(**plain)` is the outcome again."""
        return asdict(self)


def do(job: Job, forks: Forks, stop: Path) -> Outcome:
    """Do a run to its end, or until the file `stop` appears: then it saves, and stops."""
    if stop.exists():
        return Outcome(STOPPED, "it had not begun")
    number, future = forks.fork(job)
    told = False
    while True:
        try:
            status = future.result(POLL_SECONDS)
            break
        except NotYet:
            if not told and stop.exists():
                told = True
                forks.send(number, signal.SIGTERM)
    if status == 0:
        return Outcome(DONE, "")
    if status == BUSY:
        return Outcome(ELSEWHERE, "")
    lines = tuple(job.places.last_lines() or forks.last_words())
    if status is GONE:
        return Outcome(LOST, "its worker ended", tuple(forks.last_words()) or lines)
    ended_by_signal = status < 0 or status == INTERRUPTED_STATUS
    why = f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    if ended_by_signal and (told or stop.exists()):
        return Outcome(STOPPED, why)
    return Outcome(LOST if ended_by_signal else FAILED, why, lines)


_own: list[Forks] = []


def do_plain(fields: dict[str, Any], stop: str) -> dict[str, Any]:
    """`do` for a process on whichever machine, which keeps its fork server for its next run."""
    if not _own:
        _own.append(Forks())
    return do(Job(**fields), _own[0], Path(stop)).plain()
