"""ComaDICE's learner on a process known exactly: tables for networks, one batch that holds all that can happen.

Agents see the state, one-hot; rows are weighted by their probability, so the learner's means over rows are expectations
under the data's occupancy. All in float64.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch as th
import torch.nn.functional as F
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from components.scheme import build_scheme, extend_scheme
from learners.losses import transition_mask
from tests.learners.learner_tester import F64, OBS, env_info, make_learner
from tests.theory.dice import Problem, random_problem, transitions
from tests.theory.tabular import Array

N_STATES = OBS  # `make_learner`'s policies read observations of this length


class LocalTable(nn.Module):
    """In a LocalCritic's place: a number per agent and state, and per own action where there are `n_actions`."""

    recurrent = False

    def __init__(self, n_agents: int, n_states: int, n_actions: int | None = None) -> None:
        super().__init__()
        self.table = nn.Parameter(th.zeros(n_agents, n_states, n_actions or 1, dtype=F64))  # (N, S, A or 1)

    def forward(self, obs: Tensor, actions: Tensor | None = None) -> Tensor:
        """obs (B, T, N, S) and actions (B, T, N, A), one-hot -> (B, T, N)."""
        rows = th.einsum("btns,nsa->btna", obs, self.table)
        return rows.squeeze(-1) if actions is None else (rows * actions).sum(-1)


class JointTable(nn.Module):
    """In the joint critic's place, for two agents: a number per state and both actions."""

    def __init__(self, n_states: int, n_actions: int) -> None:
        super().__init__()
        self.table = nn.Parameter(th.zeros(n_states, n_actions, n_actions, dtype=F64))  # (S, A, A)

    def forward(self, state: Tensor, actions: Tensor) -> Tensor:
        """state (R, S), actions (R, 2, A), one-hot -> (1, R)."""
        pairs = (actions[:, 0].unsqueeze(2) * actions[:, 1].unsqueeze(1)).flatten(1)  # (R, A*A)
        return ((state @ self.table.flatten(1)) * pairs).sum(1).unsqueeze(0)


def small_problem(seed: int, deterministic: bool, gamma: float = 0.9) -> Problem:
    """Two agents of three actions."""
    return random_problem(seed, deterministic, n_states=N_STATES, gamma=gamma)


def tabular_learner(problem: Problem, **config: Any) -> Any:
    """A ComaDICELearner whose values, q and joint advantage are tables, all 0; vdn unless `config` names a mixer."""
    mdp = problem.mdp
    sizes = {"n_agents": mdp.n_agents, "n_actions": mdp.n_actions, "state_shape": N_STATES, "gamma": mdp.gamma}
    fixed = {"input_norm": "none", "mixer": "vdn", "grad_norm_clip": 1e9, "value_lr": 0.05, "q_lr": 0.05, "tau": 1.0}
    learner = make_learner("comadice", dtype=F64, discrete=True, **{**sizes, **fixed, **config})
    learner.value = LocalTable(mdp.n_agents, N_STATES)
    if hasattr(learner, "q"):
        learner.q = LocalTable(mdp.n_agents, N_STATES, mdp.n_actions)
    if hasattr(learner, "joint"):
        learner.joint = JointTable(N_STATES, mdp.n_actions)
    learner.prepare()
    return learner


def everything(learner: Any, problem: Problem) -> EpisodeBatch:
    """All transitions times all initial states, one row each, weighted by d^mu(s, a) P(s' | s, a) p0(s_0)."""
    rows, start = transitions(problem), problem.mdp.start
    pick, first = (index.ravel() for index in np.meshgrid(np.arange(len(rows.state)), np.arange(len(start))))
    return make_rows(
        learner,
        states=np.stack([rows.state[pick], rows.next_state[pick]], axis=1),
        actions=np.stack(np.unravel_index(rows.action[pick], (learner.args.n_actions,) * 2), axis=1),
        reward=rows.reward[pick],
        first=first,
        weight=rows.weight[pick] * start[first],
    )


def make_rows(learner: Any, states: Any, actions: Any, reward: Any, first: Any, weight: Any) -> EpisodeBatch:
    """A batch of windows of one step: states (B, 2), actions (B, N), reward, first (s_0) and weight (B,).

    The weights are scaled to B in all, for the learner takes less than one valid row for none.
    """
    args, count = learner.args, len(reward)
    scheme, groups, preprocess = build_scheme(env_info(args), args)
    full = extend_scheme(scheme, preprocess) | {"learned": {"vshape": (1,)}}
    full["init_obs"] = {**full["obs"], "episode_const": True}
    full["init_state"] = {**full["state"], "episode_const": True}
    eye = th.eye(N_STATES, dtype=F64)
    state, start = eye[th.as_tensor(states)], eye[th.as_tensor(first)]  # (B, 2, S), (B, S)
    taken = F.pad(th.as_tensor(actions).view(count, 1, -1, 1), (0, 0, 0, 0, 0, 1))  # (B, 2, N, 1)

    def first_row(values: Any) -> Tensor:  # (B,) -> (B, 2, 1), 0 in the row that only follows
        return F.pad(th.as_tensor(values, dtype=F64).view(count, 1, 1), (0, 0, 0, 1))

    data = {
        "obs": state.unsqueeze(2).expand(-1, -1, args.n_agents, -1), "state": state,
        "actions": taken, "actions_onehot": F.one_hot(taken.squeeze(-1), args.n_actions).to(F64),
        "avail_actions": th.ones(count, 2, args.n_agents, args.n_actions, dtype=th.int),
        "reward": first_row(reward), "terminated": th.zeros(count, 2, 1, dtype=th.uint8),
        "filled": th.ones(count, 2, 1, dtype=th.long), "learned": first_row(weight * (count / weight.sum())),
    }  # fmt: skip
    constant = {"init_obs": start.unsqueeze(1).expand(-1, args.n_agents, -1), "init_state": start}
    wrapped = SimpleNamespace(transition_data=data, episode_data=constant)
    return EpisodeBatch(full, groups, count, 2, data=wrapped, device="cpu")


def minimise(learner: Any, batch: EpisodeBatch, name: str = "value", module: str = "value") -> float:
    """The least value of the loss `name` over the parameters of `module`, which are left there."""
    parameters = list(getattr(learner, module).parameters())
    optimiser = th.optim.LBFGS(
        parameters, max_iter=2000, tolerance_grad=1e-11, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimiser.zero_grad()
        loss = learner(name, batch, {})[0]
        for parameter, gradient in zip(parameters, th.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        return loss.item()

    optimiser.step(closure)
    return closure()


def train(learner: Any, batch: EpisodeBatch, updates: int, final: float = 1.0, ahead: int = 0) -> None:
    """`updates` calls of `train`, every loss's learning rate falling geometrically to `final` of its own.

    Before each, `ahead` updates of the first loss alone: where A is learned, that of A.
    """
    groups = [group for optimiser in learner.optimisers.values() for group in optimiser.param_groups]
    rates = [group["lr"] for group in groups]
    for step in range(updates):
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * final ** (step / updates)
        for _ in range(ahead):
            learner.update(0, batch)
        learner.train(batch, learner.training_steps + 1, 0)
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate


def pair_table(batch: EpisodeBatch, values: Tensor) -> Array:
    """Expectations of `values` (R,) given state and joint action under the rows' weights: (S, J)."""
    state, actions = batch["state"][:, 0], batch["actions_onehot"][:, 0]  # (R, S), (R, 2, A)
    pair = th.einsum("rs,ra,rb->rsab", state, actions[:, 0], actions[:, 1]).flatten(2)  # (R, S, J)
    weighted = pair * transition_mask(batch).view(-1, 1, 1)
    table: Array = ((weighted * values.detach().view(-1, 1, 1)).sum(0) / weighted.sum(0)).numpy()
    return table


def mean(batch: EpisodeBatch, values: Tensor) -> float:
    """The expectation of `values` (R,) under the rows' weights."""
    weight = transition_mask(batch).flatten()
    return float((values.detach() * weight).sum() / weight.sum())
