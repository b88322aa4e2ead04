"""Implicit Q-learning: its losses written out, what it refuses, and the in-sample maximum that it nears."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from tests.learners.learner_tester import F64, N_AGENTS, make_batch, make_learner
from tests.theory.in_sample import (
    in_sample_values,
    incomplete_problem,
    learned_values,
    optimal_values,
    own_in_sample_values,
    tabular,
)
from tests.theory.tabular_learner import minimise
from utils.errors import ConfigError


def case(discrete: bool = False, **updates: Any) -> tuple[Any, EpisodeBatch]:
    """A float64 learner whose targets differ from its networks, and a batch in which one row ends."""
    learner = make_learner("implicit_q", dtype=F64, discrete=discrete, final_init=1.0, ensemble_size=2, **updates)
    th.manual_seed(11)
    with th.no_grad():
        for name, parameter in learner.named_parameters():
            if name.startswith("target_"):
                parameter.add_(0.1 * th.randn_like(parameter))
    batch = make_batch(learner.args, dtype=F64)
    batch["terminated"][1, 0] = 1
    return learner, batch


def q(learner: Any, batch: EpisodeBatch, prefix: str) -> Tensor:
    """q_j,i of the logged actions, (E, B, N), from the networks as they are."""
    obs, actions = batch["obs"][:, 0], batch["actions_onehot"][:, 0]
    critic = getattr(learner, f"{prefix}q")
    if learner.continuous:
        return critic(obs, actions.unsqueeze(1))[:, :, 0]
    return critic(obs).gather(2, batch["actions"][:, 0].squeeze(-1).expand(2, -1, -1).unsqueeze(2)).squeeze(2)


# -- the losses, written out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("mixer", [None, "vdn"])
def test_the_losses_are_the_papers(mixer: str | None, discrete: bool) -> None:
    learner, batch = case(discrete, mixer=mixer, expectile=0.8, inverse_temperature=2.0, largest_weight=1.1)

    def mix(values: Tensor) -> Tensor:  # (..., N) -> (..., M)
        return values if mixer is None else values.sum(-1, keepdim=True)

    best = mix(q(learner, batch, "target_")).min(0).values.detach()  # (B, M)
    with th.no_grad():  # so that some actions are better than V and some are worse
        learner.value.fc3.bias += (best - mix(learner.value(batch["obs"][:, 0])[0])).mean() / (N_AGENTS if mixer else 1)
    value = mix(learner.value(batch["obs"][:, 0])[0])  # (B, M)
    gap = best - value
    assert (gap > 0).any() and (gap < 0).any()
    weighed = th.where(gap > 0, 0.8, 0.2) * gap**2
    th.testing.assert_close(learner("value", batch, {})[0], weighed.mean())

    after = mix(learner.value(batch["obs"][:, 1])[0])  # (B, M)
    alive = th.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 1.0]).unsqueeze(1)
    target = batch["reward"][:, 0] + learner.args.gamma * alive * after
    errors = [((mix(q(learner, batch, "")[j]) - target.detach()) ** 2).mean() for j in range(2)]
    th.testing.assert_close(learner("q", batch, {})[0], errors[0] + errors[1])

    weight = (2.0 * gap).exp().clamp(max=1.1)
    assert (weight == 1.1).any() and (weight < 1.1).any()
    cost = learner.imitation(learner.unroll(learner.mac, batch, slice(None, -1)), batch)  # (B, N)
    th.testing.assert_close(learner("actor", batch, {})[0], (weight.detach() * cost).mean())


def test_agents_may_have_rewards_of_their_own() -> None:
    """Without a mixer; the values of one agent then learn nothing from another's reward."""
    learner, batch = case(common_reward=False)
    parameters = list(learner.q.parameters())
    before = th.autograd.grad(learner("q", batch, {})[0], parameters)
    batch["reward"][..., 0] += 1
    after = th.autograd.grad(learner("q", batch, {})[0], parameters)
    moved = [(a - b).abs().flatten(1).sum(1).view(2, N_AGENTS) > 0 for a, b in zip(before, after, strict=True)]
    assert all(each.tolist() == [[True, False, False]] * 2 for each in moved)


def test_a_mixed_learner_moves_the_mixer_with_q_and_keeps_it_for_v() -> None:
    learner, batch = case(mixer="monotone")
    specs = {spec.name: spec.modules for spec in learner.LOSSES}
    assert specs == {"value": ("value",), "q": ("q", "mixer", "normaliser"), "actor": ("agent",)}
    weights = list(learner.mixer.parameters())
    value, _ = learner("value", batch, {})
    assert th.autograd.grad(value, weights, allow_unused=True) == (None,) * len(weights)
    assert all(g.abs().sum() > 0 for g in th.autograd.grad(learner("q", batch, {})[0], weights))


@pytest.mark.parametrize(
    ("updates", "sentence"),
    [
        ({"expectile": 1.0}, "^expectile=1: no value would ever fall; choose a number below 1$"),
        ({"mixer": "vdn", "common_reward": False}, "^mixer=vdn needs one team reward: set common_reward=True$"),
    ],
)
def test_what_it_cannot_handle_is_refused(updates: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_learner("implicit_q", discrete=False, **updates)


# -- the in-sample maximum ---------------------------------------------------------------------------------------------


def solved(problem: Any, expectile: float, mixer: str | None, sweeps: int = 6) -> np.ndarray:
    """V after `sweeps` of eq. 5 and eq. 6, each solved exactly in its turn, (S, M)."""
    learner, batch = tabular("implicit_q", problem, expectile=expectile, mixer=mixer)
    for _ in range(sweeps):
        minimise(learner, batch, "q", "q")
        learner.target_q = copy.deepcopy(learner.q)
        minimise(learner, batch, "value", "value")
    return learned_values(learner)


@pytest.mark.parametrize("mixer", [None, "vdn"])
def test_values_near_the_best_logged_actions(mixer: str | None) -> None:
    """As the expectile nears 1, from below; never the better actions that were not logged."""
    problem = incomplete_problem(seed=0, additive=mixer is not None)
    if mixer is None:
        best = np.stack([own_in_sample_values(problem, agent) for agent in range(2)], axis=1)  # (S, N)
    else:
        best = in_sample_values(problem)[:, None]  # (S, 1)
        assert (optimal_values(problem)[:, None] - best).max() > 0.1  # there are better ones
    gaps = {expectile: best - solved(problem, expectile, mixer) for expectile in (0.5, 0.99, 0.9999)}
    assert all(gap.min() > -2e-3 for gap in gaps.values())  # 0.3^6 of the error at the start
    assert gaps[0.5].max() > 0.2 and gaps[0.99].max() < 0.4 * gaps[0.5].max()
    assert gaps[0.9999].max() < 0.01
