"""MACQL's penalty on a process known exactly: how far below the true value of a policy it puts the estimate, and when.

Two agents have one continuous action each, of which only the sign matters: four joint actions, J = 4. Tables stand for
the critics, fixed policies for the networks, one batch holds all that the data can hold, the penalty's actions are one
of each kind. The formula of the solution is in penalty.py.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from components.scheme import build_scheme, extend_scheme
from tests.learners.learner_tester import F64, env_info, make_learner
from tests.theory.dice import Problem, make_problem, transitions
from tests.theory.penalty import JOINT, N_STATES, excess, fixed_point
from tests.theory.tabular import Array, random_mdp

SIGNS = th.tensor([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]], dtype=F64)  # (J, N), agent 0 slowest


class JointTable(nn.Module):
    """In the critics' place: a number per state and signs of both actions."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(th.zeros(N_STATES, JOINT, dtype=F64))  # (S, J)

    def forward(self, state: Tensor, actions: Tensor) -> Tensor:
        """state (R, S), actions (R, N, 1) -> (1, R)."""
        return self.joint(state, actions.unsqueeze(1)).squeeze(-1)

    def joint(self, state: Tensor, actions: Tensor) -> Tensor:
        """actions (R, M, N, 1) -> (1, R, M)."""
        positive = (actions.squeeze(-1) > 0).long()  # (R, M, N)
        return (state @ self.table).gather(1, 2 * positive[..., 0] + positive[..., 1]).unsqueeze(0)


def problem(seed: int, behaviour: Array | None = None) -> Problem:
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, 2, N_STATES, 2, gamma=0.5, sparsity=1.0)
    uneven = 0.9 * rng.dirichlet(np.full(JOINT, 0.3), size=N_STATES) + 0.1 / JOINT
    return make_problem(mdp, uneven if behaviour is None else behaviour)


def everything(learner: Any, case: Problem) -> EpisodeBatch:
    """All transitions, weighted by their probability."""
    rows, args = transitions(case), learner.args
    count, eye = len(rows.state), th.eye(N_STATES, dtype=F64)
    scheme, groups, preprocess = build_scheme(env_info(args), args)
    scheme = extend_scheme(scheme, preprocess) | {"learned": {"vshape": (1,)}}
    state = eye[th.as_tensor(np.stack([rows.state, rows.next_state], axis=1))]  # (B, 2, S)
    actions = SIGNS[th.as_tensor(rows.action)].view(count, 1, 2, 1).expand(-1, 2, -1, -1)  # (B, 2, N, 1)

    def first_row(values: Array) -> Tensor:  # (B,) -> (B, 2, 1)
        given = th.as_tensor(values, dtype=F64).view(count, 1, 1)
        return th.cat([given, th.zeros_like(given)], 1)

    data = {
        "obs": state.unsqueeze(2).expand(-1, -1, 2, -1), "state": state, "actions": actions, "actions_onehot": actions,
        "avail_actions": th.ones(count, 2, 2, 1, dtype=th.int), "reward": first_row(rows.reward),
        "terminated": th.zeros(count, 2, 1, dtype=th.uint8), "filled": th.ones(count, 2, 1, dtype=th.long),
        "learned": first_row(rows.weight * (count / rows.weight.sum())),
    }  # fmt: skip
    wrapped = SimpleNamespace(transition_data=data, episode_data={})
    return EpisodeBatch(scheme, groups, count, 2, data=wrapped, device="cpu")


def learned(case: Problem, pi: Array, alpha: float) -> Array:
    """The critic's fixed point for policies that play the joint action pi(s), (S,): Q (S, J)."""
    sizes = {"n_agents": 2, "n_actions": 1, "state_shape": N_STATES, "action_low": [-1.0], "action_high": [1.0]}
    fixed = {"input_norm": "none", "target_noise": 0.0, "n_penalty_samples": JOINT, "gamma": case.mdp.gamma}
    learner = make_learner("macql", dtype=F64, alpha_cql=alpha, **sizes, **fixed)
    learner.critic, learner.target_critic = JointTable(), JointTable()
    outputs = SIGNS[th.as_tensor(pi)].unsqueeze(-1)  # (S, N, 1)
    learner.unroll = lambda mac, batch, steps: th.einsum("bts,sna->btna", batch["state"][:, steps], outputs)
    batch = everything(learner, case)
    noise = {key: value.to(F64) for key, value in learner.noise("critic", batch).items()}
    noise["uniform"] = (0.5 * (SIGNS + 1)).view(1, 1, JOINT, 2, 1).expand(batch.batch_size, -1, -1, -1, -1)
    return fixed_point(lambda: learner("critic", batch, noise)[0], learner.critic.table, learner.target_critic.table)


@pytest.mark.parametrize("seed", range(2))
def test_the_estimate_lies_below_the_true_value_by_what_the_formula_says(seed: int) -> None:
    """pi plays what the data have least often: the estimate is too low in every state, more so for larger alpha."""
    case = problem(seed)
    pi = case.behaviour.argmin(-1)
    move = case.mdp.transition[np.arange(N_STATES), pi]  # (S, S)
    gaps = []
    for alpha in (0.2, 1.0):
        pressure, gap = excess(case, pi, learned(case, pi, alpha))
        np.testing.assert_allclose(
            gap, np.linalg.solve(np.eye(N_STATES) - case.mdp.gamma * move, 0.5 * alpha * pressure), atol=1e-4
        )
        assert (pressure > 0).all() and (gap > 1e-3).all()
        gaps.append(gap)
    assert (gaps[1] > gaps[0]).all()


def test_without_the_penalty_the_estimate_is_the_true_value() -> None:
    case = problem(0)
    pi = case.behaviour.argmin(-1)
    np.testing.assert_allclose(excess(case, pi, learned(case, pi, 0.0))[1], 0, atol=1e-4)


def test_a_policy_that_stays_with_the_data_is_not_bounded() -> None:
    """The penalty raises what the data nearly always have: there the estimate lies above the true value."""
    behaviour = np.full((N_STATES, JOINT), 0.01)
    behaviour[:, 2] = 0.97
    case = problem(0, behaviour)
    pi = behaviour.argmax(-1)
    pressure, gap = excess(case, pi, learned(case, pi, 0.2))
    assert (pressure < 0).all() and (gap < 0).all()
