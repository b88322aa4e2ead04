"""The backend on Ray: one machine or a cluster. A run whose worker or node is gone is begun again elsewhere.

Every machine needs the same checkout, Python and results folder at the same path.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import time
from pathlib import Path
from typing import Any

from sweeps.job import Job
from sweeps.worker import LOST, Outcome
from utils.cores import cores
from utils.errors import ConfigError, one_line

SOURCE = Path(__file__).resolve().parents[1]
STORE_BYTES = 100_000_000  # of Ray's object store, which here holds a few kB; its least is 75 MB


def installed() -> bool:
    """Whether Ray is installed; it is not imported by this."""
    return importlib.util.find_spec("ray") is not None


class OnRay:
    """Runs as Ray's tasks, each with one core and a share of a GPU."""

    def __init__(self, workers: int | None, stop: Path, address: str | None, gpus_per_run: float) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # a run without a share sees no GPU
        try:
            self._ray: Any = importlib.import_module("ray")  # a large package: only where it is used
        except ImportError as error:
            raise ConfigError(
                "--backend ray: Ray is not installed; pip install -e '.[sweep]', or use --backend processes"
            ) from error
        self.stop, self._given = stop, workers
        local = {} if address else {"num_cpus": workers or cores(), "object_store_memory": STORE_BYTES}
        try:
            self._ray.init(address=address, include_dashboard=False if not address else None, log_to_driver=False,
                     logging_level=logging.ERROR, configure_logging=True, **local)  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            what = f"--address {address}" if address else "--backend ray"
            reason = one_line(error, slice(200))
            raise ConfigError(f"{what}: Ray does not start ({reason}); see docs/sweeps.md") from error
        self._task = self._ray.remote(num_cpus=1, num_gpus=gpus_per_run, max_retries=-1)(_task())
        self._check_gpus(gpus_per_run)
        self._jobs: dict[Any, Job] = {}

    def _check_gpus(self, share: float) -> None:
        there = self._ray.cluster_resources().get("GPU", 0)
        if share and there < min(share, 1):
            self._ray.shutdown()
            raise ConfigError(f"--gpus-per-run {share:g}: Ray sees {there:g} GPUs; leave the flag out")

    def capacity(self) -> int:
        """How many runs may be asked for at once: nodes come and go."""
        return self._given or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def submit(self, job: Job) -> None:
        """Have a run begun where a core is free."""
        self._jobs[self._task.remote(str(SOURCE), job.plain(), str(self.stop))] = job

    def ended(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """The runs that ended since the last time; waits for one for at most `seconds`."""
        if not self._jobs:
            time.sleep(seconds)
            return []
        refs = list(self._jobs)
        done, _ = self._ray.wait(refs, num_returns=1, timeout=seconds)
        found = []
        for ref in done:
            job = self._jobs.pop(ref)
            try:
                found.append((job, Outcome(**self._ray.get(ref))))
            except self._ray.exceptions.RayError as error:  # its worker died in a way that Ray does not repeat
                words = tuple(line for line in str(error).splitlines() if line.strip())
                found.append((job, Outcome(LOST, type(error).__name__, words[-8:])))
        return found

    def close(self) -> None:
        """Leave the cluster, or end the one that was started here."""
        self._ray.shutdown()


def _task() -> Any:
    """The function that workers call. Ray sends it as it is, so that they need not find this file before it runs."""

    def work(source: str, job: dict[str, Any], stop: str) -> dict[str, Any]:
        import sys

        if source not in sys.path:
            sys.path.insert(0, source)
        from sweeps.worker import do_plain

        return do_plain(job, stop)

    return work
