"""One run of a sweep, in the process that was forked for it: lock it, see what there is of it, and be `main.py`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

from sweeps.found import Records, checkpoint_to_continue
from sweeps.job import BUSY, MAIN, Job, continuing
from utils.progress import FILE_VARIABLE

_PR_SET_PDEATHSIG = 1


def become(job: Job, parent: int) -> list[str]:
    """Prepare this forked process for the run; returns its command line. The process ends where nothing is to do.

    parent: the process that forked. Where that ends, this one gets SIGTERM, by which a run saves and stops.
    """
    os.setsid()  # Ctrl-C in the terminal is the sweep's, which then stops its runs
    places = job.places
    places.make()
    os.chdir(job.directory)
    os.environ.update(job.environment)
    os.environ[FILE_VARIABLE] = str(places.progress)
    if any(each.take() is None for each in job.locks):  # the descriptors stay open for as long as the process lives
        os._exit(BUSY)
    _end_with(parent)
    _redirect(places.output)
    places.progress.unlink(missing_ok=True)
    if job.mates:  # none of them had begun; where that has changed they are looked at one by one
        known = Records(Path(job.records))
        if any(known.finished(each.identity) or known.elsewhere(each.identity) for each in job.locks):
            os._exit(BUSY)
        return [str(MAIN), *job.words]
    records = Records(Path(job.records), job.identity)
    if records.finished(job.identity) is not None:
        os._exit(0)
    if records.elsewhere(job.identity) is not None:
        os._exit(BUSY)
    step = checkpoint_to_continue(Path(job.results), job.name, job.seed, job.identity, job.t_max)
    return [str(MAIN), *continuing(job.words, step)]


def _end_with(parent: int) -> None:
    """Have the system send this process SIGTERM when its parent ends. Elsewhere than on Linux it runs to its end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(BUSY)


def _redirect(output: Path) -> None:
    for number, name in enumerate((os.devnull, str(output), str(output))):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if number == 1 else 0)
        descriptor = os.open(name, flags if number else os.O_RDONLY, 0o666)
        os.dup2(descriptor, number)
        os.close(descriptor)
