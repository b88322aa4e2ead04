"""Action dimensions that an agent lacks (padding to the widest): the data hold 0 there, and so do the learners."""

from __future__ import annotations

from typing import Any

import pytest
import torch as th
from torch import Tensor

from modules.policies.deterministic_policy import DeterministicPolicy
from modules.policies.noisy_policy import NoisyPolicy
from tests.learners.learner_tester import F64, make_args, make_batch, make_learner

AGENT, DIMENSION = 0, 1  # what is missing
CASES: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("spacql", {"cql_penalty": "policy"}, ("critic", "actor")),
    ("spacql", {"cql_penalty": "logsumexp"}, ("critic", "actor")),
    ("spacql", {"cql_penalty": "logsumexp_policies"}, ("critic", "actor")),
    ("matd3", {}, ("critic", "actor")),
    ("matd3_bc", {}, ("critic", "actor")),
    ("macql", {"penalty_samples": "policies"}, ("critic", "actor")),
    ("omar", {"penalty_samples": "policies"}, ("critic", "actor")),
    ("b3c", {}, ("q", "actor")),
    ("bc", {"agent_output_type": "mean"}, ("bc",)),
    ("bc", {"agent_output_type": "gaussian", "action_selector": "gaussian_policy"}, ("bc",)),
    ("implicit_q", {"mixer": "monotone"}, ("value", "q", "actor")),
    ("optdice", {"advantage": "joint"}, ("joint", "value", "actor")),
    ("comadice", {}, ("value", "actor")),
    ("comadice", {"advantage": "joint"}, ("joint", "value", "actor")),
    ("comadice", {"value_loss": "semi_dataset"}, ("q", "value", "actor")),
]


@pytest.mark.parametrize(("alg", "updates", "losses"), CASES)
def test_losses_do_not_depend_on_what_policies_say_there(
    alg: str, updates: dict[str, Any], losses: tuple[str, ...]
) -> None:
    learner = make_learner(alg, discrete=False, dtype=F64, **updates)
    batch = make_batch(learner.args, dtype=F64)
    batch["avail_actions"][:, :, AGENT, DIMENSION] = 0
    for key in ("actions", "actions_onehot"):
        batch[key][:, :, AGENT, DIMENSION] = 0
    noise = {
        name: {k: v.double() if v.is_floating_point() else v for k, v in learner.noise(name, batch).items()}
        for name in losses
    }

    def values(dimension: int, shift: float) -> list[Tensor]:
        with th.no_grad():
            for agent in (learner.agent, getattr(learner, "target_agent", learner.agent)):
                agent.fc3.bias[AGENT, 0, dimension] += shift
        return [learner(name, batch, noise[name])[0].detach() for name in losses]

    plain = values(DIMENSION, 0.0)
    for before, after in zip(plain, values(DIMENSION, 0.7), strict=True):
        assert th.allclose(before, after, rtol=0, atol=1e-12)
    assert any(not th.allclose(a, b) for a, b in zip(plain, values(1 - DIMENSION, 0.7), strict=True))


def test_bcq_neither_learns_nor_plays_by_what_its_models_say_there() -> None:
    """Agents whose bounds agree share them, so that these do not tell which dimensions one of them lacks."""
    learner = make_learner("bcq", discrete=False, dtype=F64)
    batch = make_batch(learner.args, dtype=F64)
    batch["avail_actions"][:, :, AGENT, DIMENSION] = 0
    for key in ("actions", "actions_onehot"):
        batch[key][:, :, AGENT, DIMENSION] = 0
    noise = {
        name: {k: v.double() for k, v in learner.noise(name, batch).items()} for name in ("behaviour", "q", "actor")
    }

    def found(dimension: int, shift: float) -> list[Tensor]:
        """The losses, and what is played."""
        with th.no_grad():
            for network in (learner.behaviour[1], learner.perturbation, learner.target_agent.perturbation):
                network.fc3.bias[AGENT, 0, dimension] += shift
            played = learner.mac.action_selector.select_action(
                learner.mac.forward_all(batch), batch["avail_actions"], 0, test_mode=True
            )
            return [*(learner(name, batch, noise[name])[0] for name in noise), played]

    plain = found(DIMENSION, 0.0)
    for before, after in zip(plain, found(DIMENSION, 0.7), strict=True):
        assert th.allclose(before, after, rtol=0, atol=1e-12)
    assert not any(th.allclose(a, b) for a, b in zip(plain, found(1 - DIMENSION, 0.7), strict=True))


def test_penalties_of_an_agent_do_not_depend_on_how_wide_others_are() -> None:
    """Agents of one and of three dimensions, padded, beside the same formula for each alone."""
    raw = th.tensor([[[0.5, 7.0, 7.0], [-2.0, 0.1, 3.0]]], dtype=F64)  # (R, N, A)
    available = th.tensor([[[1, 0, 0], [1, 1, 1]]])
    policy = DeterministicPolicy(
        make_args("spacql", n_agents=2, n_actions=3, action_low=[-1.0] * 3, action_high=[1.0] * 3)
    )
    own = [raw[0, 0, :1], raw[0, 1]]
    size = sum(th.tanh(part).square().mean() for part in own)
    reach = th.cat(own).square().mean()
    found = policy.regulariser(raw, available, action_l2=0.3, pre_tanh_l2=0.2)  # (R,)
    th.testing.assert_close(found, (0.3 * size + 0.2 * reach).view(1), rtol=0, atol=1e-12)
    saturated = policy.statistics(raw, available)["actor_saturation"]  # (R,): of four entries two are at a bound
    assert saturated.tolist() == [0.5]


def test_the_logged_noise_is_that_of_own_dimensions() -> None:
    args = make_args("mappo", discrete=False, n_agents=2, action_low=[-1.0] * 2, action_high=[1.0] * 2)
    policy = NoisyPolicy(args, initial_std=0.6)
    with th.no_grad():
        policy.log_std.copy_(th.tensor([[0.1, 0.6], [0.2, 0.3]]).log())
    available = th.tensor([[[1, 0], [1, 1]]])
    found = policy.statistics(th.zeros(1, 2, 2), available)["exploration_std"]  # (R,)
    th.testing.assert_close(found, th.tensor([0.2]))
