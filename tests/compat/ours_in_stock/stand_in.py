"""Checkouts to plug into: a stand-in with stock's interfaces, and a copy of the real one where there is one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from datasets.dataset import write_dataset
from tests.command_line import status
from tests.compat.ours_in_stock.tiny_team import N_ACTIONS, N_AGENTS, WIDTH
from tests.compat.stock_checkout import stock_checkout

HERE = Path(__file__).parent
LIMIT = 5  # steps of an episode


def build(kind: str, folder: Path) -> Path:
    """A checkout of its own, `stand_in` or `real`; returns its root."""
    source = HERE / "stand_in" if kind == "stand_in" else stock_checkout()
    ignored = shutil.ignore_patterns(".git", "results", "__pycache__")
    return Path(shutil.copytree(source, folder / kind, ignore=ignored))


LEFT_BEHIND = ("results", ".git/", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis")


def tree(checkout: Path) -> dict[str, str]:
    """Every file and folder of a checkout and what it holds, without what running it or its tools leaves."""
    found = {}
    for path in sorted(checkout.rglob("*")):
        name = path.relative_to(checkout).as_posix()
        if not name.startswith(LEFT_BEHIND) and "__pycache__" not in name:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return found


def write_tiny_dataset(path: Path, n_episodes: int = 40, width: int = WIDTH) -> Path:
    """Random play of TinyTeam: episodes cut at the limit, cut before it, and ended for good after 1 to 4 steps.

    Observations are numbered: agent i of step t in episode e sees e, t, i first.
    """
    generator = np.random.default_rng(0)
    rows: dict[str, list[np.ndarray]] = {"obs": [], "actions": [], "reward": [], "terminated": []}
    offsets = [0]
    for episode in range(n_episodes):
        length, ended = ((LIMIT, 0), (3, 0), (1 + episode % 4, 1))[episode % 3]
        obs = generator.normal(size=(length + 1, N_AGENTS, width)).astype(np.float32)
        obs[..., 0], obs[..., 1], obs[..., 2] = episode, np.arange(length + 1)[:, None], np.arange(N_AGENTS)
        terminated = np.zeros(length + 1, np.uint8)
        terminated[length - 1] = ended
        reward = generator.random((length + 1, N_AGENTS)).astype(np.float32)
        actions = generator.integers(N_ACTIONS, size=(length + 1, N_AGENTS, 1))
        reward[-1], actions[-1] = 0, 0
        for key, value in {"obs": obs, "actions": actions, "reward": reward, "terminated": terminated}.items():
            rows[key].append(value)
        offsets.append(offsets[-1] + length + 1)
    environment = {"env": "gymma", "env_args": {"time_limit": LIMIT}}
    card = {"environment": environment, "action_space": "discrete", "n_actions": N_ACTIONS}
    write_dataset(path, {key: np.concatenate(parts) for key, parts in rows.items()}, np.array(offsets), card)
    return path


@dataclass
class Launcher:
    """Collects runs in checkouts and makes them all in one go, by a process that loads the libraries once."""

    folder: Path
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, checkout: Path, config: str, *updates: str, flags: tuple[str, ...] = ()) -> None:
        """A run of `src/main.py` in a checkout, under a name of the test's; its results go to a folder of that name."""
        own = (f"local_results_path={checkout / 'results' / name}", f"label={name}")
        argv = ["src/main.py", *flags, f"--config={config}", "--env-config=gymma", "with", *updates, *own]
        log = self.folder / f"{name}.log"
        self.jobs[name] = {"cwd": str(checkout), "argv": argv, "log": str(log)}

    def launch(self) -> None:
        """Make the runs that were added since the last time."""
        games = self.folder / "importable"  # the game, and the simulator that stock imports whether wanted or not
        (games / "smaclite").mkdir(parents=True, exist_ok=True)
        (games / "smaclite" / "__init__.py").touch()
        shutil.copy(HERE / "tiny_team.py", games)
        names = [name for name in self.jobs if name not in self.codes]
        file = self.folder / "jobs.json"
        file.write_text(json.dumps([self.jobs[name] for name in names]))
        command = [sys.executable, "-W", "ignore", str(HERE / "launch.py"), str(file)]
        environment = {**os.environ, "PYTHONPATH": str(games), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run(command, check=True, env=environment, cwd=self.folder, timeout=1800)
        self.codes |= dict(zip(names, json.loads(file.read_text()), strict=True))

    def save(self) -> None:
        (self.folder / "runs.json").write_text(json.dumps([self.jobs, self.codes]))

    def restore(self) -> bool:
        """Take over the runs that another process made and saved; whether there are any."""
        file = self.folder / "runs.json"
        if file.exists():
            self.jobs, self.codes = json.loads(file.read_text())
        return file.exists()

    def log(self, name: str) -> str:
        return Path(self.jobs[name]["log"]).read_text()

    def refusal(self, name: str) -> str:
        """The sentence that a run was refused with: stock's `main.py` catches nothing, so a traceback's last line."""
        assert self.codes[name] == 1
        last = self.log(name).strip().splitlines()[-1]
        assert "Error: " in last
        return last

    def run_of(self, name: str) -> Path:
        """Sacred's directory of a run that was completed."""
        assert self.codes[name] == 0, self.log(name)[-3000:]
        for config in Path(self.jobs[name]["cwd"]).glob("results/sacred/*/*/*/config.json"):
            if json.loads(config.read_text())["label"] == name:
                assert status(config.parent) == "COMPLETED"
                return config.parent
        raise AssertionError(f"{name} left no record")

    def metrics(self, name: str) -> dict[str, tuple[list[int], list[float]]]:
        """Steps and values of every metric of a run."""
        found = json.loads((self.run_of(name) / "metrics.json").read_text())
        return {key: (series["steps"], series["values"]) for key, series in found.items()}

    def models(self, name: str) -> Path:
        """The directory of a run's checkpoints."""
        (found,) = Path(self.jobs[name]["cwd"]).glob(f"results/{name}/models/*")
        return found
