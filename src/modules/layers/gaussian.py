"""Gaussian policies inside a box: what the 2A outputs of an agent mean, for selectors and learners alike."""

import torch as th
from torch import Tensor

from modules.layers.squash import squash

LOWEST_LOG_STD, HIGHEST_LOG_STD = -5.0, 1.0  # of deviations in half action ranges: 0.7 % to 2.7 times


def gaussian_policy(outputs: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Means in action units, inside the bounds, and log-deviations in units of half the action range.

    outputs: (..., 2A), A means before tanh and A log-deviations; low, high: (A,). Returns (..., A) twice.
    """
    raw, log_std = outputs.chunk(2, dim=-1)  # (..., A) each
    # Soft bounds: a hard clamp has no gradient outside them, and a deviation that has left them never comes back.
    reach = 0.5 * (HIGHEST_LOG_STD - LOWEST_LOG_STD)
    return squash(raw, low, high), LOWEST_LOG_STD + reach * (th.tanh(log_std) + 1.0)
