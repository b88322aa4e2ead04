"""What a sweep costs beyond its runs: eight short runs one after another, and as a sweep.

    python benchmarks/sweep.py --backend processes
    python benchmarks/sweep.py --backend ray

Prints the sum of the single times, the sweep's time, and their ratio: with W workers 1/W is ideal.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.command import positive

ROOT = Path(__file__).resolve().parents[1]

RUNS = 8
KEYS = ("test_interval=1000", "test_nepisode=100", "batch_size=256", "use_cuda=False")


def seconds(command: Sequence[str]) -> float:
    """Wall time of a command with one thread, which must succeed."""
    began = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began


def sweep(results: Path, updates: int, *flags: str) -> list[str]:
    """The command of the sweep."""
    return [sys.executable, "src/search.py", "run", *flags, "--configs", "bc", "--datasets",
            "mpe/simple_spread/random-100k", "--seeds", str(RUNS), "with", f"t_max={updates}",
            f"local_results_path={results}", *KEYS]  # fmt: skip


def single(results: Path, updates: int) -> list[list[str]]:
    """The commands of its runs, as `--dry-run` prints them."""
    printed = subprocess.run(sweep(results, updates, "--dry-run"), cwd=ROOT, check=True, capture_output=True, text=True)
    return [[sys.executable, *shlex.split(line)[1:]] for line in printed.stdout.splitlines()]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a sweep costs beyond its runs.")
    parser.add_argument("--backend", choices=("ray", "processes"), default="processes")
    parser.add_argument("--workers", type=positive, default=2)
    parser.add_argument("--updates", type=positive, default=2000, help="of each run")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        commands = single(Path(folder) / "single", arguments.updates)
        checking = time.monotonic() - begun
        alone = [seconds(command) for command in commands]
        flags = ("--backend", arguments.backend, "--workers", str(arguments.workers))
        together = seconds(sweep(Path(folder) / "sweep", arguments.updates, *flags))
    ideal = sum(alone) / arguments.workers
    print(f"{RUNS} runs, one after another: {sum(alone):.1f} s ({min(alone):.1f} to {max(alone):.1f} s each)")
    print(f"as a sweep on {arguments.workers} workers ({arguments.backend}): {together:.1f} s")
    print(f"of these, reading and checking the grid: {checking:.1f} s")
    print(f"ideal {ideal:.1f} s; the sweep took {100 * (together / ideal - 1):+.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
