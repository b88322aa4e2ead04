"""Discounted sums of rewards of a dataset, against plain loops over ragged episodes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch as th

from components.offline_buffer import OfflineBuffer
from components.offline_rows import discounted_to_go
from components.scheme import build_scheme

N, OBS = 3, 2
LENGTHS = (4, 1, 7, 1, 3)  # steps of each episode, which holds one row more


def rewards(shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Per-agent rewards (R, N), 0 on final rows, from which no step is taken, and the episodes' offsets."""
    offsets = np.concatenate([[0], np.cumsum(np.asarray(LENGTHS) + 1)])
    reward = np.random.default_rng(seed).normal(shift, 1.0, (offsets[-1], N)).astype(np.float32)
    reward[offsets[1:] - 1] = 0
    return reward, offsets


def loops(reward: np.ndarray, offsets: np.ndarray, gamma: float) -> list[list[np.ndarray]]:
    """The discounted sum from every step of every episode to its end."""
    episodes = []
    for start, stop in zip(offsets[:-1], offsets[1:], strict=True):
        steps = range(start, stop - 1)
        episodes.append([sum(gamma ** (t - s) * reward[t].astype(np.float64) for t in steps if t >= s) for s in steps])
    return episodes


def make(reward: np.ndarray, offsets: np.ndarray, how: str | None = "mean") -> OfflineBuffer:
    n_rows = len(reward)
    arrays = {
        "obs": np.zeros((n_rows, N, OBS), np.float32), "actions": np.zeros((n_rows, N, 2), np.float32),
        "reward": reward, "terminated": np.zeros(n_rows, np.uint8),
    }  # fmt: skip
    info = {"state_shape": N * OBS, "obs_shape": OBS, "n_actions": 2, "n_agents": N, "action_space": "continuous"}
    parts = build_scheme(info, SimpleNamespace(common_reward=how is not None))
    known = np.ones(len(LENGTHS), bool)
    return OfflineBuffer(arrays, offsets, known, *parts, window=1, reward_scalarisation=how, seed=0)


@pytest.mark.parametrize("gamma", [1.0, 0.9, 0.0])
def test_sums_to_go_equal_loops(gamma: float) -> None:
    """Nothing leaks from one episode into the one before it."""
    reward, offsets = rewards()
    ours = discounted_to_go(th.from_numpy(reward).double(), th.from_numpy(offsets), gamma)  # (R, N)
    for start, episode in zip(offsets[:-1], loops(reward, offsets, gamma), strict=True):
        np.testing.assert_allclose(ours[start : start + len(episode)], np.stack(episode), rtol=1e-12, atol=1e-12)
    assert ours[offsets[1:] - 1].eq(0).all()


def test_the_rewards_themselves_stay() -> None:
    reward, offsets = rewards()
    given = th.from_numpy(reward).double()
    before = given.clone()
    discounted_to_go(given, th.from_numpy(offsets), 0.9)
    assert th.equal(given, before)


@pytest.mark.parametrize("shift", [3.0, 0.0, -3.0])
@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("how", ["mean", "sum", "agent0", None])
def test_the_largest_return_equals_loops(how: str | None, gamma: float, shift: float) -> None:
    """Of the reward learned from; the largest over agents where each has its own. It may be negative."""
    reward, offsets = rewards(shift)
    buffer = make(reward, offsets, how)
    team = {"mean": reward.mean(1), "sum": reward.sum(1), "agent0": reward[:, 0], None: reward}[how]
    episodes = loops(team, offsets, gamma)
    anywhere = max(float(np.max(value)) for episode in episodes for value in episode)
    at_start = max(float(np.max(episode[0])) for episode in episodes)
    assert abs(buffer.largest_return(gamma) - anywhere) < 1e-5
    assert abs(buffer.largest_return(gamma, starts_only=True) - at_start) < 1e-5
    assert (anywhere < 0) == (shift < 0)
