import math

import torch as th
from torch import Tensor

from modules.layers.squash import squash
from modules.policies.base_policy import BoxPolicy, sum_over_own

LOWEST_LOG_STD, HIGHEST_LOG_STD = -5.0, 1.0  # standard deviations of 0.7 % to 2.7 times half the action range
HIGHEST_TANH_LOG_STD = 2.0  # before tanh a wider Gaussian still differs: its mass moves to the bounds
# How near to its bounds, in half ranges, a logged action counts: atanh ends at 2.6. ComaDICE's code has 1e-6, so 7.3,
# and where behaviours clip to the bounds those actions then decide the mean alone (docs/learners/comadice.md).
EDGE = 0.01
NODES = 32  # of the quadrature over a squashed Gaussian: quantiles of equal mass
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class GaussianPolicy(BoxPolicy):
    """A Gaussian inside the bounds, whose samples are clipped to them.

    outputs: (..., 2A), A means before tanh and A logarithms of standard deviations, in half action ranges.
    """

    outputs_per_action = 2

    def mean_and_log_std(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Means in action units, inside the bounds, and bounded logarithms of standard deviations, (..., A) each."""
        raw, log_std = outputs.chunk(2, dim=-1)  # (..., A) each
        return self.squash(raw), between(log_std, LOWEST_LOG_STD, HIGHEST_LOG_STD)

    def mode(self, outputs: Tensor, available: Tensor) -> Tensor:
        return self.mean_and_log_std(outputs)[0] * available

    def sample(self, outputs: Tensor, available: Tensor, noise: Tensor) -> Tensor:
        mean, log_std = self.mean_and_log_std(outputs)
        return self.clip(mean + noise * log_std.exp() * (0.5 * (self.high - self.low)), available)

    def log_prob(self, outputs: Tensor, actions: Tensor, available: Tensor) -> Tensor:
        mean, log_std = self.mean_and_log_std(outputs)
        error = (mean - actions) / self.half_range()
        density = -0.5 * (error * (-log_std).exp()).square() - log_std - HALF_LOG_2PI  # (..., A)
        return sum_over_own(density, available)

    def entropy(self, outputs: Tensor, available: Tensor) -> Tensor:
        """Of the Gaussian before it is clipped."""
        return sum_over_own(self.mean_and_log_std(outputs)[1] + HALF_LOG_2PI + 0.5, available)


class TanhGaussianPolicy(BoxPolicy):
    """A Gaussian that tanh squashes into the bounds; outputs as those of `GaussianPolicy`, both before tanh."""

    outputs_per_action = 2

    def mean_and_log_std(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of standard deviations before tanh, (..., A) each."""
        mean, log_std = outputs.chunk(2, dim=-1)  # (..., A) each
        return mean, between(log_std, LOWEST_LOG_STD, HIGHEST_TANH_LOG_STD)

    def quantiles(self, outputs: Tensor) -> Tensor:
        """Points of equal mass of the Gaussian before tanh, (..., NODES, A)."""
        mean, log_std = self.mean_and_log_std(outputs)
        return mean.unsqueeze(-2) + log_std.exp().unsqueeze(-2) * self.nodes(outputs).unsqueeze(-1)

    def nodes(self, like: Tensor) -> Tensor:
        """Points of equal mass of the standard Gaussian, (NODES,), of another tensor's type and device."""
        shares = (th.arange(NODES, dtype=like.dtype, device=like.device) + 0.5) / NODES
        standard: Tensor = th.special.ndtri(shares)
        return standard

    def mode(self, outputs: Tensor, available: Tensor) -> Tensor:
        """The policy's mean action: E[squash(x)], not squash(E[x])."""
        points = self.quantiles(outputs)  # (..., NODES, A)
        self.check_agents(points[..., 0, :])
        return squash(points, self.low.unsqueeze(-2), self.high.unsqueeze(-2)).mean(-2) * available

    def sample(self, outputs: Tensor, available: Tensor, noise: Tensor) -> Tensor:
        mean, log_std = self.mean_and_log_std(outputs)
        return self.squash(mean + noise * log_std.exp()) * available

    def log_prob(self, outputs: Tensor, actions: Tensor, available: Tensor) -> Tensor:
        """Actions at the bounds, where the density has no logarithm, count as EDGE away from them."""
        self.check_agents(actions)
        mean, log_std = self.mean_and_log_std(outputs)
        unit = ((actions - self.low) / self.half_range() - 1.0).clamp(EDGE - 1.0, 1.0 - EDGE)  # (..., A)
        error = (th.atanh(unit) - mean) * (-log_std).exp()
        density = -0.5 * error.square() - log_std - HALF_LOG_2PI - th.log1p(-unit.square())  # (..., A)
        return sum_over_own(density, available)

    def entropy(self, outputs: Tensor, available: Tensor) -> Tensor:
        """The Gaussian's plus E[log(1 - tanh(x)^2)], by quadrature.

        Points of equal mass leave out the far tails, so a wide policy's entropy is too large: with mean 0 by 0.05 nats
        at a standard deviation of 3.2 before tanh, by 0.11 at 7.3; by 0.002 at 0.2.
        """
        points = self.quantiles(outputs)  # (..., NODES, A)
        slope = 2 * (math.log(2) - points - th.nn.functional.softplus(-2 * points))  # log(1 - tanh^2) without overflow
        return sum_over_own(self.mean_and_log_std(outputs)[1] + HALF_LOG_2PI + 0.5 + slope.mean(-2), available)


def between(raw: Tensor, low: float, high: float) -> Tensor:
    """Soft bounds: outside a hard clamp there is no gradient, and a value that has left it never comes back."""
    return low + 0.5 * (high - low) * (th.tanh(raw) + 1.0)
