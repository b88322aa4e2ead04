"""OMIGA: its losses written out, the condition that its values meet, what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch as th

from components.episode_buffer import EpisodeBatch
from learners.omiga_learner import exp_then_linear
from tests.learners.learner_tester import F64, make_batch, make_learner
from tests.theory.in_sample import N_AGENTS, N_STATES, Table, incomplete_problem, tabular
from tests.theory.tabular_learner import minimise
from utils.errors import ConfigError


def case(discrete: bool = False, **updates: Any) -> tuple[Any, EpisodeBatch]:
    """A float64 learner whose targets differ from its networks, and a batch in which one row ends."""
    learner = make_learner("omiga", dtype=F64, discrete=discrete, final_init=1.0, **updates)
    th.manual_seed(11)
    with th.no_grad():
        for name, parameter in learner.named_parameters():
            if name.startswith("target_"):
                parameter.add_(0.1 * th.randn_like(parameter))
    batch = make_batch(learner.args, dtype=F64)
    batch["terminated"][1, 0] = 1
    return learner, batch


@pytest.mark.parametrize("discrete", [False, True])
def test_the_losses_written_out(discrete: bool) -> None:
    learner, batch = case(discrete, alpha=0.05, largest_exponent=0.5)
    obs, after = batch["obs"][:, 0], batch["obs"][:, 1]
    actions = batch["actions_onehot"][:, 0]
    states = [learner.normaliser(batch["state"][:, t]) for t in (0, 1)]

    def parts(mixer: Any, t: int) -> tuple[Any, Any]:  # k (B, N), b (B,)
        return mixer.hyper_w_final(states[t]).abs(), mixer.hyper_b_final(states[t]).squeeze(-1)

    k, b = parts(learner.mixer, 0)
    taken = (k * learner.q.taken(obs, actions)[0]).sum(-1) + b  # (B,)
    k_after, b_after = parts(learner.target_mixer, 1)
    value = (k_after * learner.target_value(after)[0]).sum(-1) + b_after
    alive = th.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    target = batch["reward"][:, 0, 0] + learner.args.gamma * alive * value
    th.testing.assert_close(learner("q", batch, {})[0], (taken - target).square().mean())

    k, _ = parts(learner.target_mixer, 0)
    with th.no_grad():  # so that some z lie above the bound and some below
        learner.value.fc3.bias += (learner.target_q.taken(obs, actions) - learner.value(obs)).mean()
    nu = learner.value(obs)[0]  # (B, N)
    z = k.detach() * (learner.target_q.taken(obs, actions)[0] - nu) / 0.05
    assert (z > 0.5).any() and (z < 0.5).any()
    grown = th.where(z < 0.5, z.exp(), math.exp(0.5) * (1 + z - 0.5))
    th.testing.assert_close(learner("value", batch, {})[0], (grown + k * nu / 0.05).mean())

    cost = learner.imitation(learner.unroll(learner.mac, batch, slice(None, -1)), batch)  # (B, N)
    weight = z.clamp(max=0.5).exp().detach()
    th.testing.assert_close(learner("actor", batch, {})[0], (weight * cost).mean())


def test_a_large_exponent_keeps_a_finite_pull() -> None:
    """A clamp, as in the released code, has none there: the other term alone then moves nu away for ever."""
    z = th.tensor([-3.0, 0.0, 9.99, 10.01, 500.0], requires_grad=True)
    (slope,) = th.autograd.grad(exp_then_linear(z, 10.0).sum(), z)
    th.testing.assert_close(slope, z.detach().clamp(max=10.0).exp())
    assert exp_then_linear(z, 10.0).isfinite().all()


@pytest.mark.parametrize("alpha", [1.0, 0.1])
def test_the_mean_weight_is_one_in_every_state(alpha: float) -> None:
    """E[exp(z_i)] = 1 for every agent, so that nu_i is alpha / k_i log E[exp(k_i q_i / alpha)]."""
    problem = incomplete_problem(seed=0, additive=False)
    learner, batch = tabular("omiga", problem, alpha=alpha, largest_exponent=50.0)
    th.manual_seed(0)
    learner.target_q = Table(1, learner.args.n_actions)
    with th.no_grad():
        learner.target_q.table.normal_()
    minimise(learner, batch, "value", "value")
    weight = learner.exponent(batch).exp().detach().numpy()  # (R, N)
    rows = batch["learned"][:, 0].numpy()  # (R, 1), how likely each is
    in_state = batch["state"][:, 0].numpy()  # (R, S), one-hot
    means = (in_state.T @ (rows * weight)) / (in_state.T @ rows)  # (S, N)
    assert means.shape == (N_STATES, N_AGENTS)
    np.testing.assert_allclose(means, 1, atol=1e-5)
    k, q = learner.weights(batch).detach(), learner.local_q(batch, slice(None, -1), "target_")[0].detach()
    raw = (in_state.T @ (rows * (k * q / alpha).exp().numpy())) / (in_state.T @ rows)  # (S, N)
    nu = learner.value(th.eye(N_STATES, dtype=F64).unsqueeze(1).expand(-1, N_AGENTS, -1))[0]  # (S, N)
    k_of = learner.target_mixer.weights(th.eye(N_STATES, dtype=F64).unsqueeze(0))[0]  # (S, N)
    np.testing.assert_allclose((k_of * nu).detach().numpy(), alpha * np.log(raw), atol=1e-5)


@pytest.mark.parametrize(
    ("updates", "sentence"),
    [
        ({"mixer": "vdn"}, "^mixer=vdn: choose one of monotone$"),
        ({"mixer": None}, "^mixer=None: choose one of monotone$"),
        ({"mixer_layers": 2}, "^mixer_layers=2: omiga_learner needs one weight per agent; set mixer_layers=1$"),
        ({"common_reward": False}, "^mixer=monotone needs one team reward: set common_reward=True$"),
    ],
)
def test_what_it_cannot_handle_is_refused(updates: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_learner("omiga", discrete=False, **updates)
