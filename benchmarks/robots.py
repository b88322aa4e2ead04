"""An evaluation of ten episodes of HalfCheetah, played together and one by one.

    python benchmarks/robots.py [--episodes 10] [--length 1000]

The policy is an untrained one of mappo.yaml's kind, one 64-64 network per agent. `together` is runner=vector, in which
threads move the robots; `one by one` is runner=episode. Both play the same episodes, whose returns must agree. Runs
alternate, and medians are printed.
"""

import argparse
import logging
import os
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch as th

from benchmarks.command import positive
from components.scheme import build_scheme, extend_scheme
from controllers.non_shared_controller import NonSharedMAC
from loops.resolve import dimensions
from runners import REGISTRY
from utils.cores import cores
from utils.logging import Logger

LARGEST_DIFFERENCE = 1e-3  # of returns, relative: networks round differently for one and for many episodes


def make_runner(kind: str, episodes: int, length: int) -> Any:
    """A runner whose evaluation is `episodes` episodes of at most `length` steps; the policy is the same in all."""
    shared = {"threads": cores()} if kind == "vector" else {}
    args = SimpleNamespace(
        env="mamujoco", env_args={"key": "HalfCheetah", "partition": "6x1", "time_limit": length, **shared},
        batch_size_run=episodes if kind == "vector" else 1, test_nepisode=episodes, common_reward=True, device="cpu",
        reward_scalarisation="mean", agent="mlp_ns", agent_output_type="mean", action_selector="deterministic",
        obs_agent_id=False, obs_last_action=False, hidden_dim=64, final_init=None, runner_log_interval=10**9,
    )  # fmt: skip
    runner = REGISTRY[kind](args, Logger(logging.getLogger("robots")))
    info = runner.get_env_info()
    vars(args).update(dimensions(info))
    scheme, groups, preprocess = build_scheme(info, args)
    th.manual_seed(0)
    runner.setup(scheme, groups, preprocess, NonSharedMAC(extend_scheme(scheme, preprocess), groups, args))
    return runner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=positive, default=10)
    parser.add_argument("--length", type=positive, default=1000, help="steps of an episode")
    parser.add_argument("--repeats", type=positive, default=3, help="alternating runs, of which medians are printed")
    options = parser.parse_args()
    th.set_num_threads(1)
    runners = {kind: make_runner(kind, options.episodes, options.length) for kind in ("vector", "episode")}
    seconds: dict[str, list[float]] = {kind: [] for kind in runners}
    returns: dict[str, np.ndarray] = {}
    for _ in range(options.repeats):
        for kind, runner in runners.items():
            start = time.perf_counter()
            returns[kind] = runner.evaluate().returns
            seconds[kind].append(time.perf_counter() - start)
    gap = np.abs(returns["vector"] - returns["episode"]).max() / np.abs(returns["episode"]).max()
    together, alone = (statistics.median(seconds[kind]) for kind in ("vector", "episode"))
    print(f"{options.episodes} episodes of {options.length} steps on {cores()} cores")
    print(f"together {together:.2f} s, one by one {alone:.2f} s: {alone / together:.1f} times faster")
    print(f"largest difference of returns {gap:.1e}")
    if options.length <= 100 and gap > LARGEST_DIFFERENCE:  # later, chaos makes roundings large
        sys.exit("the two play different episodes")


if __name__ == "__main__":
    main()
