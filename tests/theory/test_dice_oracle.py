"""The exact solutions that ComaDICE is held against: equal from both sides, right in the limits, as found before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch as th

from modules.divergences import REGISTRY
from tests.theory.dice import (
    Problem,
    dual_value,
    flow_error,
    make_problem,
    primal_value,
    random_problem,
    solve_dual,
    solve_primal,
    transitions,
)
from tests.theory.tabular import pair_occupancy, q_star, random_mdp

EXACT = 1e-6
SEEDS = range(2)
every_divergence = pytest.mark.parametrize("name", REGISTRY)
every_alpha = pytest.mark.parametrize("alpha", [1.0, 0.1, 0.01])
both_kinds = pytest.mark.parametrize("deterministic", [False, True], ids=["stochastic", "deterministic"])


def returns(problem: Problem) -> tuple[float, float]:
    """Normalised, of the behaviour and of the best policy."""
    best = (1 - problem.mdp.gamma) * problem.mdp.start @ q_star(problem.mdp).max(-1)
    return float((problem.occupancy * problem.mdp.reward).sum()), float(best)


def best_occupancy(problem: Problem) -> np.ndarray:
    """Of the optimal policy, (S, J)."""
    greedy = np.eye(problem.mdp.reward.shape[1])[q_star(problem.mdp).argmax(-1)]
    return pair_occupancy(problem.mdp, greedy).reshape(greedy.shape)


@every_divergence
@every_alpha
@both_kinds
def test_primal_equals_dual_and_its_weights_are_an_occupancy(name: str, alpha: float, deterministic: bool) -> None:
    for seed in SEEDS:
        problem, divergence = random_problem(seed, deterministic), REGISTRY[name]
        solution = solve_dual(problem, divergence, alpha)
        d, primal = problem.occupancy * solution.weights, solve_primal(problem, divergence, alpha)
        assert primal.min() >= 0 and flow_error(problem.mdp, primal) < EXACT
        assert primal_value(problem, divergence, alpha, primal) == pytest.approx(solution.value, abs=EXACT)
        assert primal_value(problem, divergence, alpha, d) == pytest.approx(solution.value, abs=EXACT)
        assert flow_error(problem.mdp, d) < EXACT
        assert d.sum() == pytest.approx(1, abs=EXACT)  # E_{d^mu}[w*]
        assert np.abs(d - primal).max() < 1e-5


@every_divergence
def test_the_weights_are_those_of_the_policy_that_they_define(name: str) -> None:
    problem = random_problem(0)
    d = problem.occupancy * solve_dual(problem, REGISTRY[name], 0.1).weights
    policy = d / d.sum(-1, keepdims=True)
    assert np.abs(pair_occupancy(problem.mdp, policy).reshape(d.shape) - d).max() < EXACT


def test_other_occupancies_and_values_fail() -> None:
    """Controls: weights of half the temperature flow wrongly, and neither side can pass the other's value."""
    problem, divergence, rng = random_problem(0), REGISTRY["soft_chi2"], np.random.default_rng(0)
    solution = solve_dual(problem, divergence, 0.1)
    sharper = divergence.weight(th.from_numpy(solution.advantage / 0.05)).numpy()
    assert flow_error(problem.mdp, problem.occupancy * sharper) > 0.01
    for _ in range(20):
        other = solution.nu + 0.1 * rng.standard_normal(len(solution.nu))
        assert dual_value(problem, divergence, 0.1, th.from_numpy(other)) > solution.value
        policy = rng.dirichlet(np.ones(problem.behaviour.shape[1]), len(problem.behaviour))
        d = pair_occupancy(problem.mdp, policy).reshape(policy.shape)
        assert primal_value(problem, divergence, 0.1, d) < solution.value


@every_divergence
@both_kinds
def test_a_large_alpha_keeps_the_behaviour(name: str, deterministic: bool) -> None:
    problem = random_problem(0, deterministic)
    far, farther = (solve_dual(problem, REGISTRY[name], alpha) for alpha in (1e2, 1e3))
    assert np.abs(far.weights - 1).max() < 0.05
    assert np.abs(farther.weights - 1).max() == pytest.approx(np.abs(far.weights - 1).max() / 10, rel=0.05)
    assert farther.value == pytest.approx(returns(problem)[0], abs=1e-3)


@every_divergence
@both_kinds
def test_a_small_alpha_approaches_the_optimum_from_below(name: str, deterministic: bool) -> None:
    """Between the optimum and what the optimal occupancy itself is worth, which tends to it with alpha."""
    problem, divergence = random_problem(0, deterministic), REGISTRY[name]
    behaviour, optimum = returns(problem)
    best, values = best_occupancy(problem), []
    for alpha in (1, 0.1, 0.01, 1e-3, 1e-4, 1e-5):
        solution = solve_dual(problem, divergence, alpha)
        assert flow_error(problem.mdp, problem.occupancy * solution.weights) < EXACT
        assert primal_value(problem, divergence, alpha, best) - EXACT < solution.value < optimum
        values.append(solution.value)
    assert values == sorted(values) and values[0] > behaviour
    assert optimum - values[-1] < 0.01


@both_kinds
def test_values_are_ordered_as_the_divergences_are(deterministic: bool) -> None:
    """soft_chi2 is the larger of the other two everywhere (w < 1: KL, w > 1: chi2), so it costs most."""
    for seed in SEEDS:
        for alpha in (1, 0.1, 0.01):
            problem = random_problem(seed, deterministic)
            kl, chi2, soft = (solve_dual(problem, REGISTRY[name], alpha).value for name in ("kl", "chi2", "soft_chi2"))
            assert soft < min(kl, chi2)


def test_an_earlier_oracle_gave_the_same_numbers() -> None:
    """Numbers of another implementation, for two agents with 2 and 3 actions and rewards in [0, 1].

    Its construction was not written down; this one gives every number that it could be held against.
    """
    rng = np.random.default_rng(0)
    mdp = random_mdp(rng, 1, n_states=6, n_actions=6, gamma=0.9, sparsity=0.5)
    mdp = replace(mdp, reward=(mdp.reward + 1) / 2)
    one, two = rng.dirichlet(np.ones(2), 6), rng.dirichlet(np.ones(3), 6)
    problem = make_problem(mdp, (one[:, :, None] * two[:, None, :]).reshape(6, 6))
    assert returns(problem) == pytest.approx((0.48944, 0.92362), abs=1e-5)
    published = {
        1: (0.517506, 0.516733, 0.515553, 0.54050),
        0.1: (0.690542, 0.680810, 0.660238, 0.74954),
        0.01: (0.889902, 0.802541, 0.798842, 0.84495),
    }
    for alpha, (kl, chi2, soft, soft_return) in published.items():
        solutions = {name: solve_dual(problem, divergence, alpha) for name, divergence in REGISTRY.items()}
        expected = {"kl": kl, "chi2": chi2, "soft_chi2": soft}
        assert {name: s.value for name, s in solutions.items()} == pytest.approx(expected, abs=1e-6)
        d = problem.occupancy * solutions["soft_chi2"].weights
        assert (d * mdp.reward).sum() == pytest.approx(soft_return, abs=1e-5)


@both_kinds
def test_transitions_are_all_that_can_happen(deterministic: bool) -> None:
    problem = random_problem(1, deterministic)
    mdp, rows = problem.mdp, transitions(problem)
    assert deterministic == (len(rows.state) == problem.occupancy.size)
    assert rows.weight.min() > 0 and rows.weight.sum() == pytest.approx(1) and not rows.done.any()
    counted = np.zeros(mdp.transition.shape)
    np.add.at(counted, (rows.state, rows.action, rows.next_state), rows.weight)
    np.testing.assert_allclose(counted, problem.occupancy[:, :, None] * mdp.transition, atol=1e-15)
    np.testing.assert_array_equal(rows.reward, mdp.reward[rows.state, rows.action])
    leaving, arriving = (np.bincount(s, rows.weight, len(mdp.start)) for s in (rows.state, rows.next_state))
    np.testing.assert_allclose(leaving, (1 - mdp.gamma) * mdp.start + mdp.gamma * arriving, atol=1e-12)


@every_divergence
@both_kinds
def test_single_samples_give_the_dual_only_where_nothing_is_random(name: str, deterministic: bool) -> None:
    """f* of r + gamma nu(s') - nu(s), averaged over s', is larger by Jensen: the bias that a learned A removes."""
    problem, divergence, alpha = random_problem(1, deterministic), REGISTRY[name], 0.1
    solution, rows, mdp = solve_dual(problem, divergence, alpha), transitions(problem), problem.mdp
    sample = rows.reward + mdp.gamma * solution.nu[rows.next_state] - solution.nu[rows.state]  # (M,)
    costs = divergence.conjugate(th.from_numpy(sample / alpha)).numpy()
    value = (1 - mdp.gamma) * mdp.start @ solution.nu + alpha * (rows.weight * costs).sum()
    if deterministic:
        assert value == pytest.approx(solution.value, abs=1e-12)
    else:
        assert value > solution.value + 0.01
