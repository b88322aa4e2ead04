"""lambda_i of the conservative penalty: uniform, or CFCQL's by how far each policy is from its behaviour."""

from __future__ import annotations

from typing import Any

import pytest
import torch as th
from torch import Tensor

from tests.learners.learner_tester import F64, N_AGENTS, setting, train


class KnownDensity(th.nn.Module):
    """log mu_i(a | o) = -(size of the action) * (i + 1), whatever the observation."""

    def log_prob(self, obs: Tensor, actions: Tensor, avail_actions: Tensor) -> Tensor:
        return -actions.square().sum(-1) * th.arange(1, N_AGENTS + 1, dtype=actions.dtype)  # (R, K, N)


@pytest.mark.parametrize("penalty", ["policy", "logsumexp"])
@pytest.mark.parametrize("discrete", [False, True])
def test_temperature_zero_is_uniform(penalty: str, discrete: bool) -> None:
    keys: dict[str, Any] = {"alg": "spacql", "discrete": discrete, "cql_penalty": penalty, "alpha_cql": 0.7}
    uniform, batch, noise = setting(**keys)
    weighted, _, _ = setting(**keys, penalty_weights="density", penalty_temperature=0.0)
    weighted.load_state_dict(uniform.state_dict(), strict=False)
    th.testing.assert_close(weighted("critic", batch, noise)[0], uniform("critic", batch, noise)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("penalty", ["policy", "logsumexp"])
def test_weights_and_penalty_equal_brute_force(penalty: str) -> None:
    learner, batch, noise = setting(
        cql_penalty=penalty, penalty_weights="density", penalty_temperature=2.0, alpha_cql=0.7, final_init=1.0,
    )  # fmt: skip
    learner.density = KnownDensity()
    loss, stats = learner("critic", batch, noise)
    target, _ = learner.target(batch, noise)
    state, actions = batch["state"][:, 0], batch["actions"][:, 0]
    half = (learner.policy.high - learner.policy.low) / 2
    policy = learner.policy.low + half + half * th.tanh(learner.mac.forward_all(batch)[:, 0])  # (R, N, A)
    surprise = policy.square().sum(-1) * th.tensor([1.0, 2.0, 3.0], dtype=F64)  # (R, N)
    weights = th.exp(2.0 * surprise) / th.exp(2.0 * surprise).sum(-1, keepdim=True)
    th.testing.assert_close(stats["lambda"], weights, rtol=0, atol=1e-12)
    assert (weights.std(0) > 0.01).all()  # by transition, not one for all
    data = learner.critic(state, actions)  # (E, R)
    expected = ((data - target) ** 2 - 0.7 * data).mean(1).sum()
    samples = policy[:, None]
    if penalty == "logsumexp":
        low, high = learner.policy.low, learner.policy.high
        samples = low + (high - low) * noise["uniform"][:, 0]  # (R, K, N, A)
    for i in range(N_AGENTS):
        pushed = []
        for k in range(samples.shape[1]):
            joint = actions.clone()
            joint[:, i] = samples[:, k, i]
            pushed.append(learner.critic(state, joint))
        values = th.stack(pushed)  # (K, E, R)
        up = values[0] if penalty == "policy" else values.exp().sum(0).log()
        expected = expected + 0.7 * (weights[:, i] * up).mean(1).sum()
    th.testing.assert_close(loss, expected, rtol=0, atol=1e-10)


def test_discrete_weights_are_by_the_divergence_of_the_policies() -> None:
    learner, batch, noise = setting(
        alg="spacql", discrete=True, cql_penalty="logsumexp", penalty_weights="density", final_init=1.0
    )
    _, stats = learner("critic", batch, noise)
    pi = learner.outputs(learner.mac, batch, slice(None, -1))  # (R, N, A)
    mu = learner.density.outputs(batch["obs"][:, 0]).softmax(-1)
    divergence = (pi * (pi / mu).log()).sum(-1)
    th.testing.assert_close(stats["lambda"], divergence.softmax(-1), rtol=0, atol=1e-12)


def test_policies_that_are_their_behaviour_weigh_alike_whatever_their_entropy() -> None:
    learner, _, _ = setting(alg="spacql", discrete=True, penalty_weights="density")
    pi = th.tensor([[[0.5, 0.5], [0.99, 0.01], [1.0, 0.0]]], dtype=F64)  # (1, N, A)
    same = learner.policy.divergence(pi.log().transpose(1, 2), pi)
    th.testing.assert_close(same, th.zeros(1, N_AGENTS, dtype=F64))
    other = learner.policy.divergence(pi.flip(-1).log().transpose(1, 2), pi)
    assert other[0, 0] == 0 and other[0, 1] > 4 and other[0, 2] > 20 and th.isfinite(other).all()


def test_training_gives_weight_to_the_agent_that_leaves_its_data() -> None:
    """Agent 0's data sit in one corner; a policy that stays in the middle is far from them and gets the weight."""
    learner, batch, noise = setting(cql_penalty="logsumexp", penalty_weights="density", density_lr=0.02)
    for key in ("actions", "actions_onehot"):
        batch[key][:, :, 0] = learner.policy.high
        batch[key][:, :, 1:] = 0.5 * (learner.policy.low + learner.policy.high)
    for _ in range(60):
        learner.update(2, batch)
    _, stats = learner("critic", batch, noise)
    assert (stats["lambda"][:, 0] > 0.8).all()


def test_the_density_learns_beside_the_critics() -> None:
    learner, _, _ = setting(penalty_weights="density", density_lr=0.01)
    learner.to(th.float32)
    train(learner, 0, 60)
    logged = {key for key, _, _ in learner.logger.stats}
    losses = [value for key, value, _ in learner.logger.stats if key == "density_loss"]
    assert {"lambda_1", "lambda_3"} <= logged and losses[-1] < losses[0]
