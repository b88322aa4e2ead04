"""Unbounded network outputs to actions within their bounds."""

from types import SimpleNamespace

import torch as th
from torch import Tensor

SMALLEST_HALF_RANGE = 1e-6


def squash(raw: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Map unbounded outputs to [low, high] by a scaled tanh.

    raw: (..., A) unbounded; low, high: finite bounds in action units that broadcast to it. Returns (..., A).
    """
    return low + (th.tanh(raw) + 1.0) * 0.5 * (high - low)


def half_range(low: Tensor, high: Tensor) -> Tensor:
    """Half the action range, of the bounds' shape; at least `SMALLEST_HALF_RANGE`, as bounds may coincide."""
    return (0.5 * (high - low)).clamp_min(SMALLEST_HALF_RANGE)


def action_bounds(args: SimpleNamespace) -> tuple[Tensor, Tensor]:
    """Lower and upper action bounds on `args.device`; args: action_low, action_high.

    (A,) each where all agents have the same bounds, else (N, A): then only tensors (..., N, A) fit to them.
    """
    return (
        th.tensor(args.action_low, dtype=th.float32, device=args.device),  # (A,) or (N, A)
        th.tensor(args.action_high, dtype=th.float32, device=args.device),  # (A,) or (N, A)
    )
