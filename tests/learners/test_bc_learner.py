"""Behaviour cloning against closed forms."""

from __future__ import annotations

import pytest
import torch as th

from learners.bc_learner import check_output_type
from tests.learners.learner_tester import make_args, make_batch, make_learner
from utils.errors import ConfigError


def test_squared_error_is_in_half_ranges() -> None:
    learner = make_learner("bc", dtype=th.float64)
    batch = make_batch(learner.args, dtype=th.float64)
    loss, _ = learner("bc", batch, {})
    raw = learner.mac.forward_all(batch)[:, 0]
    unit = 2 * (batch["actions"][:, 0] - learner.low) / (learner.high - learner.low) - 1  # logged actions in [-1, 1]
    th.testing.assert_close(loss, (th.tanh(raw) - unit).square().mean(), rtol=0, atol=1e-12)


def test_cross_entropy_is_the_mean_negative_log_likelihood() -> None:
    learner = make_learner("bc_discrete", dtype=th.float64)
    batch = make_batch(learner.args, dtype=th.float64)
    loss, _ = learner("bc", batch, {})
    probabilities = learner.mac.forward_all(batch)[:, 0]
    taken = (probabilities * batch["actions_onehot"][:, 0]).sum(-1)
    th.testing.assert_close(loss, -taken.log().mean(), rtol=0, atol=1e-12)


def test_discrete_policies_reach_the_behaviours_probabilities() -> None:
    """The minimum of the cross-entropy is the behaviour's entropy, at the behaviour's frequencies."""
    learner = make_learner("bc_discrete", lr=0.02)
    batch = make_batch(learner.args, rows=400)
    for key in ("obs", "state"):
        batch[key].zero_()  # one observation: the best policy is the frequency of each action
    for step in range(300):
        learner.train(batch, step + 1, 0)
    frequency = batch["actions_onehot"][:, 0].mean(0)  # (N, A)
    th.testing.assert_close(learner.mac.forward_all(batch)[0, 0], frequency, rtol=0, atol=1e-3)
    entropy = -(frequency * frequency.log()).sum(-1).mean()
    th.testing.assert_close(learner("bc", batch, {})[0], entropy, rtol=0, atol=1e-4)


def test_continuous_policies_reach_the_mean_action() -> None:
    learner = make_learner("bc", lr=0.02)
    batch = make_batch(learner.args, rows=400)
    for key in ("obs", "state"):
        batch[key].zero_()
    for step in range(300):
        learner.train(batch, step + 1, 0)
    raw = learner.mac.forward_all(batch)[0, 0]
    actions = learner.low + (th.tanh(raw) + 1) / 2 * (learner.high - learner.low)
    th.testing.assert_close(actions, batch["actions"][:, 0].mean(0), rtol=0, atol=5e-3)


@pytest.mark.parametrize(("alg", "output"), [("bc", "pi_logits"), ("bc_discrete", "mean")])
def test_outputs_that_do_not_suit_the_actions_are_refused(alg: str, output: str) -> None:
    discrete = alg == "bc_discrete"
    check_output_type(discrete, make_args(alg))
    with pytest.raises(ConfigError, match=f"use --config={alg}$"):
        check_output_type(discrete, make_args(alg, agent_output_type=output))
