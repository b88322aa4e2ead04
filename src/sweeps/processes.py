"""The backend for one machine: a process per run, as many at once as there are workers."""

from __future__ import annotations

import concurrent.futures
import time
from pathlib import Path

from sweeps.forks import Forks
from sweeps.job import Job
from sweeps.worker import Outcome, do
from utils.cores import cores


class Processes:
    """Workers are threads that wait, each for the process of one run."""

    def __init__(self, workers: int | None, stop: Path) -> None:
        self.stop, self.workers = stop, workers or cores()
        self._forks = Forks()
        self._forks.start()
        self._threads = concurrent.futures.ThreadPoolExecutor(self.workers)
        self._jobs: dict[concurrent.futures.Future[Outcome], Job] = {}

    def capacity(self) -> int:
        """How many runs may go on at once."""
        return self.workers

    def submit(self, job: Job) -> None:
        """Have a run begun by the next free worker."""
        self._jobs[self._threads.submit(do, job, self._forks, self.stop)] = job

    def ended(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """The runs that ended since the last time; waits for one for at most `seconds`."""
        if not self._jobs:
            time.sleep(seconds)
        done, _ = concurrent.futures.wait(self._jobs, seconds, concurrent.futures.FIRST_COMPLETED)
        return [(self._jobs.pop(future), future.result()) for future in done]

    def close(self) -> None:
        """End all workers; runs that still go on are ended."""
        self._forks.close()
        self._threads.shutdown()
