"""Gaussian policies inside a box: what the 2A outputs of an agent mean, for selectors and learners alike."""

import math

import torch as th
from torch import Tensor

from modules.layers.squash import half_range, squash

LOWEST_LOG_STD, HIGHEST_LOG_STD = -5.0, 1.0  # of deviations in half action ranges: 0.7 % to 2.7 times
HIGHEST_TANH_LOG_STD = 2.0  # before tanh a wider Gaussian still differs: its mass moves to the bounds
# How near to its bounds, in half ranges, a logged action counts: atanh ends at 2.6. ComaDICE's code has 1e-6, so 7.3,
# and where behaviours clip to the bounds those actions then decide the mean alone (docs/learners/comadice.md).
EDGE = 0.01
NODES = 32  # of the quadrature of a policy's mean: quantiles of equal mass


def gaussian_policy(outputs: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Means in action units, inside the bounds, and log-deviations in units of half the action range.

    outputs: (..., 2A), A means before tanh and A log-deviations; low, high: (A,). Returns (..., A) twice.
    """
    raw, log_std = outputs.chunk(2, dim=-1)  # (..., A) each
    return squash(raw, low, high), _between(log_std, LOWEST_LOG_STD, HIGHEST_LOG_STD)


def tanh_gaussian_policy(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Means and log-deviations of the Gaussian that tanh squashes into the bounds. (..., 2A) -> (..., A) twice."""
    mean, log_std = outputs.chunk(2, dim=-1)  # (..., A) each
    return mean, _between(log_std, LOWEST_LOG_STD, HIGHEST_TANH_LOG_STD)


def tanh_gaussian_mean(outputs: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The policy's mean action, E[squash(x)] and not squash(E[x]). outputs (..., 2A), low and high (A,) -> (..., A)."""
    mean, log_std = tanh_gaussian_policy(outputs)
    shares = (th.arange(NODES, dtype=outputs.dtype, device=outputs.device) + 0.5) / NODES
    raw = mean.unsqueeze(-2) + log_std.exp().unsqueeze(-2) * th.special.ndtri(shares).unsqueeze(-1)  # (..., NODES, A)
    return squash(raw, low, high).mean(-2)


def tanh_gaussian_log_prob(outputs: Tensor, actions: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Log-density of every action dimension, in units of half the action range.

    outputs (..., 2A), actions (..., A) inside low and high (A,) -> (..., A). Those at the bounds, where the density of
    a squashed Gaussian has no logarithm, count as EDGE away from them.
    """
    mean, log_std = tanh_gaussian_policy(outputs)
    unit = ((actions - low) / half_range(low, high) - 1.0).clamp(EDGE - 1.0, 1.0 - EDGE)  # (..., A)
    error = (th.atanh(unit) - mean) * (-log_std).exp()
    return -0.5 * error.square() - log_std - 0.5 * math.log(2 * math.pi) - th.log1p(-unit.square())


def _between(raw: Tensor, low: float, high: float) -> Tensor:
    """Soft bounds: a hard clamp has no gradient outside them, and a deviation that has left them never comes back."""
    return low + 0.5 * (high - low) * (th.tanh(raw) + 1.0)
