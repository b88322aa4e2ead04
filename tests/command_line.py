"""The command line in processes of its own, and the smallest configuration that exercises it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.fork_server import ROOT, run_script

MAIN = ROOT / "src" / "main.py"

# Small enough for a second of training; every other key is the configuration file's.
TINY = ("ensemble_size=3", "hidden_dim=8", "batch_size=32", "loss_chunk=None", "t_max=20", "test_interval=10",
        "test_nepisode=20", "batch_size_run=20", "save_model_interval=10", "learner_log_interval=5", "log_interval=10",
        "use_cuda=False", "seed=3")  # fmt: skip


class CommandLine:
    """Runs `src/main.py` in a process of its own, with results under a directory of the test's."""

    def __init__(self, results: Path, dataset: Path) -> None:
        self.results, self.dataset = results, dataset

    def arguments(self, *updates: str, config: str = "spacql", verb: tuple[str, ...] = ()) -> list[str]:
        """The words after `src/main.py`: the tiny configuration with `updates` over it."""
        own = (f"local_results_path={self.results}", f"dataset={self.dataset}")
        own_keys = {"spacql": TINY, "random": ()}.get(config, ("test_nepisode=20", "batch_size_run=20", "seed=3"))
        keys = [*own_keys, *own[: 1 if config == "random" else 2]]
        names = {update.partition("=")[0] for update in updates}
        names |= {"seed"} if "seeds" in names else set()
        kept = [key for key in keys if key.partition("=")[0] not in names]
        return [*verb, f"--config={config}", "--env-config=mpe", "with", *kept, *updates]

    def command(self, *updates: str, config: str = "spacql", verb: tuple[str, ...] = ()) -> list[str]:
        """The whole command, for tests that start and signal the process themselves."""
        return [sys.executable, "-W", "ignore", str(MAIN), *self.arguments(*updates, config=config, verb=verb)]

    def run(
        self,
        *updates: str,
        config: str = "spacql",
        verb: tuple[str, ...] = (),
        signals: Sequence[tuple[float | str, int]] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run the command in a process that has imported the libraries already; `signals` as in `run_script`."""
        return run_script(MAIN, self.arguments(*updates, config=config, verb=verb), signals=signals)

    def run_afresh(self, *updates: str, config: str = "spacql") -> subprocess.CompletedProcess[str]:
        """Run the command as a user does: by a new interpreter."""
        command = self.command(*updates, config=config)
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)

    def runs(self) -> list[Path]:
        """Sacred's run directories, oldest first."""
        return sorted(self.results.glob("sacred/*/*/[0-9]*"), key=lambda path: path.stat().st_mtime)

    def checkpoints(self) -> list[Path]:
        """The runs' model directories, oldest first."""
        return sorted(self.results.glob("models/*"), key=lambda path: path.stat().st_mtime)


def status(run: Path) -> str:
    """What Sacred says of a run: RUNNING, COMPLETED, FAILED, INTERRUPTED."""
    return str(json.loads((run / "run.json").read_text())["status"])
