"""BCQ: never an action outside the data's support, of discrete and of continuous actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from tests.learners.learner_tester import F64, N_AGENTS, OBS, make_batch, make_learner
from tests.theory import in_sample
from tests.theory.dice import Problem, transitions
from tests.theory.in_sample import N_ACTIONS, N_STATES, incomplete_problem, own_in_sample_values
from tests.theory.tabular import marginals
from tests.theory.tabular_learner import make_rows, minimise

STATES = th.eye(N_STATES, dtype=F64)


def tabular(problem: Problem, **config: Any) -> tuple[Any, EpisodeBatch]:
    """A learner of discrete actions on a process whose data lack actions, and the batch of all that the data hold."""
    sizes = {"n_agents": 2, "n_actions": N_ACTIONS, "state_shape": N_STATES, "gamma": problem.mdp.gamma}
    fixed = {"input_norm": "none", "grad_norm_clip": 1e9, "mixer": None}
    learner = make_learner("bcq", dtype=F64, discrete=True, **{**sizes, **fixed, **config})
    rows = transitions(problem)
    batch = make_rows(
        learner,
        states=np.stack([rows.state, rows.next_state], axis=1),
        actions=np.stack(np.unravel_index(rows.action, (N_ACTIONS,) * 2), axis=1),
        reward=rows.reward,
        first=rows.state,
        weight=rows.weight,
    )
    return learner, batch


def greedy(learner: Any) -> Tensor:
    """What the controller plays in every state in evaluations, one-hot, (N, S, A)."""
    every = make_rows(learner, np.stack([np.arange(N_STATES)] * 2, 1), np.zeros((N_STATES, 2), int),
                      np.zeros(N_STATES), np.arange(N_STATES), np.ones(N_STATES))  # fmt: skip
    learner.mac.init_hidden(N_STATES)
    chosen = learner.mac.select_actions(every, 0, 0, test_mode=True)  # (S, N)
    return nn.functional.one_hot(chosen, N_ACTIONS).transpose(0, 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_action_outside_the_support_is_played_or_valued(seed: int) -> None:
    """The behaviour's model learned, values drawn at random: what was not logged is neither chosen nor looked at."""
    problem = incomplete_problem(seed, additive=False)
    logged = th.from_numpy(marginals(problem.behaviour, 2) > 0)  # (N, S, A)
    assert not logged[0, 0, 0] and not logged[1, 1, 1]
    learner, batch = tabular(problem, behaviour_lr=0.02, behaviour_threshold=0.1, hidden_dim=16)
    for _ in range(150):
        learner.update(0, batch)
    seen = learner.agent.see(STATES.unsqueeze(1).expand(-1, 2, -1))  # (N, S, S)
    assert not (learner.agent.allowed(seen) & ~logged).any()
    outside = 0
    for draw in range(20):
        th.manual_seed(draw)
        for network in (learner.agent, learner.target_agent):
            for parameter in network.q.parameters():
                parameter.data.normal_()
        assert not (greedy(learner) & ~logged).any()
        learner.args.behaviour_threshold = 0.0  # control: plain Q-learning plays what nobody logged
        outside += int((greedy(learner) & ~logged).sum())
        learner.args.behaviour_threshold = 0.1
    assert outside > 10
    before = learner("q", batch, {})[0]
    for network in (learner.agent, learner.target_agent):
        network.q[0] = Lifted(network.q[0], ~logged)
    assert th.equal(greedy(learner).bool() & ~logged, th.zeros_like(logged))
    th.testing.assert_close(learner("q", batch, {})[0], before, rtol=1e-12, atol=0)
    learner.args.behaviour_threshold = 0.0
    assert learner("q", batch, {})[0] > 100 * before


class Lifted(nn.Module):
    """Values with 1e4 added to actions that nobody logged, (N, S, A) bool."""

    def __init__(self, network: nn.Module, where: Tensor) -> None:
        super().__init__()
        self.network, self.where = network, where

    def forward(self, seen: Tensor) -> Tensor:
        added = th.einsum("nrs,nsa->nra", seen, self.where.to(F64))
        values: Tensor = self.network(seen) + 1e4 * added
        return values


class Table(nn.Module):
    """Numbers per agent, state and action in a network's place, (N, S, A)."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, seen: Tensor) -> Tensor:
        return th.einsum("nrs,nsa->nra", seen, self.table)


@pytest.mark.parametrize("seed", [1])
def test_values_are_those_of_the_best_logged_actions(seed: int) -> None:
    """An exact model and a small threshold: each agent's fixed point is value iteration over its logged actions."""
    problem = incomplete_problem(seed, additive=False)
    learner, batch = tabular(problem, behaviour_threshold=1e-6)
    shares = th.from_numpy(marginals(problem.behaviour, 2))  # (N, S, A)
    learner.agent.behaviour[0] = Table(shares.clamp_min(1e-30).log())
    for network in (learner.agent, learner.target_agent):
        network.q[0] = Table(th.zeros(2, N_STATES, N_ACTIONS, dtype=F64))
    for _ in range(10):
        minimise(learner, batch, "q", "q")
        learner.target_agent.q.load_state_dict(learner.agent.q.state_dict())
    found = learner.q[0].table.detach().masked_fill(shares == 0, -th.inf).amax(-1)  # (N, S)
    for agent in range(2):
        np.testing.assert_allclose(found[agent].numpy(), own_in_sample_values(problem, agent), atol=1e-4)
    assert np.abs(found[0].numpy() - in_sample.optimal_values(problem)).max() > 0.05


def test_the_threshold_goes_from_q_learning_to_the_likeliest_action() -> None:
    learner = make_learner("bcq", dtype=F64, discrete=True, n_actions=5, hidden_dim=16)
    seen = learner.agent.see(th.randn(50, N_AGENTS, OBS, dtype=F64))  # (N, R, O)
    share = learner.behaviour[0](seen).softmax(-1)
    share = share / share.amax(-1, keepdim=True)
    for threshold in (0.0, 0.4, 0.9, 1.0):
        learner.args.behaviour_threshold = threshold
        assert th.equal(learner.agent.allowed(seen), share >= threshold)
    assert (learner.agent.allowed(seen).sum(-1) == 1).all()
    learner.args.behaviour_threshold = 0.4
    can = th.ones(N_AGENTS, 50, 5, dtype=th.int)
    can[..., 2] = 0
    allowed = learner.agent.allowed(seen, can)
    assert not allowed[..., 2].any() and allowed.any(-1).all()  # the likeliest of those there are counts


CENTRES = th.tensor([[[-0.8], [0.7]], [[0.2], [-0.5]], [[0.6], [0.0]], [[-0.3], [0.9]]], dtype=F64)  # (S, N, 1)
SPREAD = 0.1


def logged_near_centres(learner: Any, seed: int) -> EpisodeBatch:
    """States one-hot, in each of which an agent's action is its centre there, more or less."""
    generator = th.Generator().manual_seed(seed)
    batch = make_batch(learner.args, rows=64, seed=seed, dtype=F64)
    state = th.randint(N_STATES, (64, 2), generator=generator)
    batch["obs"][:] = STATES[state].unsqueeze(2)
    noise = 2 * th.rand(64, 2, 2, 1, generator=generator, dtype=F64) - 1
    for key in ("actions", "actions_onehot"):
        batch[key][:] = (CENTRES[state] + SPREAD * noise).clamp(-1, 1)
    return batch


def test_continuous_actions_stay_near_the_data_whatever_the_values_say() -> None:
    """Decoded actions are the state's own: a decoder that is used otherwise than it was trained would miss them."""
    sizes = {"n_agents": 2, "n_actions": 1, "state_shape": 8, "action_low": [-1.0], "action_high": [1.0]}
    learner = make_learner(
        "bcq", dtype=F64, discrete=False, input_norm="none", hidden_dim=32, behaviour_lr=0.01, **sizes
    )
    for step in range(400):
        step_behaviour(learner, logged_near_centres(learner, step))
    seen = learner.agent.see(STATES.unsqueeze(1).expand(-1, 2, -1))  # (N, S, S)

    def farthest() -> float:
        with th.no_grad():
            played = learner.agent.best_candidate(seen, learner.agent.owned(None)).tanh().transpose(0, 1)  # (S, N, A)
        return float((played - CENTRES).abs().max())

    worst = 0.0
    for draw in range(10):
        th.manual_seed(draw)
        for parameter in (*learner.q.parameters(), *learner.perturbation.parameters()):
            parameter.data.normal_()
        worst = max(worst, farthest())
    reach = learner.args.perturbation_reach
    assert worst < SPREAD + reach + 0.1
    learner.args.perturbation_reach = 2.0  # control: changes without bound leave the data
    assert farthest() > 0.6


def step_behaviour(learner: Any, batch: EpisodeBatch) -> None:
    """One update of the behaviour's model, in float64."""
    noise = {key: value.double() for key, value in learner.noise("behaviour", batch).items()}
    loss = learner("behaviour", batch, noise)[0]
    parameters = list(learner.behaviour.parameters())
    for parameter, gradient in zip(parameters, th.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    learner.optimisers["behaviour"].step()
