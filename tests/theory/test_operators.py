"""T^(k) and T^SP are gamma-contractions while their weights are fixed, and not where the weights follow Q."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest

from tests.theory.tabular import (
    Array,
    DecMDP,
    adaptive_backup,
    backup,
    disagreeing_critics,
    marginals,
    mixed,
    modulus,
    partial_backup,
    product,
    q_of,
    random_joint,
    random_mdp,
    random_policies,
    replaced,
    replaced_k,
    soft_backup,
    subsets,
    uncertainty_weights,
)

EXACT = 1e-12
AGENTS = pytest.mark.parametrize("n", [2, 3, 4])
Operator = Callable[[Array], Array]


def instances(n: int, draws: int = 100) -> Iterator[tuple[np.random.Generator, DecMDP, Array, Array]]:
    """Processes, policies, and logged behaviour that is independent every other time."""
    for seed in range(draws):
        rng = np.random.default_rng(1000 * n + seed)
        mdp = random_mdp(rng, n, gamma=float(rng.uniform(0.3, 0.99)))
        logged = random_joint(rng, mdp) if seed % 2 else product(random_policies(rng, mdp))
        yield rng, mdp, random_policies(rng, mdp), logged


def pessimistic(operator: Operator) -> Operator:
    """The same on the minimum over an ensemble, (E, S, J) -> (S, J)."""
    return lambda ensemble: operator(ensemble.min(0))


def pairs(rng: np.random.Generator, shape: tuple[int, ...]) -> list[tuple[Array, Array]]:
    """Unrelated pairs, pairs that differ in one place, and (last) a pair that differs by a constant."""
    q = rng.normal(0, 10, shape)
    spike = q.copy()
    spike.flat[rng.integers(q.size)] += 5
    return [(q, rng.normal(0, 10, shape)), (q, q + rng.uniform(-1, 1, shape)), (q, spike), (q, q + 3)]


@AGENTS
def test_replaced_policies_are_what_sampling_would_give(n: int) -> None:
    """Against loops over logged and own actions; for independent behaviour against eq. 10."""
    for _, _, pi, logged in instances(n, 4):
        for k in range(n + 1):
            for agents in subsets(n, k):
                ours = replaced(pi, logged, agents)
                slow = np.zeros_like(ours)
                for j, old in enumerate(np.ndindex(*[2] * n)):
                    for own in np.ndindex(*[2] * k):
                        new = list(old)
                        chance = logged[:, j].copy()
                        for i, action in zip(agents, own, strict=True):
                            new[i] = action
                            chance *= pi[i, :, action]
                        slow[:, np.ravel_multi_index(new, [2] * n)] += chance
                assert np.allclose(ours, slow, atol=EXACT)
                mu = marginals(logged, n)
                assert np.allclose(replaced(pi, product(mu), agents), mixed(pi, mu, agents), atol=EXACT)


@AGENTS
def test_partial_backups_contract_by_gamma_and_by_no_less(n: int) -> None:
    for rng, mdp, pi, logged in instances(n):
        for k in range(1, n + 1):
            operator = partial(partial_backup, mdp, pi, logged, k)
            ratios = [modulus(operator, *pair) for pair in pairs(rng, mdp.reward.shape)]
            assert max(ratios) <= mdp.gamma + EXACT
            assert ratios[-1] > 0.999 * mdp.gamma  # so no smaller modulus holds


@AGENTS
def test_mixtures_with_fixed_weights_contract_also_with_weights_of_each_state_and_minima_over_critics(n: int) -> None:
    for rng, mdp, pi, logged in instances(n):
        for shape in ((), (len(mdp.start),)):
            weights = rng.dirichlet(np.ones(n), size=shape)
            operator = partial(soft_backup, mdp, pi, logged, weights)
            ratios = [modulus(operator, *pair) for pair in pairs(rng, mdp.reward.shape)]
            assert max(ratios) <= mdp.gamma + EXACT and ratios[-1] > 0.999 * mdp.gamma
            ratios = [modulus(pessimistic(operator), *pair) for pair in pairs(rng, (3, *mdp.reward.shape))]
            assert max(ratios) <= mdp.gamma + EXACT
        wrong = partial(soft_backup, mdp, pi, logged, 1.1 * weights)
        too_much = modulus(wrong, *pairs(rng, mdp.reward.shape)[-1])
        assert too_much > 1.05 * mdp.gamma  # weights that sum to more than one are noticed


@AGENTS
def test_the_number_of_replaced_agents_matters(n: int) -> None:
    for rng, mdp, pi, logged in instances(n, 5):
        q = rng.normal(size=mdp.reward.shape)
        images = [partial_backup(mdp, pi, logged, k, q) for k in range(1, n + 1)]
        for k in range(n):
            for other in range(k):
                assert np.abs(images[k] - images[other]).max() > 1e-4
        assert np.allclose(images[-1], backup(mdp, product(pi), q), atol=EXACT)  # k = n: evaluation of pi
        singles = [backup(mdp, replaced(pi, logged, (i,)), q) for i in range(n)]
        assert np.allclose(images[0], np.mean(singles, axis=0), atol=EXACT)  # k = 1: eq. 15
        soft = soft_backup(mdp, pi, logged, np.eye(n)[0], q)
        assert np.allclose(soft, images[0], atol=EXACT)


@AGENTS
def test_repeated_backups_reach_the_value_of_the_mixed_policy(n: int) -> None:
    """The limit of T^(k) is not Q^pi but the value of the policy in which only k agents follow pi."""
    for _, mdp, pi, logged in instances(n, 5):
        for k in range(1, n + 1):
            limit = q_of(mdp, replaced_k(pi, logged, k))
            assert np.allclose(partial_backup(mdp, pi, logged, k, limit), limit, atol=1e-9)
            distance = np.abs(limit - q_of(mdp, product(pi))).max()
            assert distance < 1e-9 if k == n else distance > 1e-3


# -- weights that depend on Q ----------------------------------------------------------------------------------------


def disagreeing(gap: float, spread: tuple[float, float]) -> tuple[Operator, Array]:
    """The backup of two disagreeing critics, and the critics."""
    mdp, pi, logged, ensemble = disagreeing_critics(gap, spread)
    return partial(adaptive_backup, mdp, pi, logged), ensemble


def test_uncertainty_weights_make_the_operator_expansive() -> None:
    """w = (1/2, 1/2) becomes (1/11, 10/11) although no value moved by more than 0.9."""
    operator, q = disagreeing(8, (1, 1))
    _, other = disagreeing(8, (1, 0.1))
    assert np.abs(q - other).max() == pytest.approx(0.9)
    assert operator(q)[0, 0] == pytest.approx(0.9 * (0.5 * -1 + 0.5 * 7))
    assert operator(other)[0, 0] == pytest.approx(0.9 * (-1 + 10 * 7.9) / 11)
    assert modulus(operator, q, other) == pytest.approx(45 / 11)  # gamma is 0.9
    assert modulus(operator, q, q + 3) == pytest.approx(0.9)  # a shift of all values leaves the weights


def test_no_constant_bounds_the_expansion() -> None:
    """Halving one spread s moves no value by more than s/2 and the target by gamma (gap/6 + s/3)."""
    for spread in (1.0, 0.1, 0.01, 0.001):
        operator, q = disagreeing(8, (spread, spread))
        ratio = modulus(operator, q, disagreeing(8, (spread, spread / 2))[1])
        assert ratio == pytest.approx(0.9 * (8 / (3 * spread) + 2 / 3))
    assert ratio > 2000


def test_without_a_gap_between_replacements_weights_cannot_expand() -> None:
    """Control: where every k has the same values and spreads, weights of any kind give the same target."""
    operator, q = disagreeing(0, (1, 1))
    assert modulus(operator, q, disagreeing(0, (0.5, 0.5))[1]) <= 0.9 + EXACT


def test_exact_members_agree_after_one_backup_and_the_weights_become_uniform() -> None:
    """All critics share one target, so without approximation error the second backup has w_k = 1/n."""
    for rng, mdp, pi, logged in instances(2, 6):
        ensemble = rng.normal(0, 3, (4, *mdp.reward.shape))
        first = adaptive_backup(mdp, pi, logged, ensemble)
        uniform = soft_backup(mdp, pi, logged, np.full(2, 0.5), ensemble.min(0))
        assert np.abs(first - uniform).max() > 1e-3
        second = adaptive_backup(mdp, pi, logged, np.stack([first] * 4))
        assert np.allclose(second, soft_backup(mdp, pi, logged, np.full(2, 0.5), first), atol=EXACT)


def test_weights_are_the_papers() -> None:
    opinions = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 4.0]])  # spreads 1 : 2 : 4
    assert np.allclose(uncertainty_weights(opinions), np.array([4, 2, 1]) / 7)
