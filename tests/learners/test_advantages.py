"""Advantages against sums written out term by term, and the transitions that they are of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from torch import Tensor

from learners.advantages import advantages, discounted_so_far, standardised, transitions
from learners.losses import transition_mask
from tests.learners.learner_tester import F64, make_batch, make_learner

GAMMA, LAMBDA = 0.9, 0.7


def ends() -> tuple[Tensor, Tensor]:
    """Terminals and valid rows (B, 5, 1): a terminal after 3 steps, a cut after 3, a cut after 5, a terminal at 5."""
    terminated, valid = th.zeros(4, 5, 1), th.ones(4, 5, 1)
    terminated[0, 2] = terminated[3, 4] = 1
    valid[0, 3:] = valid[1, 3:] = 0
    return terminated, valid


def brute_force(reward: Any, terminal: Any, length: int, values: Any) -> list[float]:
    """sum_k (gamma lambda)^k d_(t+k) of one episode of `length` steps, term by term."""
    errors = [
        float(reward[t] + (0.0 if terminal[t] else GAMMA * values[t + 1]) - values[t]) for t in range(length)
    ]  # fmt: skip
    return [sum((GAMMA * LAMBDA) ** (k - t) * errors[k] for k in range(t, length)) for t in range(length)]


@pytest.mark.parametrize("n_values", [1, 3])
def test_advantages_are_the_sum_written_out_and_go_through_time_limits(n_values: int) -> None:
    terminated, valid = ends()
    generator = th.Generator().manual_seed(0)
    reward = th.randn(4, 5, 1, generator=generator, dtype=F64)
    values = th.randn(4, 6, n_values, generator=generator, dtype=F64)
    found = advantages(reward, terminated, valid, values, GAMMA, LAMBDA)
    for episode, length in enumerate((3, 3, 5, 5)):
        for j in range(n_values):
            expected = brute_force(reward[episode, :, 0], terminated[episode, :, 0], length, values[episode, :, j])
            np.testing.assert_allclose(found[episode, :length, j], expected, rtol=1e-12)
    cut = advantages(reward, terminated, valid, values, GAMMA, 0.0)[1, 2, 0]  # the last step before a cut
    assert float(cut) == pytest.approx(float(reward[1, 2, 0] + GAMMA * values[1, 3, 0] - values[1, 2, 0]))


def test_advantages_with_lambda_one_are_returns_minus_values() -> None:
    terminated, valid = ends()
    reward, values = th.randn(4, 5, 1, dtype=F64), th.randn(4, 6, 1, dtype=F64)
    found = advantages(reward, terminated, valid, values, GAMMA, 1.0)
    returns = sum(GAMMA**k * float(reward[0, k, 0]) for k in range(3))
    assert float(found[0, 0, 0]) == pytest.approx(returns - float(values[0, 0, 0]))


def test_discounted_sums_so_far_and_standardised_advantages() -> None:
    _, valid = ends()
    reward = th.randn(4, 5, 1, dtype=F64)
    found = discounted_so_far(reward, valid, GAMMA)
    expected = float(reward[2, 2] + GAMMA * reward[2, 1] + GAMMA**2 * reward[2, 0])
    assert float(found[2, 2, 0]) == pytest.approx(expected)
    scaled = standardised(reward, valid)[valid > 0]
    assert float(scaled.mean()) == pytest.approx(0, abs=1e-12) and float(scaled.std(correction=0)) == pytest.approx(1)


def test_transitions_are_the_valid_rows_with_the_rows_after_them() -> None:
    learner = make_learner("mappo", discrete=False)
    batch = make_batch(learner.args, rows=4, steps=6)
    batch["terminated"][0, 2] = 1
    batch["filled"][0, 4:] = batch["filled"][1, 3:] = 0
    rows = transitions(batch, transition_mask(batch))
    assert rows.batch_size == 3 + 3 + 5 + 5 and float(transition_mask(rows).sum()) == rows.batch_size
    th.testing.assert_close(rows["obs"][3], batch["obs"][1, 0:2])
    th.testing.assert_close(rows["obs"][5], batch["obs"][1, 2:4])
    assert float(rows["terminated"][2, 0]) == 1.0 and float(rows["terminated"][5, 0]) == 0.0
    th.testing.assert_close(rows["prev_actions_onehot"][4, 0], batch["actions_onehot"][1, 0])
    assert not rows["prev_actions_onehot"][3, 0].any()
