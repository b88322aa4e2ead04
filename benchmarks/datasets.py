"""Time to read, check and load a dataset of 1 000 000 transitions, here and in another checkout.

The data are those of a particle world: three agents with 18 observations each, 40 000 episodes of 25 steps. Every
measurement is a process of its own, and the checkouts take turns, so that both meet the same machine. Times are the
process's own processor time. The buffer is the offline buffer, over windows of one step.

    python benchmarks/datasets.py [--other CHECKOUT] [--repeats 5] [--episodes 40000]

Prints the medians, and with another checkout their ratio; exit status 1 where this one takes over 1.1 times as long.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.command import positive
from datasets.dataset import write_dataset

ROOT = Path(__file__).resolve().parents[1]
STEPS = 25
LIMIT = 1.1  # how many times as long this checkout may take
MEASURE = """
import logging, sys, time
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
from components.scheme import build_scheme
from datasets.dataset import read_dataset
from datasets.loading import build_buffer
started = time.process_time()
dataset = read_dataset(sys.argv[2])
read = time.process_time()
args = SimpleNamespace(common_reward=True, reward_scaling="none", train_reward="mean", window=1, burn_in=0, seed=0,
                       obs_last_action=False, buffer_cpu_only=True, device="cpu", dataset="noise")
build_buffer(args, dataset, *build_scheme(dataset.env_info(), args), logging.getLogger())
print(read - started, time.process_time() - started)
"""


def particle_world(n_episodes: int) -> tuple[dict[str, Any], np.ndarray, dict[str, Any]]:
    """Arrays (R, ...), episode offsets (E + 1,) and card of agents and landmarks that move at random."""
    rng = np.random.default_rng(0)
    shape = (n_episodes, STEPS + 1, 3, 2)
    velocity = rng.normal(0, 0.4, shape)
    position = rng.uniform(-1, 1, (n_episodes, 1, 3, 2)) + 0.1 * np.cumsum(velocity, axis=1)
    landmarks = np.broadcast_to(rng.uniform(-1, 1, (n_episodes, 1, 3, 2)), shape)
    obs = np.zeros((*shape[:3], 18), np.float32)
    for agent in range(3):
        own = position[:, :, agent]
        others = [position[:, :, other] - own for other in range(3) if other != agent]
        seen = [velocity[:, :, agent], own, *(landmarks[:, :, index] - own for index in range(3)), *others]
        obs[:, :, agent, :14] = np.concatenate(seen, axis=-1)
    n_rows = n_episodes * (STEPS + 1)
    offsets = np.arange(n_episodes + 1) * (STEPS + 1)
    reward = rng.normal(size=(n_rows, 3)).astype(np.float32)
    reward[offsets[1:] - 1] = 0  # no step starts from a final row
    arrays = {
        "obs": obs.reshape(n_rows, 3, 18),
        "actions": rng.uniform(-1, 1, (n_rows, 3, 2)).astype(np.float32),
        "reward": reward,
        "terminated": np.zeros(n_rows, np.uint8),
    }
    card = {
        "environment": {"env": "mpe", "env_args": {"key": "simple_spread"}},
        "action_space": "continuous",
        "action_low": [-1.0, -1.0],
        "action_high": [1.0, 1.0],
    }
    return arrays, offsets, card


def measure(checkout: Path, file: Path) -> tuple[float, float]:
    """Seconds of reading and checking, and of these with loading."""
    command = [sys.executable, "-c", MEASURE, str(checkout / "src"), str(file)]
    read, loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-2:]
    return float(read), float(loaded)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, help="another checkout")
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--episodes", type=positive, default=40_000, help="of 25 steps")
    given = parser.parse_args()
    checkouts = {"this checkout": ROOT} | ({"the other": given.other} if given.other else {})
    with tempfile.TemporaryDirectory() as folder:
        totals = {}
        for kind, columns in (("encoded columns", True), ("plain columns", False)):
            file = Path(folder) / f"{columns}.h5"
            arrays, offsets, card = particle_world(given.episodes)
            write_dataset(file, arrays, offsets, card, compress_columns=columns, compression=1)
            del arrays
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
            for _ in range(given.repeats):
                for name, checkout in checkouts.items():
                    found[name].append(measure(checkout, file))
            for name, times in found.items():
                read, total = (statistics.median(part) for part in zip(*times, strict=True))
                print(f"{kind}, {name}: read and checked {read:.2f} s, loaded {total:.2f} s", flush=True)
                totals[kind, name] = total
            if given.other:
                print(f"{kind}: {totals[kind, 'this checkout'] / totals[kind, 'the other']:.3f} times the other's time")
    kinds = {kind for kind, _ in totals}
    slower = given.other and any(totals[kind, "this checkout"] > LIMIT * totals[kind, "the other"] for kind in kinds)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
