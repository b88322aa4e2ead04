"""The DICE problem on a small Dec-MDP, solved exactly from both sides; what ComaDICE's learner is held against.

    primal: max_{d >= 0} E_d[r] - alpha D_f(d || d^mu)  subject to  sum_a d(s, a) = (1 - gamma) p0(s) + gamma sum P d
    dual:   min_nu (1 - gamma) E_p0[nu] + E_{d^mu}[alpha f*(A / alpha)]  with  A = r + gamma P nu - nu
    d = d^mu w*(A / alpha) at the dual's solution is the primal's.

Facts section 3.1 (its sign of f*: the poster's closed-form box has a minus too many). Occupancies are normalised, as in
tests.theory.tabular, whose conventions hold here: states S, joint actions J (agent 0 slowest).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch as th
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, minimize
from torch import Tensor

from modules.divergences import KL, ChiSquare, Divergence
from tests.theory.tabular import Array, DecMDP, pair_occupancy, product, q_star, random_mdp, random_policies

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """A process and who made the data: behaviour (S, J), its occupancy d^mu (S, J), positive everywhere."""

    mdp: DecMDP
    behaviour: Array
    occupancy: Array


@dataclass(frozen=True)
class Solution:
    """Of the dual: nu* (S,), advantages A (S, J), weights w* (S, J), the value at nu*."""

    nu: Array
    advantage: Array
    weights: Array
    value: float


@dataclass(frozen=True)
class Transitions:
    """Everything that can happen, one row each (M,): joint actions as numbers, weights d^mu(s, a) P(s' | s, a)."""

    state: Index
    action: Index
    reward: Array
    next_state: Index
    done: NDArray[np.bool_]
    weight: Array


def make_problem(mdp: DecMDP, behaviour: Array) -> Problem:
    """`behaviour` (S, J) must take every action, and the process start or come to every state."""
    occupancy = pair_occupancy(mdp, behaviour).reshape(behaviour.shape)
    assert occupancy.min() > 0
    return Problem(mdp, behaviour, occupancy)


def random_problem(
    seed: int, deterministic: bool = False, n: int = 2, n_states: int = 6, n_actions: int = 3, gamma: float = 0.9
) -> Problem:
    """Independent random agents on a random process; `deterministic` keeps every pair's likeliest next state only."""
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, n, n_states, n_actions, gamma)
    if deterministic:
        mdp = replace(mdp, transition=np.eye(n_states)[mdp.transition.argmax(-1)])
    return make_problem(mdp, product(random_policies(rng, mdp)))


def transitions(problem: Problem) -> Transitions:
    """All (s, a, r, s') of positive probability; nothing ever ends, so `done` is False throughout."""
    mdp = problem.mdp
    weight = problem.occupancy[:, :, None] * mdp.transition  # (S, J, S)
    state, action, next_state = np.nonzero(weight)
    done = np.zeros(len(state), dtype=np.bool_)
    return Transitions(state, action, mdp.reward[state, action], next_state, done, weight[state, action, next_state])


def flow_error(mdp: DecMDP, d: Array) -> float:
    """The largest violation of the Bellman flow constraints by d (S, J)."""
    arriving = np.einsum("sj,sjt->t", d, mdp.transition)
    return float(np.abs(d.sum(-1) - (1 - mdp.gamma) * mdp.start - mdp.gamma * arriving).max())


def primal_value(problem: Problem, divergence: Divergence, alpha: float, d: Array) -> float:
    """E_d[r] - alpha D_f(d || d^mu) of d (S, J)."""
    cost = problem.occupancy * divergence.f(th.from_numpy(d / problem.occupancy)).numpy()  # (S, J)
    return float((d * problem.mdp.reward - alpha * cost).sum())


def dual_value(problem: Problem, divergence: Divergence, alpha: float, nu: Tensor) -> Tensor:
    """The dual's objective, differentiable in nu (S,), the expectation over s' taken inside f*."""
    mdp = problem.mdp
    reward, transition, start, occupancy = map(
        th.from_numpy, (mdp.reward, mdp.transition, mdp.start, problem.occupancy)
    )
    advantage = reward + mdp.gamma * transition @ nu - nu[:, None]  # (S, J)
    return (1 - mdp.gamma) * start @ nu + alpha * (occupancy * divergence.conjugate(advantage / alpha)).sum()


def slope(divergence: Divergence, w: Tensor) -> Tensor:
    """f'(w), w >= 0, which the learner has no use for; log 0 is the log of the dtype's smallest normal number."""
    log = w.clamp(min=th.finfo(w.dtype).tiny).log()
    if isinstance(divergence, KL):
        return log
    return w - 1 if isinstance(divergence, ChiSquare) else th.where(w < 1, log, w - 1)


def newton(objective: Callable[[Tensor], Tensor], start: Array) -> tuple[Array, float]:
    """Where a convex function of nu (S,) is least, and its value there."""
    found = minimize(
        lambda nu: objective(th.from_numpy(nu)).item(),
        start,
        jac=lambda nu: th.autograd.functional.jacobian(objective, th.from_numpy(nu)).numpy(),
        hess=lambda nu: th.autograd.functional.hessian(objective, th.from_numpy(nu)).numpy(),
        method="trust-exact",
        options={"gtol": 1e-10},
    )
    return np.asarray(found.x, np.float64), float(found.fun)


def solve_dual(problem: Problem, divergence: Divergence, alpha: float) -> Solution:
    """Newton's method on f* alone, from V* >= r + gamma P V*: there all advantages are <= 0 and no f* is steep."""
    mdp = problem.mdp
    nu, value = newton(lambda nu: dual_value(problem, divergence, alpha, nu), q_star(mdp).max(-1))
    advantage = mdp.reward + mdp.gamma * mdp.transition @ nu - nu[:, None]  # (S, J)
    weights = divergence.weight(th.from_numpy(advantage / alpha)).numpy()
    assert flow_error(mdp, problem.occupancy * weights) < 1e-6  # the dual's gradient, found without autograd
    return Solution(nu, advantage, weights, value)


def solve_primal(problem: Problem, divergence: Divergence, alpha: float) -> Array:
    """d* (S, J) by an interior-point method in w = d / d^mu: it knows f and the constraints, nothing of the dual."""
    mdp, occupancy = problem.mdp, problem.occupancy.ravel()
    n_states, joint = mdp.reward.shape
    leaving = np.repeat(np.eye(n_states), joint, axis=0)  # (S*J, S)
    flow = (leaving - mdp.gamma * mdp.transition.reshape(-1, n_states)).T * occupancy  # (S, S*J)

    def loss(w: Array) -> float:
        return -primal_value(problem, divergence, alpha, (occupancy * w).reshape(n_states, joint))

    def gradient(w: Array) -> Array:
        return -occupancy * (mdp.reward.ravel() - alpha * slope(divergence, th.from_numpy(w)).numpy())

    def hessian(w: Array) -> Array:
        variable = th.from_numpy(w.copy()).requires_grad_()
        (curvature,) = th.autograd.grad(slope(divergence, variable).sum(), variable)
        return np.diag(alpha * occupancy * curvature.numpy())

    found = minimize(
        loss,
        np.ones_like(occupancy),
        jac=gradient,
        hess=hessian,
        bounds=Bounds(0, np.inf, keep_feasible=True),
        constraints=LinearConstraint(flow, *[(1 - mdp.gamma) * mdp.start] * 2),
        method="trust-constr",
        # From scipy's own barrier, 0.1, it takes gradients for small whose w has a tiny d^mu, and stops 1e-5 short.
        # Some runs reach the solution and not `gtol`, for rounding: they end by `maxiter`, twice what others need.
        options={"initial_barrier_parameter": 1e-4, "gtol": 1e-10, "xtol": 1e-14, "maxiter": 500},
    )
    return np.asarray(occupancy * found.x, np.float64).reshape(n_states, joint)
