"""What a sweep makes of the ways in which its workers end."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import pytest

from sweeps.driver import Sweep
from sweeps.job import Job
from sweeps.table import View
from sweeps.worker import LOST, Outcome
from tests.sweeps.test_found import checkpoint
from tests.sweeps.test_table import standing
from utils.signals import Interrupted


class LosesItsWorker:
    """A backend whose one run is ended from outside after Ctrl-C."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def capacity(self) -> int:
        return 1

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def ended(self, seconds: float) -> list[tuple[Job, Outcome]]:
        os.kill(os.getpid(), signal.SIGINT)
        jobs, self.jobs = self.jobs, []
        return [(job, Outcome(LOST, "signal 9")) for job in jobs]

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("saved", "says"), [(True, "have saved; the same"), (False, "nothing to save")])
def test_a_run_that_is_lost_after_a_signal_is_as_far_as_its_checkpoint(saved: bool, says: str, tmp_path: Path) -> None:
    cell = standing(tmp_path, 1).cell
    cell.config["offline"] = True
    if saved:
        checkpoint(tmp_path, "bc_seed1_x", 500, cell.identity)
    stream = io.StringIO()
    with pytest.raises(Interrupted, match=says):
        Sweep([cell], LosesItsWorker(), View(stream, 1), tmp_path / "stop").run()
    assert ("stopped, at 500 of 1000" in stream.getvalue()) is saved
