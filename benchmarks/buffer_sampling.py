"""Time to sample 1 024 Cooperative Navigation transitions: the offline buffer against stock EPyMARL's replay buffer.

Stock's way is `ReplayBuffer.sample(1024)[:, :2]`, which copies 1 024 whole episodes and then cuts them to one step.
Both give every key in float32, on one thread of one process. Runs alternate in blocks, so that each buffer mostly meets
the cache as it left it itself. Times are medians of the thread's processor time, which other programs do not add to.
The data are random values of the dataset's shape, because sampling does not depend on values.

    python benchmarks/buffer_sampling.py [--episodes 4000] [--repeats 200]

Prints both times and their ratio; exit status 1 where the ratio is below 10.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch as th

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.command import positive
from components.episode_buffer import EpisodeBatch, ReplayBuffer
from components.offline_buffer import OfflineBuffer
from components.scheme import build_scheme

N_AGENTS, OBS, ACTIONS, STEPS = 3, 18, 2, 25
BATCH = 1024
BLOCK = 10
WANTED_RATIO = 10


def build(n_episodes: int) -> tuple[ReplayBuffer, OfflineBuffer]:
    """Make both buffers over the same episodes."""
    rng, n_rows = np.random.default_rng(0), n_episodes * (STEPS + 1)
    arrays: dict[str, np.ndarray] = {
        "obs": rng.normal(size=(n_rows, N_AGENTS, OBS)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (n_rows, N_AGENTS, ACTIONS)).astype(np.float32),
        "reward": rng.normal(size=(n_rows, N_AGENTS)).astype(np.float32),
        "terminated": np.zeros(n_rows, np.uint8),
    }
    env_info = {
        "state_shape": N_AGENTS * OBS,
        "obs_shape": OBS,
        "n_actions": ACTIONS,
        "n_agents": N_AGENTS,
        "action_space": "continuous",
    }
    parts = build_scheme(env_info, SimpleNamespace(common_reward=True))
    offsets, known = np.arange(n_episodes + 1) * (STEPS + 1), np.ones(n_episodes, bool)
    ours = OfflineBuffer(arrays, offsets, known, *parts, window=1, reward_scalarisation="mean", seed=0)
    scheme, groups, preprocess = parts
    stock = ReplayBuffer(scheme, groups, n_episodes, STEPS + 1, preprocess=preprocess)
    lead = (n_episodes, STEPS + 1)
    episodes = EpisodeBatch(scheme, groups, *lead, preprocess=preprocess)
    episodes.update(
        {
            "obs": th.from_numpy(arrays["obs"]).view(*lead, N_AGENTS, OBS),
            "state": th.from_numpy(arrays["obs"]).view(*lead, -1),
            "actions": th.from_numpy(arrays["actions"]).view(*lead, N_AGENTS, ACTIONS),
            "avail_actions": th.ones(*lead, N_AGENTS, ACTIONS),
            "reward": th.from_numpy(arrays["reward"].mean(1)).view(*lead, 1),
            "terminated": th.zeros(*lead, 1),
        }
    )
    stock.insert_episode_batch(episodes)
    return stock, ours


def measure(n_episodes: int = 4000, repeats: int = 200) -> tuple[float, float]:
    """Median processor time, in seconds, of stock's replay buffer and of the offline buffer."""
    stock, ours = build(n_episodes)

    def stocks_way() -> EpisodeBatch:
        return stock.sample(BATCH)[:, :2]

    def offline() -> EpisodeBatch:
        return ours.sample(BATCH)

    assert set(stocks_way().scheme) <= set(offline().scheme)
    times: dict[Callable[[], EpisodeBatch], list[float]] = {stocks_way: [], offline: []}
    threads = th.get_num_threads()
    th.set_num_threads(1)
    try:
        for _ in range(-(-repeats // BLOCK)):
            for way, seconds in times.items():
                for _ in range(BLOCK):
                    start = time.thread_time()
                    way()
                    seconds.append(time.thread_time() - start)
    finally:
        th.set_num_threads(threads)
    return float(np.median(times[stocks_way])), float(np.median(times[offline]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=positive, default=4000, help="number of episodes of 25 steps in each buffer")
    parser.add_argument("--repeats", type=positive, default=200)
    arguments = parser.parse_args()
    stock, ours = measure(arguments.episodes, arguments.repeats)
    print(f"{BATCH} transitions from {arguments.episodes} episodes, all keys, median of {arguments.repeats}")
    print(f"  ReplayBuffer.sample({BATCH})[:, :2]   {1e3 * stock:8.3f} ms")
    print(f"  OfflineBuffer(window=1).sample({BATCH}) {1e3 * ours:6.3f} ms")
    print(f"  ratio {stock / ours:.1f} (wanted: at least {WANTED_RATIO})")
    return 0 if stock / ours >= WANTED_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
