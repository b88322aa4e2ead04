"""Sweeps by the command line, small enough for tests, and what they leave."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch as th

from tests.command_line import ROOT
from tests.fork_server import run_script

SEARCH = ROOT / "src" / "search.py"
SHORT = ("batch_size=32", "t_max=20", "test_interval=10", "test_nepisode=20", "batch_size_run=20",
         "save_model_interval=10", "learner_log_interval=5", "log_interval=10", "use_cuda=False")  # fmt: skip
# Long enough to be stopped in the middle; the last checkpoint is at END.
END = 2000
LONG = ("batch_size=32", f"t_max={END}", "test_interval=1000", "test_nepisode=20", "batch_size_run=20",
        "save_model_interval=100", "learner_log_interval=500", "log_interval=1000", "use_cuda=False")  # fmt: skip


def arguments(results: Path, dataset: Path, *flags: str, configs: tuple[str, ...] = ("bc",), verb: str = "run",
              keys: tuple[str, ...] = SHORT) -> list[str]:  # fmt: skip
    """The words after `search.py`."""
    return [
        verb,
        *flags,
        "--configs",
        *configs,
        "--datasets",
        str(dataset),
        "with",
        f"local_results_path={results}",
        *keys,
    ]


def search(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run `search.py` in a process that has imported the libraries already."""
    return run_script(SEARCH, words)


def begin(words: list[str], output: Path) -> subprocess.Popen[bytes]:
    """Start `search.py` as a user does, in a session of its own."""
    with open(output, "wb") as file:
        return subprocess.Popen([sys.executable, str(SEARCH), *words], stdout=file, stderr=file, cwd=ROOT,
                                start_new_session=True)  # fmt: skip


def wait_for(condition: Callable[[], Any], seconds: float = 180) -> Any:
    """What the condition gives once that is true. Fails after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come about")


def below(pid: int) -> list[int]:
    """A process and all that it started, by the system's table; the deepest last."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended meanwhile
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def kill_all(pid: int) -> list[int]:
    """End a process and all that it started by SIGKILL, in whatever they are doing; returns which these were."""
    family = below(pid)
    for each in family:
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return family


def steps(results: Path) -> list[Path]:
    """All checkpoints."""
    return sorted(results.glob("models/*/[0-9]*"))


def weights(results: Path, seed: int, t: int) -> dict[str, th.Tensor]:
    """The policy of the one checkpoint of a seed at a step."""
    (found, *_) = sorted(results.glob(f"models/*_seed{seed}_*/{t}/agent.th"))
    loaded: dict[str, th.Tensor] = th.load(found, weights_only=True)
    return loaded


def same(one: dict[str, th.Tensor], other: dict[str, th.Tensor]) -> bool:
    return one.keys() == other.keys() and all(th.equal(one[key], other[key]) for key in one)


def without_ray() -> bool:
    return shutil.which("ray") is None
