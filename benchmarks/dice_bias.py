"""What a single sampled next state costs DICE: the table of docs/results/comadice.md.

    python benchmarks/dice_bias.py

A few seconds of one core, no data. Random fully observed Dec-MDPs with stochastic transitions (two agents of three
actions, 6 states, gamma = 0.9, discounted occupancies known exactly), soft chi-square, each alpha. Solved twice: the
dual, whose f* takes the expectation over next states, and what stands in for it where every transition is taken by
itself. From the weights of each, one policy an agent, the marginals of the weighted data, and what they earn exactly.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch as th
from torch import Tensor

from modules.divergences import REGISTRY
from tests.theory.dice import Problem, newton, random_problem, solve_dual
from tests.theory.tabular import Array, marginals, pair_occupancy, product, q_star

ROOT = Path(__file__).resolve().parents[1]
SEEDS, ALPHAS = range(5), (1.0, 0.1, 0.01)
HEADER = ("alpha", "dual", "sampled", "behaviour", "policies of the dual", "policies of the samples", "optimum")
DIVERGENCE = REGISTRY["soft_chi2"]


def sampled_weights(problem: Problem, alpha: float) -> tuple[float, Array]:
    """The least (1 - gamma) E nu(s_0) + E alpha f*((r + gamma nu(s') - nu(s)) / alpha), and E[w | s, a], (S, J)."""
    mdp = problem.mdp
    reward, chance, start = map(th.from_numpy, (mdp.reward, mdp.transition, mdp.start))
    weight = th.from_numpy(problem.occupancy).unsqueeze(-1) * chance  # (S, J, S)

    def advantage(nu: Tensor) -> Tensor:
        return reward.unsqueeze(-1) + mdp.gamma * nu - nu[:, None, None]  # (S, J, S)

    def objective(nu: Tensor) -> Tensor:
        penalty = alpha * (weight * DIVERGENCE.conjugate(advantage(nu) / alpha)).sum()
        return (1 - mdp.gamma) * start @ nu + penalty

    nu, value = newton(objective, q_star(mdp).max(-1))
    weights = DIVERGENCE.weight(advantage(th.from_numpy(nu)) / alpha)  # (S, J, S)
    return value, (chance * weights).sum(-1).numpy()


def earned(problem: Problem, weights: Array) -> float:
    """E_d[r] of the agents that imitate the data weighted by `weights` (S, J), each its own actions."""
    d = problem.occupancy * weights
    policies = product(marginals(d / d.sum(1, keepdims=True), problem.mdp.n_agents))
    return float(pair_occupancy(problem.mdp, policies) @ problem.mdp.reward.ravel())


def measure(alpha: float) -> list[float]:
    """Means over the problems of the columns of HEADER after the first."""
    rows = []
    for seed in SEEDS:
        problem = random_problem(seed)
        solution, (value, weights) = solve_dual(problem, DIVERGENCE, alpha), sampled_weights(problem, alpha)
        optimum = (1 - problem.mdp.gamma) * problem.mdp.start @ q_star(problem.mdp).max(-1)
        own = [earned(problem, each) for each in (np.ones_like(weights), solution.weights, weights)]
        rows.append([solution.value, value, *own, float(optimum)])
    means: list[float] = np.mean(rows, axis=0).tolist()
    return means


def table() -> list[str]:
    """The lines of a Markdown table."""
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    for alpha in ALPHAS:
        lines.append(f"| {alpha:g} | {' | '.join(f'{value:.3f}' for value in measure(alpha))} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
