"""Behaviour cloning against closed forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch as th
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from learners.imitation import Imitation
from modules.policies.gaussian_policy import EDGE
from tests.learners.learner_tester import F64, N_AGENTS, make_args, make_batch, make_learner
from utils.errors import ConfigError


def test_squared_error_is_in_half_ranges() -> None:
    learner = make_learner("bc", dtype=th.float64)
    policy = learner.imitation.policy
    batch = make_batch(learner.args, dtype=th.float64)
    loss, _ = learner("bc", batch, {})
    raw = learner.mac.forward_all(batch)[:, 0]
    unit = 2 * (batch["actions"][:, 0] - policy.low) / (policy.high - policy.low) - 1  # logged actions in [-1, 1]
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
    learner = make_learner("bc_discrete", actor_lr=0.02)
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
    learner = make_learner("bc", actor_lr=0.02)
    policy = learner.imitation.policy
    batch = make_batch(learner.args, rows=400)
    for key in ("obs", "state"):
        batch[key].zero_()
    for step in range(300):
        learner.train(batch, step + 1, 0)
    raw = learner.mac.forward_all(batch)[0, 0]
    actions = policy.low + (th.tanh(raw) + 1) / 2 * (policy.high - policy.low)
    th.testing.assert_close(actions, batch["actions"][:, 0].mean(0), rtol=0, atol=5e-3)


def test_values_taken_for_logits_mask_unavailable_actions() -> None:
    """`agent_output_type: q`, from a value-based configuration: softmax over what is available."""
    learner = make_learner("bc", dtype=F64, agent_output_type="q", n_actions=4)
    batch = make_batch(learner.args, dtype=F64)
    batch["avail_actions"][:] = (batch["actions_onehot"] > 0).int()
    batch["avail_actions"][..., 2] = 1
    loss, _ = learner("bc", batch, {})
    values = learner.mac.forward_all(batch)[:, 0]  # (R, N, A)
    cost = 0.0
    for row in range(6):
        for agent in range(N_AGENTS):
            available = batch["avail_actions"][row, 0, agent].nonzero().flatten()
            taken = batch["actions"][row, 0, agent, 0]
            cost += values[row, agent, available].logsumexp(0) - values[row, agent, taken]
    th.testing.assert_close(loss, cost / (6 * N_AGENTS), rtol=0, atol=1e-12)


def gaussian_learner(**updates: Any) -> Any:
    return make_learner("bc", discrete=False, agent_output_type="gaussian", **updates)


def test_gaussian_cost_is_the_negative_log_density() -> None:
    """In units of half ranges; standard deviations have soft bounds."""
    learner = gaussian_learner(dtype=F64, final_init=3.0)
    policy = learner.imitation.policy
    batch = make_batch(learner.args, rows=50, dtype=F64)
    loss, _ = learner("bc", batch, {})
    outputs = learner.mac.forward_all(batch)[:, 0]
    assert outputs.shape == (50, N_AGENTS, 4) and not outputs[..., 2:].abs().max() < 1
    half = (policy.high - policy.low) / 2
    mean = th.tanh(outputs[..., :2]) + (policy.low + half) / half  # in half ranges
    density = Normal(mean, (3 * th.tanh(outputs[..., 2:]) - 2).exp()).log_prob(batch["actions"][:, 0] / half)
    th.testing.assert_close(loss, -density.mean(), rtol=0, atol=1e-10)


def test_tanh_gaussian_cost_is_the_negative_log_density() -> None:
    """In units of half ranges: torch's own normal distribution under its own tanh; at the bounds that of EDGE away."""
    learner = make_learner("bc", dtype=F64, discrete=False, agent_output_type="tanh_gaussian", final_init=3.0)
    policy = learner.imitation.policy
    batch = make_batch(learner.args, rows=50, dtype=F64)
    half = (policy.high - policy.low) / 2
    unit = ((batch["actions"] - policy.low) / half - 1).clamp(EDGE - 1, 1 - EDGE)
    loss, _ = learner("bc", batch, {})
    mean, raw = learner.mac.forward_all(batch)[:, 0].chunk(2, dim=-1)
    assert raw.abs().max() > 1
    squashed = TransformedDistribution(Normal(mean, (3.5 * th.tanh(raw) - 1.5).exp()), [TanhTransform()])
    density = squashed.log_prob(unit[:, 0])
    th.testing.assert_close(loss, -density.mean(), rtol=0, atol=1e-9)
    batch["actions_onehot"][:, 0] = th.where(batch["actions"][:, 0] > 0, policy.high, policy.low)
    value, _ = learner("bc", batch, {})
    gradients = th.autograd.grad(value, learner.parameters_of(learner.LOSSES[0]))
    assert value.isfinite() and all(gradient.isfinite().all() for gradient in gradients)


def test_gaussian_policies_reach_the_behaviours_density() -> None:
    """Two states, each with its own mean and standard deviation, known in closed form."""
    learner = gaussian_learner(actor_lr=0.01, hidden_dim=16)
    policy = learner.imitation.policy
    batch = make_batch(learner.args, rows=1000)
    state = (th.arange(1000) % 2).float().view(-1, 1, 1, 1)  # (R, 1, 1, 1)
    batch["obs"][:] = state
    half = (policy.high - policy.low) / 2
    centre, spread = policy.low + half + half * (0.4 - 0.8 * state), half * (0.05 + 0.2 * state)
    noise = th.randn(1000, 2, N_AGENTS, 2, generator=th.Generator().manual_seed(0))
    noise = th.cat([noise[:500], -noise[:500]])  # (R, 2, N, A), both states with the same, centred noise
    batch["actions_onehot"][:] = centre + spread * noise
    for step in range(600):
        learner.train(batch, step + 1, 0)
    mean, log_std = policy.mean_and_log_std(learner.mac.forward_all(batch)[:2, 0])
    for row in (0, 1):
        data = batch["actions_onehot"][row::2, 0]  # (R / 2, N, A)
        th.testing.assert_close(mean[row], data.mean(0), rtol=0, atol=0.02)
        th.testing.assert_close(log_std[row], (data.std(0) / half).log(), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("discrete", "output"), [(False, "pi_logits"), (False, "q"), (True, "mean"), (True, "gaussian")]
)
def test_outputs_that_do_not_suit_the_actions_are_refused(discrete: bool, output: str) -> None:
    scheme = {"actions": {"dtype": th.long if discrete else th.float32}}
    Imitation(scheme, make_args("bc", discrete))
    fitting = "discrete actions bc_learner needs q or pi_logits"
    if not discrete:
        fitting = "continuous actions bc_learner needs mean or gaussian or tanh_gaussian"
    with pytest.raises(ConfigError, match=f"^agent_output_type={output}: for {fitting}$"):
        Imitation(scheme, make_args("bc", discrete, agent_output_type=output))


@pytest.mark.parametrize("alg", ["spacql", "spacql_discrete", "iql", "qmix_ns", "matd3"])
def test_takes_the_configurations_of_other_algorithms(alg: str) -> None:
    """`with learner=bc_learner`: what behaviour cloning needs is in every configuration."""
    selector = {"action_selector": "deterministic"} if alg == "matd3" else {}
    learner = make_learner(alg, learner="bc_learner", **selector)
    before = learner("bc", make_batch(learner.args, steps=3), {})[0]
    for step in range(20):
        learner.train(make_batch(learner.args, steps=3), step + 1, 0)
    assert learner("bc", make_batch(learner.args, steps=3), {})[0] < before
