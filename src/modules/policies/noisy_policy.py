"""A deterministic policy with exploration noise whose size is learned."""

import math
from types import SimpleNamespace

import torch as th
from torch import Tensor, nn

from modules.policies.base_policy import sum_over_own
from modules.policies.deterministic_policy import DeterministicPolicy, all_dimensions
from modules.policies.gaussian_policy import HALF_LOG_2PI


class NoisyPolicy(DeterministicPolicy):
    """tanh of the outputs inside the bounds, plus Gaussian noise, clipped to the bounds.

    The noise's standard deviation is a parameter of each agent and action dimension, whatever the observation, in half
    action ranges. So the networks are those of agent_output_type=mean, and action_selector=gaussian plays them.

    log_std: (N, A). initial_std: what it starts from.
    """

    def __init__(self, args: SimpleNamespace, initial_std: float) -> None:
        super().__init__(args)
        shape = (int(args.n_agents), int(args.n_actions))
        self.log_std = nn.Parameter(th.full(shape, math.log(initial_std), device=args.device))  # (N, A)

    def spread(self) -> Tensor:
        return self.log_std.exp()  # (N, A)

    def log_prob(self, outputs: Tensor, actions: Tensor, available: Tensor) -> Tensor:
        """log pi(a | o) of clipped actions, (..., N): inside the bounds a density, at a bound the mass beyond it.

        The density is in units of half the action range. Counting the mass makes the gradient exact for the actions
        that were executed (Fujita & Maeda 2018, "Clipped action policy gradient").
        """
        mean, unit = self.squash(outputs), self.half_range()  # (..., N, A)
        std = self.spread()  # (N, A)
        inside = -0.5 * ((actions - mean) / (unit * std)).square() - self.log_std - HALF_LOG_2PI  # (..., N, A)
        below = th.special.log_ndtr((self.low - mean) / (unit * std))  # (..., N, A)
        above = th.special.log_ndtr((mean - self.high) / (unit * std))  # (..., N, A)
        density = th.where(actions <= self.low, below, th.where(actions >= self.high, above, inside))
        return sum_over_own(density, available)

    def entropy(self, outputs: Tensor, available: Tensor) -> Tensor:
        """Of the Gaussian before it is clipped, (..., N)."""
        return sum_over_own((self.log_std + HALF_LOG_2PI + 0.5).expand_as(outputs), available)

    def statistics(self, outputs: Tensor, available: Tensor) -> dict[str, Tensor]:
        """The share of mean actions at their bounds, and the noise's mean standard deviation, (R,) each."""
        spread = sum_over_own(self.spread().detach(), available).sum(-1) / all_dimensions(available)  # (R,)
        return {**super().statistics(outputs, available), "exploration_std": spread}
