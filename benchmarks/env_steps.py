"""Environment steps per second of Cooperative Navigation: the vectorised environment and the scenario on mpe2.

    python benchmarks/env_steps.py [--episodes 1024] [--dtype float64]

Both play whole episodes with the same kind of uniform actions, made beforehand. Times include resets, rewards and
observations. Runs alternate in one process on one thread, and medians are printed. A step moves all three agents of one
episode.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch as th

from benchmarks.command import positive
from envs import REGISTRY, MultiAgentEnv, VectorEnv
from envs.mpe.spread_twin import SpreadTwin


def time_vectorised(env: VectorEnv, actions: np.ndarray, rounds: int) -> float:
    """Steps per second of `rounds` rounds of all episodes; actions (T, E, N, 2)."""
    start = time.perf_counter()
    for _ in range(rounds):
        env.reset()
        for joint in actions:
            env.step(joint)
            env.get_obs()
    return rounds * int(np.prod(actions.shape[:2])) / (time.perf_counter() - start)


def time_mpe2(env: MultiAgentEnv, actions: np.ndarray, episodes: int) -> float:
    """Steps per second of `episodes` episodes one after the other; actions (T, E, N, 2)."""
    start = time.perf_counter()
    for episode in range(episodes):
        env.reset()
        for joint in actions[:, episode % actions.shape[1]]:
            env.step(joint)
            env.get_obs()
    return episodes * len(actions) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--episodes", type=positive, default=1024, help="episodes at once in the vectorised environment"
    )
    parser.add_argument("--mpe2-episodes", type=positive, default=100, help="episodes per run of the mpe2 environment")
    parser.add_argument("--rounds", type=positive, default=20, help="resets of the vectorised environment per run")
    parser.add_argument("--repeats", type=positive, default=5, help="alternating runs, of which medians are printed")
    parser.add_argument(
        "--dtype",
        choices=["float64", "float32"],
        default="float64",
        help="dtype of the vectorised environment's physics",
    )
    args = parser.parse_args()

    th.set_num_threads(1)
    actions = np.random.default_rng(0).uniform(-1, 1, (25, args.episodes, 3, 2))  # (T, E, N, 2)
    vectorised = SpreadTwin(args.episodes, seed=0, dtype=args.dtype)
    env = REGISTRY["mpe"](key="simple_spread", seed=0, common_reward=False)
    time_vectorised(vectorised, actions, 2)
    time_mpe2(env, actions, 5)
    vectorised_speeds, mpe2_speeds = [], []
    for _ in range(args.repeats):
        vectorised_speeds.append(time_vectorised(vectorised, actions, args.rounds))
        mpe2_speeds.append(time_mpe2(env, actions, args.mpe2_episodes))
    ours, theirs = statistics.median(vectorised_speeds), statistics.median(mpe2_speeds)
    print(f"vectorised, {args.episodes} episodes, {args.dtype}: {ours:12,.0f} env steps/s")
    print(f"mpe2, one episode at a time:       {theirs:12,.0f} env steps/s")
    print(f"ratio:                             {ours / theirs:12,.0f}")


if __name__ == "__main__":
    main()
