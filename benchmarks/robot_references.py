"""Returns of uniform actions for every robot and partition, with their standard errors and the simulator.

    python benchmarks/robot_references.py [--robots Hopper Walker2d] [--episodes 100]

Twenty minutes of one core for all; HumanoidStandup takes half of them. src/datasets/robot_references.py holds what was
measured.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.command import positive
from envs.mamujoco.robot_vector import RobotVector
from envs.mamujoco.robots import PARTITIONS, check_names

AT_ONCE = 10


def uniform_returns(key: str, partition: str, episodes: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Returns (E,) of episodes with the seeds 0, 1, ..., and the simulator's fingerprint."""
    many = RobotVector(min(episodes, AT_ONCE), key=key, partition=partition)
    rng, low, high = np.random.default_rng(0), many.division.low, many.division.high
    found = []
    for first in range(0, episodes, AT_ONCE):
        seeds = list(range(first, min(first + AT_ONCE, episodes)))
        many.reset(seeds)
        total, over = np.zeros(len(seeds)), np.zeros(len(seeds), dtype=bool)
        while not over.all():
            reward, terminated, truncated, _ = many.step(rng.uniform(low, high, (len(seeds), *low.shape)))
            total += reward[:, 0]  # 0 behind an episode's end
            over = terminated | truncated
        found.append(total)
    simulator = many.get_env_info()["simulator"]
    many.close()
    return np.concatenate(found), simulator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", nargs="+", choices=list(PARTITIONS), default=list(PARTITIONS))
    parser.add_argument("--episodes", type=positive, default=100)
    options = parser.parse_args()
    for key in options.robots:
        for partition in PARTITIONS.get(key, ("",)):
            check_names(key, partition)
            returns, simulator = uniform_returns(key, partition, options.episodes)
            error = returns.std(ddof=1) / len(returns) ** 0.5
            print(f"{key} {partition}: {returns.mean():.1f} +- {error:.1f}, {simulator}", flush=True)


if __name__ == "__main__":
    main()
