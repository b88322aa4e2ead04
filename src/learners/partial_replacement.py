"""Which agents' next actions a Bellman target replaces by their policies', and how the results are mixed.

A rule chooses M sets of agents per row and mixes the target critics' values of them, (E, R, M), into one value per row.
A new rule is a class with these three methods and an entry in `REGISTRY`.
"""

from typing import Protocol

import torch as th
from torch import Tensor

Noise = dict[str, Tensor]
Stats = dict[str, Tensor]

# 1/u_k stays finite where the critics agree exactly; values are of the order of the return.
SMALLEST_UNCERTAINTY = 1e-6


class ReplacementRule(Protocol):
    """How a target replaces next actions. needs_ensemble: whether it weighs by the critics' disagreement."""

    needs_ensemble: bool

    def noise(self, lead: tuple[int, int], n_agents: int, generator: th.Generator) -> Noise:
        """The randomness that `subsets` needs, (B, T', ...)."""

    def subsets(self, noise: Noise, n_agents: int, device: th.device) -> Tensor:
        """The sets of replaced agents, (R or 1, M, N) bool."""

    def mix(self, values: Tensor, opinions: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Stats]:
        """One value per row of the target critics' `values`, (E, R, M), to be bootstrapped.

        opinions: what the ensemble that judges uncertainty says of the same actions, (E, R, M). known: whether the row
        has a logged next action, (R,) bool; where it has none, every set holds all agents. Returns the value, (R,), the
        mixture of each target critic, (E, R), and statistics.
        """


class ReplaceSubsets:
    """SPaCQL: one random set of each size k = 1..N (Algorithm 1, line 7), weighted by agreement (eq. 6 and 7)."""

    needs_ensemble = True

    def noise(self, lead: tuple[int, int], n_agents: int, generator: th.Generator) -> Noise:
        uniform = th.rand(*lead, n_agents, n_agents, generator=generator, device=generator.device)
        return {"order": uniform.argsort(-1)}  # (B, T', k, N), a random order of the agents for each k

    def subsets(self, noise: Noise, n_agents: int, device: th.device) -> Tensor:
        sizes = th.arange(1, n_agents + 1, device=device).unsqueeze(-1)  # (N, 1)
        return noise["order"].flatten(0, 1) < sizes  # (R, N, N)

    def mix(self, values: Tensor, opinions: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Stats]:
        uncertainty = standard_deviation(opinions)  # (R, N), u_k of eq. 7
        weights = self.weights(uncertainty, known)  # (R, N), w_k
        value = (weights * values.amin(0)).sum(-1)  # (R,), eq. 6: the minimum over critics before the weights
        sizes = th.arange(1, weights.shape[-1] + 1, device=weights.device, dtype=weights.dtype)
        stats = {"w": weights, "w_max": weights.amax(-1), "u": uncertainty, "k_eff": (weights * sizes).sum(-1)}
        return value, (weights * values).sum(-1), stats

    def weights(self, uncertainty: Tensor, known: Tensor) -> Tensor:
        """w_k = (1/u_k) / sum_k (1/u_k), (R, N); all on k = N where there is no logged next action."""
        inverse = 1.0 / uncertainty.clamp_min(SMALLEST_UNCERTAINTY)  # (R, N)
        weights = inverse / inverse.sum(-1, keepdim=True)
        last = weights.shape[-1] - 1
        joint = (th.arange(last + 1, device=weights.device) == last).to(weights.dtype)  # (N,)
        return th.where(known.unsqueeze(-1), weights, joint)


class ReplaceAll:
    """CFCQL: all agents follow their policies."""

    needs_ensemble = False

    def noise(self, lead: tuple[int, int], n_agents: int, generator: th.Generator) -> Noise:
        return {}

    def subsets(self, noise: Noise, n_agents: int, device: th.device) -> Tensor:
        return th.ones(1, 1, n_agents, dtype=th.bool, device=device)

    def mix(self, values: Tensor, opinions: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Stats]:
        mixed = values.mean(-1)  # (E, R), the mean over the sets inside the minimum over critics
        return mixed.amin(0), mixed, {}


class ReplaceOne(ReplaceAll):
    """ICQL-QS: each agent alone follows its policy, as in CFCQL's published code."""

    def subsets(self, noise: Noise, n_agents: int, device: th.device) -> Tensor:
        return th.eye(n_agents, dtype=th.bool, device=device).unsqueeze(0)  # (1, N, N)


REGISTRY: dict[str, ReplacementRule] = {
    "adaptive": ReplaceSubsets(),
    "full": ReplaceAll(),
    "average_single": ReplaceOne(),
}


def standard_deviation(opinions: Tensor) -> Tensor:
    """Standard deviation over the ensemble (n - 1 in the divisor), (E, ...) -> (...).

    In two passes by hand: `Tensor.std` over a leading dimension is twenty times slower on a CPU.
    """
    return ((opinions - opinions.mean(0)).square().sum(0) / (len(opinions) - 1)).sqrt()
