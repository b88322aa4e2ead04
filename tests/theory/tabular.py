"""Exact tools for small fully observed Dec-MDPs: occupancies, values and partial-replacement backups, numpy only.

States are numbered 0..S-1, joint actions 0..J-1 with J = A^n (agent 0 slowest). One policy an agent is (n, S, A), a
joint policy (S, J), a value function (S, J), an ensemble of them (E, S, J). Occupancies are discounted and sum to one:
d = (1 - gamma) d0 + gamma d P. Equations are those of the SPaCQL paper (Jin & Montana).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Agents = tuple[int, ...]
FLOOR = 1e-6  # the smallest uncertainty, as in learners.spacql_learner


@dataclass(frozen=True)
class DecMDP:
    """transition (S, J, S), reward (S, J) in [-1, 1], start (S,)."""

    transition: Array
    reward: Array
    start: Array
    gamma: float
    n_agents: int
    n_actions: int


def random_mdp(
    rng: np.random.Generator, n: int, n_states: int = 4, n_actions: int = 2, gamma: float = 0.95, sparsity: float = 0.3
) -> DecMDP:
    """Dirichlet transitions (the smaller `sparsity`, the closer to deterministic), uniform rewards."""
    joint = n_actions**n
    transition = rng.dirichlet(np.full(n_states, sparsity), size=(n_states, joint))
    reward = rng.uniform(-1, 1, (n_states, joint))
    return DecMDP(transition, reward, rng.dirichlet(np.ones(n_states)), gamma, n, n_actions)


def random_policies(rng: np.random.Generator, mdp: DecMDP) -> Array:
    """One policy an agent, (n, S, A)."""
    return rng.dirichlet(np.ones(mdp.n_actions), size=(mdp.n_agents, len(mdp.start)))


def random_joint(rng: np.random.Generator, mdp: DecMDP, concentration: float = 0.3) -> Array:
    """A correlated joint policy, (S, J)."""
    return rng.dirichlet(np.full(mdp.n_actions**mdp.n_agents, concentration), size=len(mdp.start))


def product(policies: Array) -> Array:
    """Agents that act independently, (n, S, A) -> (S, J)."""
    joint = policies[0]
    for policy in policies[1:]:
        joint = (joint[:, :, None] * policy[:, None, :]).reshape(len(joint), -1)
    return joint


def marginals(joint: Array, n: int) -> Array:
    """What single agents do, (S, J) -> (n, S, A)."""
    n_actions = round(joint.shape[1] ** (1 / n))
    split = joint.reshape(len(joint), *[n_actions] * n)
    return np.stack([split.sum(tuple(j + 1 for j in range(n) if j != i)) for i in range(n)])


def subsets(n: int, k: int) -> list[Agents]:
    return list(itertools.combinations(range(n), k))


def mixed(pi: Array, mu: Array, agents: Agents) -> Array:
    """pi^(S) of eq. 10 for independent behaviour: `agents` follow pi, the others mu; (n, S, A) twice -> (S, J)."""
    return product(np.stack([pi[i] if i in agents else mu[i] for i in range(len(pi))]))


def replaced(pi: Array, logged: Array, agents: Agents) -> Array:
    """What a target queries, (S, J): `agents` draw from pi (n, S, A), the others keep what was `logged` (S, J)."""
    n, n_states, n_actions = pi.shape
    split = logged.reshape(n_states, *[n_actions] * n)
    kept = split.sum(tuple(i + 1 for i in agents), keepdims=True) if agents else split
    for i in agents:
        shape = [n_states] + [n_actions if j == i else 1 for j in range(n)]
        kept = kept * pi[i].reshape(shape)
    return kept.reshape(n_states, -1)


def replaced_k(pi: Array, logged: Array, k: int) -> Array:
    """k agents drawn uniformly follow pi, in expectation over who (eq. 3), (S, J)."""
    return np.mean([replaced(pi, logged, agents) for agents in subsets(len(pi), k)], axis=0)


def mixture(pi: Array, logged: Array, weights: Array) -> Array:
    """sum_k w_k of `replaced_k`; weights (n,) or one row a state (S, n) -> (S, J)."""
    each = np.stack([replaced_k(pi, logged, k) for k in range(1, len(pi) + 1)], axis=1)  # (S, n, J)
    return np.einsum("sk,skj->sj", np.broadcast_to(weights, each.shape[:2]), each)


# -- distances -------------------------------------------------------------------------------------------------------


def tv(p: Array, q: Array) -> Array:
    """Total variation, half the L1 distance, over the last axis."""
    return 0.5 * np.abs(p - q).sum(-1)


def sup_tv(p: Array, q: Array) -> float:
    """The largest total variation over states, the paper's TV of two policies."""
    return float(tv(p, q).max())


def deviations(pi: Array, mu: Array) -> Array:
    """TV(pi_i, mu_i) of every agent, (n,)."""
    return tv(pi, mu).max(-1)


def excess_correlation(joint: Array, n: int) -> float:
    """kappa of Definition 1."""
    return sup_tv(joint, product(marginals(joint, n)))


# -- exact solutions -------------------------------------------------------------------------------------------------


def kernel(mdp: DecMDP, policy: Array) -> Array:
    """P^pi, (S, S)."""
    return np.einsum("sj,sjt->st", policy, mdp.transition)


def occupancy(mdp: DecMDP, policy: Array) -> Array:
    """Discounted state occupancy, (S,): d (I - gamma P) = (1 - gamma) d0."""
    matrix = np.eye(len(mdp.start)) - mdp.gamma * kernel(mdp, policy)
    return np.asarray(np.linalg.solve(matrix.T, (1 - mdp.gamma) * mdp.start), np.float64)


def pair_occupancy(mdp: DecMDP, policy: Array) -> Array:
    """Discounted occupancy of states and joint actions, flat (S * J,)."""
    return (occupancy(mdp, policy)[:, None] * policy).ravel()


def q_of(mdp: DecMDP, policy: Array) -> Array:
    """Q^pi, the fixed point of the backup under `policy`, (S, J)."""
    reward = (policy * mdp.reward).sum(-1)
    value = np.linalg.solve(np.eye(len(mdp.start)) - mdp.gamma * kernel(mdp, policy), reward)
    return mdp.reward + mdp.gamma * mdp.transition @ value


def q_star(mdp: DecMDP) -> Array:
    """The optimal Q, (S, J), by policy iteration."""
    joint = np.eye(mdp.reward.shape[1])
    q = mdp.reward
    for _ in range(1000):
        improved = q_of(mdp, joint[q.argmax(-1)])
        if np.abs(improved - q).max() < 1e-12:
            return improved
        q = improved
    raise ArithmeticError("policy iteration did not converge")


# -- backups ---------------------------------------------------------------------------------------------------------


def backup(mdp: DecMDP, policy: Array, q: Array) -> Array:
    """r + gamma E Q(s', a'), a' from `policy`; q (..., S, J) -> (..., S, J)."""
    return mdp.reward + mdp.gamma * np.einsum("sjt,...t->...sj", mdp.transition, (policy * q).sum(-1))


def partial_backup(mdp: DecMDP, pi: Array, logged: Array, k: int, q: Array) -> Array:
    """T^(k) of eq. 3."""
    return backup(mdp, replaced_k(pi, logged, k), q)


def soft_backup(mdp: DecMDP, pi: Array, logged: Array, weights: Array, q: Array) -> Array:
    """T^SP of eq. 4 for weights that do not depend on q, (n,) or (S, n)."""
    return backup(mdp, mixture(pi, logged, weights), q)


def uncertainty_weights(opinions: Array) -> Array:
    """w_k of eq. 7 and below from Q_j(s', a'^(k)), (E, ..., n) -> (..., n)."""
    inverse = 1 / np.maximum(opinions.std(0, ddof=1), FLOOR)
    return inverse / inverse.sum(-1, keepdims=True)


def adaptive_backup(mdp: DecMDP, pi: Array, logged: Array, ensemble: Array) -> Array:
    """The target of eq. 6 in expectation, its weights taken from the ensemble itself, (E, S, J) -> (S, J).

    Enumerates the logged joint action, the policies' joint action and one set of agents a size k, shared by weights and
    values as in Algorithm 1.
    """
    n, n_actions = mdp.n_agents, mdp.n_actions
    digits = np.array(list(itertools.product(range(n_actions), repeat=n)))  # (J, n)
    radix = n_actions ** np.arange(n - 1, -1, -1)
    chance = np.einsum("sl,sp->slp", logged, product(pi))  # (S, J, J)
    choices = list(itertools.product(*(subsets(n, k) for k in range(1, n + 1))))
    value = np.zeros(len(mdp.start))
    for choice in choices:
        masks = np.array([[i in agents for i in range(n)] for agents in choice])  # (n, n)
        actions = np.where(masks, digits[None, :, None], digits[:, None, None]) @ radix  # (J, J, n)
        opinions = ensemble[:, :, actions]  # (E, S, J, J, n)
        targets = (uncertainty_weights(opinions) * opinions.min(0)).sum(-1)  # (S, J, J)
        value += (chance * targets).sum((1, 2)) / len(choices)
    return mdp.reward + mdp.gamma * mdp.transition @ value


@dataclass(frozen=True)
class Estimate:
    """|V^pi - Vhat^pi| of Theorem 1 and the two errors its bound is made of."""

    error: float
    suboptimality: float
    regression: float


def estimate(mdp: DecMDP, policy: Array, q_hat: Array) -> Estimate:
    """Vhat^pi = E q_hat over the (normalised) occupancy of `policy`, against the same of Q^pi; policy (S, J)."""
    q, best = q_of(mdp, policy), q_star(mdp)
    error = abs(pair_occupancy(mdp, policy) @ (q - q_hat).ravel())
    return Estimate(float(error), float(np.abs(q - best).max()), float(np.abs(best - q_hat).max()))


# -- instances -------------------------------------------------------------------------------------------------------


def leaving_chain(n: int, rate: float, gamma: float) -> tuple[DecMDP, Array, Array]:
    """State 0 is left for good as soon as one agent takes action 1: mu never does, pi does with probability `rate`.

    The instance on which the occupancy bounds are tight as rate -> 0. Returns the process, pi and mu.
    """
    transition = np.zeros((2, 2**n, 2))
    transition[0, 0, 0] = transition[0, 1:, 1] = transition[1, :, 1] = 1
    reward = -np.ones((2, 2**n))
    reward[0, 0] = 1
    mdp = DecMDP(transition, reward, np.array([1.0, 0.0]), gamma, n, 2)
    mu = np.broadcast_to(np.array([1.0, 0.0]), (n, 2, 2)).copy()
    return mdp, np.broadcast_to(np.array([1 - rate, rate]), (n, 2, 2)).copy(), mu


def disagreeing_critics(gap: float, spread: tuple[float, float]) -> tuple[DecMDP, Array, Array, Array]:
    """One state, two agents that were logged doing 0 and now do 1, gamma = 0.9; two critics, (E=2, S=1, J=4).

    Q_j is -+spread[0] where one agent deviates and gap -+ spread[1] where both do: what the weights see, and what they
    choose between. Returns the process, pi, the logged policy and the critics.
    """
    mdp = DecMDP(np.ones((1, 4, 1)), np.zeros((1, 4)), np.ones(1), 0.9, 2, 2)
    pi = np.broadcast_to(np.array([0.0, 1.0]), (2, 1, 2))
    one, both = np.array([-1.0, 1.0]) * spread[0], np.array([-1.0, 1.0]) * spread[1] + gap
    return mdp, pi, np.eye(4)[:1], np.stack([np.zeros(2), one, one, both], axis=-1)[:, None]


def modulus(operator: Callable[[Array], Array], q: Array, other: Array) -> float:
    """How far apart the images are, in units of the distance, sup norm."""
    return float(np.abs(operator(q) - operator(other)).max() / np.abs(q - other).max())


def random_instances(n: int, draws: int, first_seed: int) -> Iterator[tuple[np.random.Generator, DecMDP, Array, Array]]:
    """Processes from nearly deterministic to dense, behaviour and policies from far apart to nearly equal."""
    for seed in range(first_seed, first_seed + draws):
        rng = np.random.default_rng(seed)
        mdp = random_mdp(rng, n, gamma=float(rng.choice([0.1, 0.5, 0.9, 0.99])), sparsity=float(rng.choice([0.02, 1])))
        mu = random_policies(rng, mdp)
        share = float(rng.choice([0.01, 0.1, 1]))
        yield rng, mdp, (1 - share) * mu + share * random_policies(rng, mdp), mu
