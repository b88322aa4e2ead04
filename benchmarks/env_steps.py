"""Environment steps a second of Cooperative Navigation: the NumPy twin beside the same scenario on mpe2.

    python benchmarks/env_steps.py [--episodes 1024] [--dtype float64]

Both play whole episodes with uniform actions drawn beforehand, restarts, rewards and observations included, on one
thread, in alternating runs of one process; the medians are printed. One step moves all three agents of one episode.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch as th

from envs import REGISTRY, MultiAgentEnv, VectorEnv
from envs.mpe.spread_twin import SpreadTwin


def time_twin(twin: VectorEnv, actions: np.ndarray, rounds: int) -> float:
    """Steps a second of `rounds` times all episodes; actions (T, E, N, 2)."""
    start = time.perf_counter()
    for _ in range(rounds):
        twin.reset()
        for joint in actions:
            twin.step(joint)
            twin.get_obs()
    return rounds * int(np.prod(actions.shape[:2])) / (time.perf_counter() - start)


def time_mpe2(env: MultiAgentEnv, actions: np.ndarray, episodes: int) -> float:
    """Steps a second of `episodes` episodes one after the other; actions (T, E, N, 2)."""
    start = time.perf_counter()
    for episode in range(episodes):
        env.reset()
        for joint in actions[:, episode % actions.shape[1]]:
            env.step(joint)
            env.get_obs()
    return episodes * len(actions) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=1024, help="episodes side by side in the twin")
    parser.add_argument("--mpe2-episodes", type=int, default=100, help="episodes of a run of the mpe2 environment")
    parser.add_argument("--rounds", type=int, default=20, help="restarts of the twin in a run")
    parser.add_argument("--repeats", type=int, default=5, help="alternating runs that the medians are taken over")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64", help="the twin's physics")
    args = parser.parse_args()

    th.set_num_threads(1)
    actions = np.random.default_rng(0).uniform(-1, 1, (25, args.episodes, 3, 2))  # (T, E, N, 2)
    twin = SpreadTwin(args.episodes, seed=0, dtype=args.dtype)
    env = REGISTRY["mpe"](key="simple_spread", seed=0, common_reward=False)
    time_twin(twin, actions, 2)
    time_mpe2(env, actions, 5)
    twin_speeds, mpe2_speeds = [], []
    for _ in range(args.repeats):
        twin_speeds.append(time_twin(twin, actions, args.rounds))
        mpe2_speeds.append(time_mpe2(env, actions, args.mpe2_episodes))
    ours, theirs = statistics.median(twin_speeds), statistics.median(mpe2_speeds)
    print(f"NumPy twin, {args.episodes} episodes, {args.dtype}: {ours:12,.0f} env steps/s")
    print(f"mpe2, one episode at a time:       {theirs:12,.0f} env steps/s")
    print(f"ratio:                             {ours / theirs:12,.0f}")


if __name__ == "__main__":
    main()
