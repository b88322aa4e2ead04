"""ICQ's targets, repeated on a process known exactly: when they settle. docs/learners/icq.md has the condition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th

from tests.learners.learner_tester import F64, make_batch, make_learner
from tests.theory.tabular import Array

S, GAMMA = 20, 0.9
RING = np.roll(np.arange(S), -1)[:, None]  # every state has one successor: nothing mixes
MIXED = np.random.default_rng(2).integers(S, size=(S, 5))  # five, each as likely
REWARD = np.random.default_rng(1).normal(0, 2, S)


def targets(q: Array, reward: Array, successors: Any, temperature: float) -> Array:
    """r + gamma w Q(s'), w = B softmax(Q(s') / temperature) over all transitions; a mean for each state, (S,)."""
    after = q[successors]  # (S, K)
    exponential = np.exp((after - after.max()) / temperature)
    return reward + GAMMA * (exponential / exponential.mean() * after).mean(1)


def repeated(reward: Array, successors: Any, temperature: float) -> tuple[Array, bool]:
    """Q after many sweeps, or once it is beyond all bounds, and whether it settled."""
    q = np.zeros(S)
    for _ in range(3000):
        before, q = q, targets(q, reward, successors, temperature)
        if np.abs(q).max() > 1e6:
            break
    return q, bool(np.abs(q - before).max() < 1e-9)


def of_behaviour(reward: Array, successors: Any) -> Array:
    """Q of the behaviour, exactly."""
    moves = np.stack([np.bincount(row, minlength=S) for row in successors]) / successors.shape[1]
    return np.asarray(np.linalg.solve(np.eye(S) - GAMMA * moves, reward))


def test_these_are_the_learners_targets() -> None:
    learner: Any = make_learner("icq", dtype=F64, gamma=GAMMA, value_temperature=5.0)
    batch = make_batch(learner.args, rows=S, dtype=F64)
    q = np.linspace(-5, 5, S)
    learner.next_q = lambda _: th.from_numpy(q[RING[:, 0]])
    found = learner.targets(batch, learner.batch_context("q", batch)).flatten()  # (S,)
    np.testing.assert_allclose(found.numpy(), targets(q, batch["reward"][:, 0, 0].numpy(), RING, 5.0))


def test_a_deviation_of_one_next_value_is_multiplied_by_gamma_w_times_1_plus_q_by_temperature() -> None:
    q, temperature, step = np.linspace(-5, 5, S), 10.0, 1e-6
    weight = np.exp(q / temperature) / np.exp(q / temperature).mean()
    expected = GAMMA * weight * (1 + q / temperature * (1 - weight / S))  # w / S: the value's own share in Z
    for s in range(S):
        moved = targets(q + step * np.eye(S)[s], REWARD, RING, temperature) - targets(q, REWARD, RING, temperature)
        assert moved[s - 1] / step == pytest.approx(expected[s], rel=1e-4)


def test_targets_run_away_where_the_largest_value_is_above_the_limit_and_settle_below() -> None:
    """The limit is temperature (1 - gamma) / gamma, a ninth of the temperature here."""
    largest = of_behaviour(REWARD, RING).max()
    assert 10 / 9 < largest < 1000 / 9
    q, settled = repeated(REWARD, RING, 10.0)
    assert not settled and q.max() > 1e6
    q, settled = repeated(REWARD, RING, 1000.0)
    assert settled and q.max() == pytest.approx(largest, rel=0.1)


def test_rewards_and_temperature_count_by_their_ratio() -> None:
    """A hundredth of the rewards with a hundredth of the temperature: a hundredth of the values."""
    q, settled = repeated(0.01 * REWARD, RING, 10.0)
    assert settled and not repeated(REWARD, RING, 10.0)[1]
    np.testing.assert_allclose(q, 0.01 * repeated(REWARD, RING, 1000.0)[0])


def test_rewards_far_above_0_run_away_where_centred_ones_settle() -> None:
    assert repeated(REWARD - REWARD.mean(), RING, 300.0)[1]
    q, settled = repeated(REWARD + 20, RING, 300.0)
    assert not settled and q.max() > 1e6
    q, settled = repeated(REWARD - 20, RING, 300.0)  # nor do values far below 0 run away
    assert settled and q.min() < -190


def test_successors_that_mix_allow_values_above_the_limit() -> None:
    """A state's target is a mean over next values, whose deviations cancel in part."""
    q, settled = repeated(REWARD + 5, MIXED, 300.0)
    assert settled and q.max() > 300 / 9
    assert not repeated(REWARD + 5, RING, 300.0)[1]
