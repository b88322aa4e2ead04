"""Learners of local values on a process known exactly, whose data lack some actions: tables for their networks.

Two agents of three actions see the state, one-hot. One batch holds all that the data can hold, weighted by its
probability, as in tests.theory.tabular_learner; all in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from tests.learners.learner_tester import F64, OBS, make_learner
from tests.theory.dice import Problem, transitions
from tests.theory.tabular import Array, DecMDP, pair_occupancy, q_star, random_mdp
from tests.theory.tabular_learner import make_rows

N_AGENTS, N_ACTIONS, N_STATES = 2, 3, OBS


class Table(nn.Module):
    """In a LocalEnsemble's place: E numbers per agent and state, and per own action where there are `n_actions`."""

    def __init__(self, members: int, n_actions: int | None = None) -> None:
        super().__init__()
        self.table = nn.Parameter(th.zeros(members, N_AGENTS, N_STATES, n_actions or 1, dtype=F64))  # (E, N, S, A or 1)
        self.gives_actions = n_actions is not None

    def forward(self, obs: Tensor, actions: Tensor | None = None) -> Tensor:
        """obs (R, N, S) -> (E, R, N), or (E, R, A, N) of every action."""
        values = th.einsum("rns,ensa->eran", obs, self.table)
        return values if self.gives_actions else values.squeeze(2)

    def taken(self, obs: Tensor, actions: Tensor) -> Tensor:
        return (self(obs) * actions.transpose(1, 2)).sum(2)


def incomplete_problem(seed: int, additive: bool, gamma: float = 0.3) -> Problem:
    """A process and a behaviour without some of the joint actions, and without some actions of single agents.

    additive: rewards and next states depend on each agent's action apart, so that values are sums over agents. Joint
    actions that are better than all logged ones are missing in some state.
    """
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, N_AGENTS, N_STATES, N_ACTIONS, gamma, sparsity=1.0)
    if additive:
        own = rng.uniform(-0.5, 0.5, (N_AGENTS, N_STATES, N_ACTIONS))
        moves = rng.dirichlet(np.ones(N_STATES), size=(N_AGENTS, N_STATES, N_ACTIONS))
        reward = (own[0][:, :, None] + own[1][:, None]).reshape(N_STATES, -1)
        transition = 0.5 * (moves[0][:, :, None] + moves[1][:, None]).reshape(N_STATES, -1, N_STATES)
        mdp = DecMDP(transition, reward, mdp.start, gamma, N_AGENTS, N_ACTIONS)
    behaviour = rng.dirichlet(np.ones(N_ACTIONS**N_AGENTS), size=N_STATES).reshape(N_STATES, N_ACTIONS, N_ACTIONS)
    behaviour[rng.random(behaviour.shape) < 0.3] = 0
    behaviour[0, 0] = behaviour[1, :, 1] = 0  # in state 0 agent 0 lacks an action, in state 1 agent 1
    behaviour = behaviour.reshape(N_STATES, -1)
    behaviour /= behaviour.sum(-1, keepdims=True)
    return Problem(mdp, behaviour, pair_occupancy(mdp, behaviour).reshape(behaviour.shape))


def in_sample_values(problem: Problem) -> Array:
    """V(s), the largest Q(s, a) of logged joint actions, Q being the fixed point of r + gamma P V: (S,)."""
    return best_logged(problem.mdp.reward, problem.mdp.transition, problem.behaviour > 0, problem.mdp.gamma)


def own_in_sample_values(problem: Problem, agent: int) -> Array:
    """The same of one agent, to whom the others are part of the process as the data have them given its action."""
    mdp, shape = problem.mdp, (N_STATES, N_ACTIONS, N_ACTIONS)
    mu = np.moveaxis(problem.behaviour.reshape(shape), 1 + agent, 1)  # (S, own, other)
    share = mu / np.maximum(mu.sum(-1, keepdims=True), 1e-300)
    reward = (share * np.moveaxis(mdp.reward.reshape(shape), 1 + agent, 1)).sum(-1)
    moves = np.moveaxis(mdp.transition.reshape(*shape, N_STATES), 1 + agent, 1)
    return best_logged(reward, (share[..., None] * moves).sum(2), mu.sum(-1) > 0, mdp.gamma)


def best_logged(reward: Array, transition: Array, logged: Any, gamma: float) -> Array:
    """Value iteration over the actions that are `logged`, (S, A) and (S, A, S) -> (S,)."""
    value = np.zeros(N_STATES)
    for _ in range(200):
        value = np.where(logged, reward + gamma * transition @ value, -np.inf).max(-1)
    return value


def optimal_values(problem: Problem) -> Array:
    """Those of all joint actions, logged or not, (S,)."""
    return np.asarray(q_star(problem.mdp).max(-1), np.float64)


def tabular(alg: str, problem: Problem, **config: Any) -> tuple[Any, EpisodeBatch]:
    """The learner with tables, all 0, in its networks' place, and the batch of all that the data hold."""
    sizes = {"n_agents": N_AGENTS, "n_actions": N_ACTIONS, "state_shape": N_STATES, "gamma": problem.mdp.gamma}
    fixed = {"input_norm": "none", "grad_norm_clip": 1e9, "tau": 1.0, "ensemble_size": 1}
    learner = make_learner(alg, dtype=F64, discrete=True, **{**sizes, **fixed, **config})
    learner.q = Table(1, N_ACTIONS)
    if hasattr(learner, "value"):
        learner.value = Table(1)
    learner.prepare()
    rows = transitions(problem)
    batch = make_rows(
        learner,
        states=np.stack([rows.state, rows.next_state], axis=1),
        actions=np.stack(np.unravel_index(rows.action, (N_ACTIONS,) * N_AGENTS), axis=1),
        reward=rows.reward,
        first=rows.state,
        weight=rows.weight,
    )
    return learner, batch


def learned_values(learner: Any) -> Array:
    """M[v] in every state, (S, M)."""
    return np.asarray(team_values(learner).detach().numpy(), np.float64)


def team_values(learner: Any) -> Tensor:
    eye = th.eye(N_STATES, dtype=F64)  # (S, S)
    local = learner.value(eye.unsqueeze(1).expand(-1, N_AGENTS, -1))  # (1, S, N)
    total: Tensor = local if learner.mixer is None else learner.target_mixer(local, eye.unsqueeze(0))
    return total.squeeze(0)
