"""OptDICE's learner against the exact DICE oracle: its dual, its weights, its policies, and what it cannot do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from learners.losses import NOW
from modules.divergences import REGISTRY
from tests.learners.learner_tester import F64, make_learner
from tests.theory.dice import Problem, dual_value, solve_dual
from tests.theory.tabular import marginals
from tests.theory.tabular_learner import (
    N_STATES,
    JointTable,
    everything,
    make_rows,
    mean,
    minimise,
    pair_table,
    small_problem,
)
from utils.errors import ConfigError

TINY = 1e-3  # weights below are held to a part of this, not of themselves
every_divergence = pytest.mark.parametrize("name", REGISTRY)
every_alpha = pytest.mark.parametrize("alpha", [1.0, 0.1, 0.01])


class StateTable(nn.Module):
    """In a StateCritic's place: a number per state."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.table = nn.Parameter(th.full((N_STATES,), start, dtype=F64))  # (S,)

    def forward(self, states: Tensor) -> Tensor:
        """States (R, S), one-hot -> (1, R)."""
        return (states @ self.table).unsqueeze(0)


def tabular(problem: Problem, **config: Any) -> tuple[Any, EpisodeBatch]:
    """A learner with tables in its networks' place, nu no return's, and the batch of all that can happen."""
    mdp = problem.mdp
    sizes = {"n_agents": mdp.n_agents, "n_actions": mdp.n_actions, "state_shape": N_STATES, "gamma": mdp.gamma}
    fixed = {"input_norm": "none", "grad_norm_clip": 1e9}
    learner = make_learner("optdice", dtype=F64, discrete=True, **{**sizes, **fixed, **config})
    learner.value = StateTable(1 / (1 - mdp.gamma))
    if hasattr(learner, "joint"):
        learner.joint = JointTable(N_STATES, mdp.n_actions)
    learner.prepare()
    return learner, everything(learner, problem)


def weights(learner: Any, batch: EpisodeBatch) -> np.ndarray:
    """w* of each state and joint action, (S, J)."""
    table: np.ndarray = pair_table(batch, learner.actor_loss(batch, {}, {})[1]["weight"])
    return table


@every_divergence
@every_alpha
def test_the_loss_is_the_dual_and_its_weights_are_the_oracles(name: str, alpha: float) -> None:
    """Where nothing is random one logged next state is all there is."""
    problem = small_problem(0, deterministic=True)
    learner, batch = tabular(problem, divergence=name, alpha=alpha)
    solution = solve_dual(problem, REGISTRY[name], alpha)
    scale = np.maximum(solution.weights, TINY)
    assert (np.abs(weights(learner, batch) - solution.weights) / scale).max() > 0.1  # at the start
    assert minimise(learner, batch) == pytest.approx(solution.value, abs=1e-8)
    assert (np.abs(weights(learner, batch) - solution.weights) / scale).max() < 1e-4
    assert mean(batch, learner.weight(learner.advantage(batch))) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(learner.value.table.detach().numpy(), solution.nu, atol=1e-3)


@every_divergence
@every_alpha
def test_with_a_learned_advantage_it_is_the_dual_in_random_processes(name: str, alpha: float) -> None:
    """Once e has learned, the loss and its gradient are the dual's at any nu; single next states are too optimistic."""
    problem = small_problem(1, deterministic=False)
    learner, batch = tabular(problem, divergence=name, alpha=alpha, advantage="joint")
    sampler, _ = tabular(problem, divergence=name, alpha=alpha)
    nu = th.from_numpy(solve_dual(problem, REGISTRY[name], alpha).nu).requires_grad_()
    for each in (learner, sampler):
        each.value.table.data.copy_(nu.detach())
    minimise(learner, batch, "joint", "joint")
    dual = dual_value(problem, REGISTRY[name], alpha, nu)
    (expected,) = th.autograd.grad(dual, nu)  # about 0, and not what samples have
    loss = learner("value", batch, {})[0]
    th.testing.assert_close(loss, dual, rtol=1e-4, atol=1e-6)
    (gradient,) = th.autograd.grad(loss, learner.value.table)
    th.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)
    sampled = sampler("value", batch, {})[0]
    assert sampled > dual + 1e-3
    assert th.autograd.grad(sampled, sampler.value.table)[0].abs().max() > 1e-3


def test_policies_are_the_marginals_of_the_solution() -> None:
    """pi_i(a_i | s) is the sum of d*(s, a) over the others' actions, over d*(s): what cloning by one weight gives."""
    problem = small_problem(0, deterministic=True, gamma=0.7)
    learner, batch = tabular(problem, divergence="soft_chi2", alpha=0.1, actor_lr=0.02, hidden_dim=16)
    solution = solve_dual(problem, REGISTRY["soft_chi2"], 0.1)
    minimise(learner, batch)
    for step in range(250):
        learner.optimisers["actor"].param_groups[0]["lr"] = 0.02 * 0.05 ** (step / 250)
        learner.update(1, batch)
    states = np.arange(N_STATES)
    nothing, alike = np.zeros((N_STATES, 2), int), np.ones(N_STATES)
    each = make_rows(learner, np.stack([states, states], 1), nothing, 0 * alike, states, alike)
    with th.no_grad():
        found = learner.unroll(learner.mac, each, NOW).squeeze(1).transpose(0, 1).numpy()  # (N, S, A)
    d = problem.occupancy * solution.weights  # (S, J)
    np.testing.assert_allclose(found, marginals(d / d.sum(1, keepdims=True), 2), atol=0.03)
    assert np.abs(found - marginals(problem.behaviour, 2)).max() > 0.1


def test_its_value_is_no_sum_over_agents() -> None:
    """nu reads the state alone: what agents observe changes nothing, and no agent has a value of its own."""
    learner, batch = tabular(small_problem(0, deterministic=True), alpha=1.0)
    learner.value.table.data.copy_(th.arange(N_STATES))
    loss = learner("value", batch, {})[0]
    batch.data.transition_data["obs"] = th.zeros_like(batch["obs"])
    assert th.equal(loss, learner("value", batch, {})[0])
    batch.data.transition_data["state"] = batch["state"].roll(1, -1)
    assert not th.equal(loss, learner("value", batch, {})[0])


@pytest.mark.parametrize(
    ("updates", "sentence"),
    [
        ({"gamma": 1.0}, "^gamma=1.0: occupancies are discounted, choose a number below 1$"),
        ({"alpha": float("inf")}, "alpha=inf.*number"),
        ({"common_reward": False}, "^optdice_learner needs one team reward: set common_reward=True$"),
        ({"advantage": "mixed"}, "advantage.*sample.*joint"),
    ],
)
def test_what_it_cannot_handle_is_refused(updates: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_learner("optdice", discrete=False, **updates)
