"""A copy of this repository's `src` with another checkout's files over it, and runs of its command line."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import torch as th

from tests.command_line import ROOT, status

# What a user copies over: the registries (each folder's `__init__`) come along and replace ours.
COPIED = ("learners", "controllers", "modules", "config/algs")
STAND_INS = Path(__file__).resolve().parent / "stand_ins"

INTERVAL, LAST = 100, 300
# 20-step episodes, so that no rollout of up to four of them passes two intervals.
SHORT = (f"t_max={LAST}", f"test_interval={INTERVAL}", f"save_model_interval={INTERVAL}", f"log_interval={INTERVAL}",
         "learner_log_interval=50", "runner_log_interval=50", "test_nepisode=4", "hidden_dim=16", "seed=1",
         "env_args.time_limit=20", "use_cuda=False")  # fmt: skip
RUNNERS = {"episode": ("runner=episode", "batch_size_run=1"), "parallel": ("runner=parallel", "batch_size_run=4")}


def copy_of_ours(directory: Path) -> Path:
    """`directory` with a copy of our `src` in it."""
    shutil.copytree(ROOT / "src", directory / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return directory


def overlaid(directory: Path, source: Path) -> Path:
    """`directory` with a copy of our `src`, and over it the learners, controllers, modules and YAMLs of `source`."""
    copy_of_ours(directory)
    for name in COPIED:
        shutil.copytree(
            source / name, directory / "src" / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    return directory


def register(directory: Path, package: str, key: str, module: str, name: str) -> None:
    """Add the class `name` of a copied-in file to the registry of one of our packages, as a user does it."""
    dotted = f"{package.replace('/', '.')}.{module}"
    with (directory / "src" / package / "__init__.py").open("a") as file:
        file.write(f'\nfrom {dotted} import {name}\n\nREGISTRY["{key}"] = {name}\n')


class Copy:
    """The command line of a copy; its results go to a directory of the test's."""

    def __init__(self, directory: Path, results: Path) -> None:
        self.directory, self.results = directory, results

    def run(self, config: str, env: str, *updates: str) -> subprocess.CompletedProcess[str]:
        """`python src/main.py --config=... --env-config=... with ...`."""
        main = [sys.executable, "-W", "ignore", "src/main.py", f"--config={config}", f"--env-config={env}"]
        command = [*main, "with", f"local_results_path={self.results}", *updates]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.directory, timeout=300)

    def runs(self) -> list[Path]:
        """Sacred's run directories, oldest first."""
        return sorted(self.results.glob("sacred/*/*/[0-9]*"), key=lambda path: path.stat().st_mtime)

    def check_trained(self, result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, list[float]]]:
        """Check that the newest run completed, learned and was evaluated and saved at every interval.

        Returns its metrics.
        """
        assert result.returncode == 0, result.stderr
        run = self.runs()[-1]
        assert status(run) == "COMPLETED"
        logged: dict[str, dict[str, list[float]]] = json.loads((run / "metrics.json").read_text())
        losses = [key for key in logged if key.endswith("loss")]
        assert losses
        for key in losses:
            assert all(math.isfinite(value) for value in logged[key]["values"]), key
        evaluated = logged["test_return_mean"]["steps"]
        assert [int(step) // INTERVAL for step in evaluated] == list(range(LAST // INTERVAL + 1)), evaluated
        models = max(self.results.glob("models/*"), key=lambda path: path.stat().st_mtime)
        steps = sorted(models.glob("[0-9]*"), key=lambda path: int(path.name))
        assert len(steps) == LAST // INTERVAL
        for file in steps[0].glob("*.th"):
            assert (steps[-1] / file.name).is_file(), file.name
        first, last = (th.load(step / "agent.th", weights_only=True) for step in (steps[0], steps[-1]))
        assert any(not th.equal(first[key], last[key]) for key in first), "the agents' weights did not change"
        return logged

    def check_refused(self, result: subprocess.CompletedProcess[str]) -> str:
        """Check that the run was refused in one sentence, before it existed; returns it."""
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert result.returncode == 1 and len(errors) == 1, result.stderr
        assert "Traceback" not in result.stderr and result.stderr.splitlines()[-1] == errors[0]
        assert all(status(run) == "COMPLETED" for run in self.runs())
        return errors[0]
