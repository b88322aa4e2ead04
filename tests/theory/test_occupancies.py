"""Lemmas 1 and 2: how far replaced agents move the state distribution, and where the printed constants do not carry."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.theory.tabular import (
    Agents,
    Array,
    DecMDP,
    deviations,
    excess_correlation,
    leaving_chain,
    marginals,
    mixed,
    mixture,
    occupancy,
    pair_occupancy,
    product,
    random_instances,
    random_joint,
    random_mdp,
    random_policies,
    replaced,
    subsets,
    sup_tv,
    tv,
)

EXACT = 1e-12
AGENTS = pytest.mark.parametrize("n", [2, 3, 4])


def instances(n: int, draws: int = 100) -> Iterator[tuple[np.random.Generator, DecMDP, Array, Array]]:
    return random_instances(n, draws, 7000 * n)


def every_subset(n: int) -> list[Agents]:
    return [agents for k in range(n + 1) for agents in subsets(n, k)]


def odds(mdp: DecMDP) -> float:
    return mdp.gamma / (1 - mdp.gamma)


@AGENTS
def test_occupancies_are_distributions_and_agree_with_a_long_sum(n: int) -> None:
    for _, mdp, pi, _ in instances(n, 4):
        if mdp.gamma > 0.9:
            continue
        d, step, total = occupancy(mdp, product(pi)), mdp.start, np.zeros_like(mdp.start)
        for t in range(400):
            total = total + (1 - mdp.gamma) * mdp.gamma**t * step
            step = step @ np.einsum("sj,sjt->st", product(pi), mdp.transition)
        assert d.sum() == pytest.approx(1) and np.allclose(d, total, atol=1e-10)


@AGENTS
def test_lemma_1_for_state_occupancies(n: int) -> None:
    """TV(d^(S), d^mu) <= gamma / (1 - gamma) sum over S of sup_s TV(pi_i, mu_i), for every subset."""
    for _, mdp, pi, mu in instances(n):
        base, each = occupancy(mdp, product(mu)), deviations(pi, mu)
        for agents in every_subset(n):
            shift = tv(occupancy(mdp, mixed(pi, mu, agents)), base)
            assert shift <= odds(mdp) * each[list(agents)].sum() + EXACT


@AGENTS
@pytest.mark.parametrize("gamma", [0.5, 0.95])
def test_lemma_1_cannot_be_improved(n: int, gamma: float) -> None:
    """A chain that is left when anybody deviates uses up the bound as deviations vanish; half of it is not enough."""
    rate = 1e-6
    mdp, pi, mu = leaving_chain(n, rate, gamma)
    for k in range(1, n + 1):
        leave = 1 - (1 - rate) ** k
        shift = tv(occupancy(mdp, mixed(pi, mu, tuple(range(k)))), occupancy(mdp, product(mu)))
        assert shift == pytest.approx(gamma * leave / (1 - gamma + gamma * leave))
        bound = odds(mdp) * k * rate
        assert 0.999 * bound < shift <= bound


@AGENTS
def test_in_l1_the_constant_doubles(n: int) -> None:
    """The lemma is about half the L1 distance: read without the half it is false (same chain)."""
    mdp, pi, mu = leaving_chain(n, 1e-6, 0.95)
    distance = np.abs(occupancy(mdp, product(pi)) - occupancy(mdp, product(mu))).sum()
    assert odds(mdp) * n * 1e-6 < distance <= 2 * odds(mdp) * n * 1e-6


@AGENTS
def test_lemma_1_is_about_every_state(n: int) -> None:
    """The TV of policies is a supremum over states: with its mean over states the lemma is false."""
    mdp, pi, mu = leaving_chain(n, 1e-6, 0.95)
    pi[:, 1] = mu[:, 1]  # nobody deviates where it no longer matters
    shift = tv(occupancy(mdp, product(pi)), occupancy(mdp, product(mu)))
    assert shift > odds(mdp) * tv(pi, mu).mean(-1).sum()
    assert shift <= odds(mdp) * deviations(pi, mu).sum()


@AGENTS
def test_occupancies_of_states_and_actions_need_one_over_one_minus_gamma(n: int) -> None:
    """Theorem 1's proof uses Lemma 1 for them; it holds with 1 / (1 - gamma) for gamma / (1 - gamma)."""
    for _, mdp, pi, mu in instances(n):
        each = deviations(pi, mu)
        for agents in every_subset(n):
            shift = tv(pair_occupancy(mdp, mixed(pi, mu, agents)), pair_occupancy(mdp, product(mu)))
            assert shift <= each[list(agents)].sum() / (1 - mdp.gamma) + EXACT


@pytest.mark.parametrize("gamma", [0.3, 0.5, 0.9, 0.95, 0.99])
def test_for_states_and_actions_lemma_1_is_false(gamma: float) -> None:
    """Two states, two agents, one of which deviates: the shift is almost rate / (1 - gamma)."""
    rate = 1e-6
    mdp, pi, mu = leaving_chain(2, rate, gamma)
    shift = tv(pair_occupancy(mdp, mixed(pi, mu, (0,))), pair_occupancy(mdp, product(mu)))
    assert shift == pytest.approx(rate / (1 - gamma + gamma * rate))
    assert shift > odds(mdp) * rate


@AGENTS
def test_the_joint_distance_is_never_above_the_sum_of_the_agents(n: int) -> None:
    """So the classical bound with TV(pi, mu) of joint policies is the tighter one; equal for one deviating agent."""
    strict = 0
    for _, mdp, pi, mu in instances(n):
        each = deviations(pi, mu)
        for agents in every_subset(n):
            joint = sup_tv(mixed(pi, mu, agents), product(mu))
            shift = tv(occupancy(mdp, mixed(pi, mu, agents)), occupancy(mdp, product(mu)))
            assert shift <= odds(mdp) * joint + EXACT
            assert joint <= min(1, each[list(agents)].sum()) + EXACT
            strict += joint < each[list(agents)].sum() - 1e-6
            if len(agents) == 1:
                assert joint == pytest.approx(each[agents[0]])
    assert strict > 30


@AGENTS
def test_the_shift_of_the_mixture_is_linear_in_the_effective_number_of_agents(n: int) -> None:
    """Theorem 3's k_eff, weights by state: in expectation under the mixture's own occupancy, or under mu's."""
    for rng, mdp, pi, mu in instances(n):
        weights = rng.dirichlet(np.full(n, 0.3), size=len(mdp.start))
        k_eff = weights @ np.arange(1, n + 1)  # (S,)
        soft = occupancy(mdp, mixture(pi, product(mu), weights))
        base = occupancy(mdp, product(mu))
        for visits in (soft, base):
            assert tv(soft, base) <= odds(mdp) * (visits @ k_eff) * deviations(pi, mu).mean() + EXACT


def test_the_effective_number_of_agents_is_needed() -> None:
    """Control: with one agent in place of k_eff the chain breaks the bound for every k > 1."""
    mdp, pi, mu = leaving_chain(4, 1e-6, 0.95)
    for k in range(2, 5):
        shift = tv(occupancy(mdp, mixture(pi, product(mu), np.eye(4)[k - 1])), occupancy(mdp, product(mu)))
        assert odds(mdp) * 1e-6 < shift <= odds(mdp) * k * 1e-6


# -- correlated behaviour --------------------------------------------------------------------------------------------


def test_excess_correlation_of_known_policies() -> None:
    """Zero for independent agents; 1 - A^(1-n) for agents that always copy each other, which grows with n."""
    rng = np.random.default_rng(0)
    for n in (2, 3, 4):
        mdp = random_mdp(rng, n)
        assert excess_correlation(product(random_policies(rng, mdp)), n) < EXACT
        for n_actions in (2, 3):
            copying = np.zeros((1, n_actions**n))
            copying[0, [np.ravel_multi_index([a] * n, [n_actions] * n) for a in range(n_actions)]] = 1 / n_actions
            assert excess_correlation(copying, n) == pytest.approx(1 - n_actions ** (1.0 - n))
    slightly = np.array([[0.25, 0.25, 0.25, 0.25], [0.35, 0.15, 0.15, 0.35]])
    assert excess_correlation(slightly, 2) == pytest.approx(0.2)  # the supremum over states, not the mean


@AGENTS
def test_lemma_2_for_state_occupancies(n: int) -> None:
    """Agents outside S act by their marginals, independently, as pi^(S) is defined."""
    kappa_needed = 0
    for rng, mdp, _, _ in instances(n):
        joint = random_joint(rng, mdp, float(rng.choice([0.1, 1])))
        mu = marginals(joint, n)
        share = float(rng.choice([0, 0.1, 1]))
        pi = (1 - share) * mu + share * random_policies(rng, mdp)
        kappa, each = excess_correlation(joint, n), deviations(pi, mu)
        for agents in every_subset(n):
            shift = tv(occupancy(mdp, mixed(pi, mu, agents)), occupancy(mdp, joint))
            assert shift <= odds(mdp) * (each[list(agents)].sum() + kappa) + EXACT
            kappa_needed += shift > odds(mdp) * each[list(agents)].sum() + 1e-9
    assert kappa_needed > 10  # Lemma 1's bound alone does not do


@AGENTS
def test_joint_logged_actions_need_twice_kappa(n: int) -> None:
    """What a target queries: the others' logged actions together, as eq. 3 and Algorithm 1 take them from the data."""
    for rng, mdp, _, _ in instances(n):
        joint = random_joint(rng, mdp, float(rng.choice([0.1, 1])))
        mu, pi = marginals(joint, n), random_policies(rng, mdp)
        kappa, each = excess_correlation(joint, n), deviations(pi, mu)
        for agents in every_subset(n):
            queried = replaced(pi, joint, agents)
            correlation = min(1, len(agents)) * 2 * kappa  # nobody replaced: nothing changes
            limit = each[list(agents)].sum() + correlation
            assert sup_tv(queried, joint) <= limit + EXACT
            assert tv(occupancy(mdp, queried), occupancy(mdp, joint)) <= odds(mdp) * limit + EXACT


def test_joint_logged_actions_can_exceed_kappa() -> None:
    """Three agents: kappa = 1/6, but agent 0 redrawn from its own marginal moves the joint policy by 2/9."""
    joint = np.zeros((3, 8))
    joint[:, [0b001, 0b010, 0b100, 0b101, 0b110, 0b111]] = 1 / 6
    pi = marginals(joint, 3)
    queried = replaced(pi, joint, (0,))
    assert excess_correlation(joint, 3) == pytest.approx(1 / 6)
    assert sup_tv(queried, joint) == pytest.approx(2 / 9)
    transition = np.zeros((3, 8, 3))  # state 0 leads to 1 by actions now more likely, to 2 by the others
    transition[0, :, 1] = queried[0] > joint[0] + EXACT
    transition[0, :, 2] = 1 - transition[0, :, 1]
    transition[1, :, 1] = transition[2, :, 2] = 1
    mdp = DecMDP(transition, np.zeros((3, 8)), np.eye(3)[0], 0.1, 3, 2)
    shift = tv(occupancy(mdp, queried), occupancy(mdp, joint))
    assert shift == pytest.approx(0.1 * 2 / 9)
    assert shift > odds(mdp) * excess_correlation(joint, 3)
