"""The penalties of `iql_cql` and `qmix_cql` on a process known exactly, in whose formula (penalty.py) pi is greedy.

Without a mixer the formula holds for each agent, in the process that the other's logged actions make. With the mixer
vdn, on a process whose rewards and next states are sums over agents and whose data are of independent agents, the last
bracket is sum_i (softmax Q_i / mu_i - 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from torch import Tensor

from tests.learners.learner_tester import F64, make_learner
from tests.theory.dice import Problem, make_problem, transitions
from tests.theory.penalty import JOINT, N_STATES, excess, fixed_point
from tests.theory.tabular import Array, DecMDP, marginals, product, q_of, random_mdp
from tests.theory.tabular_learner import make_rows

OWN = 2  # actions of each of two agents
DISCRETE = {"dtype": F64, "input_norm": "none", "state_shape": N_STATES, "gamma": 0.5}


def discrete_values(alg: str, case: Problem, alpha: float, **sizes: int) -> Array:
    """The fixed point of every agent's values, (N, S, A); joint actions of the penalty are all there are."""
    mixing: Any = {"mixer": "vdn", "n_penalty_samples": JOINT} if alg == "qmix_cql" else {}
    learner = make_learner(alg, alpha_cql=alpha, **mixing, **DISCRETE, **sizes)
    shape = (sizes["n_agents"], N_STATES, sizes["n_actions"])
    table, target = (th.zeros(shape, dtype=F64, requires_grad=kind) for kind in (True, False))
    tables = {learner.mac: table, learner.target_mac: target}
    learner.unroll = lambda mac, batch, steps: th.einsum("bts,nsa->btna", batch["state"][:, steps], tables[mac])
    rows = transitions(case)
    batch = make_rows(
        learner,
        states=np.stack([rows.state, rows.next_state], axis=1),
        actions=np.stack(np.unravel_index(rows.action, (shape[2],) * shape[0]), axis=1),
        reward=rows.reward,
        first=rows.state,
        weight=rows.weight,
    )
    noise = {} if learner.mixer is None else {"joint": every_joint_action(batch.batch_size)}
    return fixed_point(lambda: learner("q", batch, noise)[0], table, target)


def every_joint_action(rows: int) -> Tensor:
    """What chooses each of the J joint actions once, (B, 1, J, N, A): the largest number is of the action."""
    pairs = th.stack(th.unravel_index(th.arange(JOINT), (OWN, OWN)), dim=-1)  # (J, N)
    return th.nn.functional.one_hot(pairs, OWN).to(F64).expand(rows, 1, -1, -1, -1)


def additive_problem(seed: int, shares: Array | None = None) -> Problem:
    """Rewards and next states depend on each agent's action apart, so that sums of agents' values are exact.

    shares: how often each agent takes each action, (N, S, A); agents act independently, None for uniformly.
    """
    rng = np.random.default_rng(seed)
    own = rng.uniform(-0.5, 0.5, (2, N_STATES, OWN))
    moves = rng.dirichlet(np.ones(N_STATES), size=(2, N_STATES, OWN))  # (N, S, A, S)
    reward = (own[0][:, :, None] + own[1][:, None]).reshape(N_STATES, JOINT)
    transition = 0.5 * (moves[0][:, :, None] + moves[1][:, None]).reshape(N_STATES, JOINT, N_STATES)
    mdp = DecMDP(transition, reward, rng.dirichlet(np.ones(N_STATES)), 0.5, 2, OWN)
    return make_problem(mdp, product(np.full((2, N_STATES, OWN), 1 / OWN) if shares is None else shares))


def shares_of(best: Array, how_often: float) -> Array:
    """Behaviour of agents that take their actions `best`, (N, S), with this probability: (N, S, A)."""
    chosen = np.eye(OWN)[best]
    return how_often * chosen + (1 - how_often) * (1 - chosen)


def pressures(q: Array, shares: Array) -> tuple[Array, Array]:
    """The greedy actions of each agent's values, and softmax Q_i / mu_i - 1 there: (N, S) each."""
    best = q.argmax(-1)
    softmax = np.exp(q - q.max(-1, keepdims=True))
    softmax /= softmax.sum(-1, keepdims=True)
    ratio = np.take_along_axis(softmax / shares, best[..., None], -1).squeeze(-1)
    return best, ratio - 1


def mixed_gaps(case: Problem, shares: Array, alpha: float) -> tuple[Array, Array]:
    """Of `qmix_cql`: sum_i (softmax Q_i / mu_i - 1) of the greedy actions, and true value minus estimate, (S,) each."""
    q = discrete_values("qmix_cql", case, alpha, n_agents=2, n_actions=OWN)
    best, pressure = pressures(q, shares)
    joint = best[0] * OWN + best[1]
    true = q_of(case.mdp, np.eye(JOINT)[joint])[np.arange(N_STATES), joint]
    gap = true - q.max(-1).sum(0)
    move = case.mdp.transition[np.arange(N_STATES), joint]  # (S, S)
    expected = np.linalg.solve(np.eye(N_STATES) - case.mdp.gamma * move, 0.5 * alpha * pressure.sum(0))
    np.testing.assert_allclose(gap, expected, atol=1e-4)
    return pressure, gap


@pytest.mark.parametrize("seed", range(2))
def test_mixed_values_of_uniform_data_are_bounded_without_conditions(seed: int) -> None:
    """`qmix_cql` with the mixer vdn, by what the formula says, the further the larger alpha."""
    case, shares = additive_problem(seed), np.full((2, N_STATES, OWN), 1 / OWN)
    gaps = []
    for alpha in (0.2, 1.0):
        pressure, gap = mixed_gaps(case, shares, alpha)
        assert (pressure > 0).all() and (gap > 1e-3).all()
        gaps.append(gap)
    assert (gaps[1] > gaps[0]).all()
    np.testing.assert_allclose(mixed_gaps(case, shares, 0.0)[1], 0, atol=1e-4)


def test_mixed_values_are_bounded_where_the_data_have_the_greedy_actions_seldom() -> None:
    """And lie above the true values where the data nearly always have them: the formula holds in both cases."""
    best = discrete_values("qmix_cql", additive_problem(0), 0.0, n_agents=2, n_actions=OWN).argmax(-1)  # (N, S)
    for how_often, sign in ((0.4, 1), (0.97, -1)):
        shares = shares_of(best, how_often)
        pressure, gap = mixed_gaps(additive_problem(0, shares), shares, 0.02)
        assert (sign * pressure > 0).all() and (sign * gap > 1e-3).all()


def own_process(case: Problem, agent: int) -> tuple[Array, Array]:
    """Rewards (S, A) and next states (S, A, S) that an agent sees, to whom the other one is part of the process."""
    mu = np.moveaxis(case.behaviour.reshape(N_STATES, OWN, OWN), 1 + agent, 1)  # (S, own, other)
    given = mu / mu.sum(-1, keepdims=True)
    reward = np.moveaxis(case.mdp.reward.reshape(N_STATES, OWN, OWN), 1 + agent, 1)
    moves = np.moveaxis(case.mdp.transition.reshape(N_STATES, OWN, OWN, N_STATES), 1 + agent, 1)
    return (given * reward).sum(-1), (given[..., None] * moves).sum(2)


def own_gaps(case: Problem, alpha: float) -> tuple[Array, Array]:
    """Of `iql_cql`: softmax Q_i / mu_i - 1 of greedy actions, and true value minus estimate, (N, S) each."""
    q = discrete_values("iql_cql", case, alpha, n_agents=2, n_actions=OWN)
    best, pressure = pressures(q, marginals(case.behaviour, 2))
    states, gaps = np.arange(N_STATES), []
    for agent in range(2):
        reward, moves = (part[states, best[agent]] for part in own_process(case, agent))
        horizon = np.eye(N_STATES) - case.mdp.gamma * moves
        gaps.append(np.linalg.solve(horizon, reward) - q[agent].max(-1))
        np.testing.assert_allclose(gaps[-1], np.linalg.solve(horizon, 0.5 * alpha * pressure[agent]), atol=1e-4)
    return pressure, np.stack(gaps)


def correlated(best: Array, how_often: float) -> Array:
    """Two agents that take their actions `best` with this probability each, and more often together: (S, J)."""
    joint = product(shares_of(best, how_often)).reshape(N_STATES, OWN, OWN)
    shift = 0.4 * joint.min((1, 2))[:, None, None] * np.array([[1, -1], [-1, 1]])
    return np.asarray((joint + shift).reshape(N_STATES, JOINT), np.float64)


def greedy_this_often(mdp: DecMDP, how_often: float) -> Problem:
    """Data in which each agent takes, with this probability, the action that is best in its own process."""
    best = np.zeros((2, N_STATES), np.int64)
    for _ in range(20):
        case = make_problem(mdp, correlated(best, how_often))
        before, best = best, np.stack([own_optimum(*own_process(case, agent), mdp.gamma) for agent in range(2)])
        if (before == best).all():
            return case
    raise AssertionError("the agents' best actions do not settle")


def own_optimum(reward: Array, moves: Array, gamma: float) -> Array:
    """The best action in each state, (S,), by value iteration."""
    value = np.zeros(N_STATES)
    for _ in range(60):
        value = (reward + gamma * moves @ value).max(-1)
    return np.asarray((reward + gamma * moves @ value).argmax(-1))


def test_two_agents_values_of_data_that_are_not_uniform() -> None:
    """`iql_cql`, each agent in the process that the other one's logged actions make, which hang on its own."""
    mdp = random_mdp(np.random.default_rng(1), 2, N_STATES, OWN, gamma=0.5, sparsity=1.0)
    for how_often, sign in ((0.4, 1), (0.97, -1)):
        pressure, gap = own_gaps(greedy_this_often(mdp, how_often), 0.02)
        assert (sign * pressure > 0).all() and (sign * gap > 1e-3).all()
    uneven = np.random.default_rng(2).dirichlet(np.full(JOINT, 0.5), size=N_STATES) * 0.9 + 0.1 / JOINT
    pressure, _ = own_gaps(make_problem(mdp, uneven), 0.1)  # the formula, where some lie below and some above
    assert pressure.min() < 0 < pressure.max()


@pytest.mark.parametrize("seed", range(2))
def test_greedy_values_of_uniform_data_are_bounded_without_conditions(seed: int) -> None:
    """`iql_cql` of one agent: softmax Q of its greedy action is never below the data's 1/4."""
    mdp = random_mdp(np.random.default_rng(seed), 1, N_STATES, JOINT, gamma=0.5, sparsity=1.0)
    case = make_problem(mdp, np.full((N_STATES, JOINT), 1 / JOINT))
    gaps = []
    for alpha in (0.2, 1.0):
        q = discrete_values("iql_cql", case, alpha, n_agents=1, n_actions=JOINT)[0]
        pressure, gap = excess(case, q.argmax(-1), q)
        assert (pressure > 0).all() and (gap > 1e-3).all()
        gaps.append(gap)
    assert (gaps[1] > gaps[0]).all()
