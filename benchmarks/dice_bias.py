"""Bias of DICE with one sampled next state per transition: the table of docs/results/comadice.md.

    python benchmarks/dice_bias.py

Needs a few seconds on one core and no data. The problems are random fully observed Dec-MDPs with stochastic
transitions: two agents with three actions each, 6 states, gamma = 0.9, exact discounted occupancies, and soft
chi-square with each alpha. Each is solved twice. The dual takes the expectation over next states inside f*. The sampled
objective takes f* of every transition by itself. Each solution's weights give one policy per agent (the marginals of
the weighted data) and its exact return.
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
    """Minimum of (1 - gamma) E nu(s_0) + E alpha f*((r + gamma nu(s') - nu(s)) / alpha), and E[w | s, a], (S, J)."""
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
    """E_d[r] of agents that each imitate their own actions in the data weighted by `weights` (S, J)."""
    d = problem.occupancy * weights
    policies = product(marginals(d / d.sum(1, keepdims=True), problem.mdp.n_agents))
    return float(pair_occupancy(problem.mdp, policies) @ problem.mdp.reward.ravel())


def measure(alpha: float) -> list[float]:
    """Means over the problems, one per column of HEADER after the first."""
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
    """Lines of a Markdown table."""
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    for alpha in ALPHAS:
        lines.append(f"| {alpha:g} | {' | '.join(f'{value:.3f}' for value in measure(alpha))} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
