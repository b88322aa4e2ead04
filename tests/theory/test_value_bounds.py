"""Theorems 1 to 3: the bounds hold, their distribution-shift term is not what makes them hold, and what would be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.theory.tabular import (
    Array,
    DecMDP,
    deviations,
    estimate,
    excess_correlation,
    leaving_chain,
    marginals,
    mixture,
    occupancy,
    pair_occupancy,
    product,
    q_of,
    q_star,
    random_instances,
    random_joint,
    random_mdp,
    random_policies,
    replaced_k,
)

EXACT = 1e-9
AGENTS = pytest.mark.parametrize("n", [2, 3, 4])


def instances(n: int, draws: int = 40) -> Iterator[tuple[np.random.Generator, DecMDP, Array, Array]]:
    return random_instances(n, draws, 3000 * n)


def shift_term(mdp: DecMDP, deviation: float) -> float:
    """The last term of Theorems 1 to 3."""
    return 4 * mdp.gamma / (1 - mdp.gamma) ** 2 * deviation


def lipschitz(mdp: DecMDP, q: Array) -> bool:
    """2 / (1 - gamma)-Lipschitz under the 0-1 metric: no two values are further apart."""
    return bool(np.ptp(q) <= 2 / (1 - mdp.gamma) + EXACT)


def learned(rng: np.random.Generator, mdp: DecMDP, pi: Array, mu: Array) -> list[Array]:
    """Functions that satisfy the theorems' assumption: limits of T^SP and arbitrary ones inside the value range."""
    limits = [q_of(mdp, replaced_k(pi, product(mu), k)) for k in range(1, len(pi) + 1)]
    return [*limits, rng.uniform(-1, 1, mdp.reward.shape) / (1 - mdp.gamma), -q_star(mdp)]


@AGENTS
def test_theorem_1_holds(n: int) -> None:
    for rng, mdp, pi, mu in instances(n):
        for q_hat in learned(rng, mdp, pi, mu):
            assert lipschitz(mdp, q_hat)
            found = estimate(mdp, product(pi), q_hat)
            bound = found.suboptimality + found.regression + shift_term(mdp, deviations(pi, mu).sum())
            assert found.error <= bound + EXACT


@AGENTS
def test_the_shift_term_of_the_theorems_is_redundant(n: int) -> None:
    """|V - Vhat| <= eps_Subopt + eps_FQI alone, also where q_hat is not Lipschitz: an average is at most a maximum."""
    for rng, mdp, pi, mu in instances(n):
        for q_hat in [*learned(rng, mdp, pi, mu), rng.normal(0, 1000, mdp.reward.shape)]:
            found = estimate(mdp, product(pi), q_hat)
            assert found.error <= found.suboptimality + found.regression + EXACT


def test_the_other_two_terms_are_needed() -> None:
    """Control: without either of them the bound fails at pi = mu, where the shift term is zero."""
    mdp = random_mdp(np.random.default_rng(0), 2)
    pi = random_policies(np.random.default_rng(1), mdp)
    found = estimate(mdp, product(pi), q_star(mdp))
    assert found.regression == 0 and 0.1 < found.error <= found.suboptimality
    best = np.eye(4)[q_star(mdp).argmax(-1)]
    found = estimate(mdp, best, q_star(mdp) + 1)
    assert found.suboptimality < EXACT and found.error == pytest.approx(1) == found.regression


@AGENTS
def test_theorem_2_holds_with_correlated_behaviour(n: int) -> None:
    for rng, mdp, _, _ in instances(n):
        joint = random_joint(rng, mdp)
        mu, pi = marginals(joint, n), random_policies(rng, mdp)
        deviation = deviations(pi, mu).sum() + excess_correlation(joint, n)
        for k in range(1, n + 1):
            found = estimate(mdp, product(pi), q_of(mdp, replaced_k(pi, joint, k)))
            assert found.error <= found.suboptimality + found.regression + shift_term(mdp, deviation) + EXACT


@AGENTS
def test_theorem_3_holds_with_weights_of_each_state(n: int) -> None:
    for rng, mdp, pi, mu in instances(n):
        weights = rng.dirichlet(np.full(n, 0.3), size=len(mdp.start))
        k_eff = occupancy(mdp, product(pi)) @ weights @ np.arange(1, n + 1)
        found = estimate(mdp, product(pi), q_of(mdp, mixture(pi, product(mu), weights)))
        bound = found.suboptimality + found.regression + shift_term(mdp, k_eff * deviations(pi, mu).mean())
        assert found.error <= bound + EXACT


@AGENTS
def test_the_bound_of_theorem_3_orders_replacements_the_wrong_way_round_on_exact_data(n: int) -> None:
    """The limit of T^(n) is Q^pi: no error where the shift term is largest; fewer replacements are biased."""
    for _, mdp, pi, mu in instances(n, 10):
        errors, terms = [], []
        for k in range(1, n + 1):
            errors.append(estimate(mdp, product(pi), q_of(mdp, replaced_k(pi, product(mu), k))).error)
            terms.append(shift_term(mdp, k * deviations(pi, mu).mean()))
        assert errors[-1] < EXACT < 1e-6 < max(errors[:-1])
        assert np.all(np.diff(terms) > 0)


# -- what the proof does show --------------------------------------------------------------------------------------


def change_of_measure(mdp: DecMDP, pi: Array, mu: Array, f: Array) -> float:
    """|E f over d^pi, pi - E f over d^mu, mu|, eq. 42."""
    return float(abs((pair_occupancy(mdp, product(pi)) - pair_occupancy(mdp, product(mu))) @ f.ravel()))


@AGENTS
def test_the_change_of_measure_holds_with_4_over_the_square(n: int) -> None:
    """Hence |V - Vhat| <= |E_(d^mu, mu) (Q^pi - Qhat)| + 4 / (1 - gamma)^2 sum TV: data error, no suboptimality."""
    for rng, mdp, pi, mu in instances(n):
        term = shift_term(mdp, deviations(pi, mu).sum()) / mdp.gamma
        for q_hat in learned(rng, mdp, pi, mu):
            f = q_of(mdp, product(pi)) - q_hat
            assert change_of_measure(mdp, pi, mu, q_star(mdp) - q_hat) <= term + EXACT
            on_data = abs(pair_occupancy(mdp, product(mu)) @ f.ravel())
            assert estimate(mdp, product(pi), q_hat).error <= on_data + term + EXACT


def test_without_the_shift_term_the_data_error_bounds_nothing() -> None:
    """Control: no error on the data, an error of almost 2 / (1 - gamma) on the policy."""
    mdp, pi, mu = leaving_chain(2, 1.0, 0.9)
    q = q_of(mdp, product(pi))
    q_hat = q.copy()
    q_hat[0, 1:], q_hat[1] = 9.9, 9.9  # mu stays in state 0 by action 0, the first entry
    assert change_of_measure(mdp, pi, mu, q - q_hat) == pytest.approx(estimate(mdp, product(pi), q_hat).error)
    assert abs(pair_occupancy(mdp, product(mu)) @ (q - q_hat).ravel()) < EXACT
    assert lipschitz(mdp, q_hat) and estimate(mdp, product(pi), q_hat).error > 19


@AGENTS
@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.95])
def test_the_printed_change_of_measure_is_false(n: int, gamma: float) -> None:
    """Eqs. 42 to 51 for states and actions, with 4 gamma / (1 - gamma)^2: the chain, f = Q* - Qhat, Qhat = -Q*."""
    mdp, pi, mu = leaving_chain(n, 1e-6, gamma)
    best = q_star(mdp)
    assert lipschitz(mdp, best) and np.ptp(best) == pytest.approx(2 / (1 - gamma))  # so that constant is tight
    moved = change_of_measure(mdp, pi, mu, best - (-best))
    printed = shift_term(mdp, deviations(pi, mu).sum())
    assert printed < moved <= printed / gamma + EXACT
    assert moved == pytest.approx(printed / gamma, rel=1e-3)


@AGENTS
def test_values_are_lipschitz(n: int) -> None:
    for _, mdp, pi, _ in instances(n):
        assert lipschitz(mdp, q_star(mdp)) and lipschitz(mdp, q_of(mdp, product(pi)))
        assert not lipschitz(mdp, 1e3 * q_star(mdp) / np.abs(q_star(mdp)).max() / (1 - mdp.gamma))
