"""MACQL: its losses and the densities of its penalty's actions written out, and how it differs from CFCQL."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch as th
from torch import Tensor
from torch.distributions import Normal

from learners.losses import NEXT, NOW
from tests.learners.learner_tester import F64, N_AGENTS, make_learner, setting
from utils.errors import ConfigError

LOW, HIGH = th.tensor([-1.0, -2.0], dtype=F64), th.tensor([1.0, 3.0], dtype=F64)
HALF, MIDDLE = 0.5 * (HIGH - LOW), 0.5 * (HIGH + LOW)


def q(learner: Any, state: Tensor, actions: Tensor, prefix: str = "critic") -> Tensor:
    """Every critic's value of joint actions, layer by layer: (R, S), (R, N, A) -> (E, R)."""
    critic = getattr(learner, prefix)
    x = th.cat([critic.normaliser(state), actions.flatten(1)], -1)  # (R, S+N*A)
    for layer in (critic.fc1, critic.fc2):
        x = (x @ layer.weight + layer.bias).relu()
    return (x @ critic.fc3.weight + critic.fc3.bias).squeeze(-1)


def own(learner: Any, mac: Any, batch: Any, steps: slice) -> Tensor:
    """The policies' actions, (R, N, A)."""
    return MIDDLE + HALF * th.tanh(learner.unroll(mac, batch, steps).flatten(0, 1))


@pytest.mark.parametrize("samples", ["uniform", "policies"])
def test_the_critics_loss_written_out(samples: str) -> None:
    learner, batch, noise = setting(
        alg="macql", penalty_samples=samples, n_penalty_samples=3, alpha_cql=0.7, final_init=0.5, target_noise=0.3
    )
    batch["terminated"][1, 0] = 1
    state, after, logged = batch["state"][:, 0], batch["state"][:, 1], batch["actions"][:, 0]
    smoothed = own(learner, learner.target_mac, batch, NEXT) + 0.3 * HALF * noise["target"][:, 0]
    value = q(learner, after, smoothed.clamp(LOW, HIGH), "target_critic").amin(0)  # (B,)
    alive = th.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 1.0], dtype=F64)
    target = batch["reward"][:, 0, 0] + learner.args.gamma * alive * value

    terms = []  # Q_j(s, u_k) - log p(u_k), (E, B) each
    for k in range(3):
        action = LOW + noise["uniform"][:, 0, k] * (HIGH - LOW)  # (B, N, A)
        terms.append(q(learner, state, action) + N_AGENTS * 2 * math.log(2))
        if samples == "policies":
            for key, steps in (("here", NOW), ("after", NEXT)):
                z = noise[key][:, 0, k]  # (B, N, A)
                action = own(learner, learner.mac, batch, steps) + 0.2 * HALF * z
                density = Normal(0.0, 0.2).log_prob(0.2 * z).sum((-2, -1))  # (B,)
                terms.append(q(learner, state, action.clamp(LOW, HIGH)) - density)
    assert len(terms) == (3 if samples == "uniform" else 9)
    data = q(learner, state, logged)
    penalty = th.stack(terms).exp().mean(0).log() - data
    expected = ((data - target).square() + 0.7 * penalty).mean(1).sum()
    loss, stats = learner("critic", batch, noise)
    th.testing.assert_close(loss, expected)
    th.testing.assert_close(stats["penalty"], penalty.mean(0))


def test_the_policies_loss_is_cfcqls() -> None:
    """The others' actions are as logged in it, and it has the same penalties on actions."""
    learner, batch, _ = setting(alg="macql", final_init=0.5, action_l2=0.1)
    other = make_learner("cfcql", dtype=F64, discrete=False, ensemble_size=4, action_l2=0.1)
    for name in ("agent", "critic"):
        getattr(other, name).load_state_dict(getattr(learner, name).state_dict())
    th.testing.assert_close(learner("actor", batch, {})[0], other("actor", batch, {})[0])


def test_without_the_penalty_it_is_cfcql_without_one() -> None:
    learner, batch, noise = setting(alg="macql", alpha_cql=0.0)
    other = make_learner("cfcql", dtype=F64, discrete=False, ensemble_size=4, alpha_cql=0.0)
    for name in ("agent", "critic", "target_agent", "target_critic"):
        getattr(other, name).load_state_dict(getattr(learner, name).state_dict())
    theirs = other.noise("critic", batch) | {"next": noise["target"], "uniform": noise["uniform"]}
    th.testing.assert_close(learner("critic", batch, noise)[0], other("critic", batch, theirs)[0])


def test_the_penalty_pushes_on_all_agents_at_once() -> None:
    """A value of pairs alone: CFCQL's penalty, which moves one agent at a time from (0, 0), does not see it."""
    learner, batch, noise = setting(alg="macql", n_penalty_samples=64)
    batch["actions"][:] = 0
    asked: list[Tensor] = []

    def pairs(state: Tensor, actions: Tensor) -> Tensor:  # (R, M, N, A) -> (1, R, M)
        asked.append(actions)
        return (actions[..., 0, 0] * actions[..., 1, 0]).unsqueeze(0)

    learner.critic.joint = pairs
    penalty = learner("critic", batch, noise)[1]["penalty"]  # (R,)
    assert asked[0].shape == (6, 65, N_AGENTS, 2) and (asked[0][:, 0] == 0).all()
    assert (penalty - 2 * N_AGENTS * math.log(2)).abs().min() > 1e-3  # what a constant value would give


def test_what_it_cannot_handle_is_refused() -> None:
    with pytest.raises(ConfigError, match="^macql_learner has no policies for discrete actions: choose another"):
        make_learner("macql", agent_output_type="pi_logits", action_selector="multinomial")
    with pytest.raises(ConfigError, match="needs one team reward: set common_reward=True$"):
        make_learner("macql", common_reward=False)
