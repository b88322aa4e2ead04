"""The f-divergences of DICE, D_f(rho || rho^mu) = E_{rho^mu}[f(w)] with w = rho / rho^mu >= 0, and their conjugates.

Source: ComaDICE's poster, boxes "Core Idea" (D^f) and "Mathematical Formulation & Derivations" (f*, w*). Every f is
convex with f(1) = f'(1) = 0 and f''(1) = 1. Equal distributions therefore cost 0, an advantage of 0 has weight 1, and
close to the data one alpha has the same effect with each of the three divergences.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch as th
from torch import Tensor

# Largest exponent of KL. As E[w] is at most 1, an exact ratio reaches e^20 = 4.9e8 only on pairs of probability below
# 2.1e-9. The cap therefore acts only while nu is far from its solution. There it keeps values finite in float32, and
# also the squared gradients in clipping and Adam.
KL_CAP = 20.0


class Divergence(ABC):
    """A function f with its conjugate and weights; every method is elementwise and differentiable.

    With x = A / alpha, f*(x) = max_{w >= 0} (w x - f(w)) is attained at w*(x) = max(0, (f')^-1(x)), and f*' = w* >= 0.
    So f* is convex, and non-decreasing because w >= 0; ComaDICE's Theorem 4.2 needs both. Values and gradients of
    `conjugate` and `weight` are finite in float32 for x in [-1e4, 1e4].
    """

    @abstractmethod
    def f(self, w: Tensor) -> Tensor:
        """The function f(w) for w >= 0."""

    @abstractmethod
    def inverse_slope(self, x: Tensor) -> Tensor:
        """The inverse slope (f')^-1(x), which may be negative."""

    @abstractmethod
    def conjugate(self, x: Tensor) -> Tensor:
        """The conjugate f*(x) = max_{w >= 0} (w x - f(w))."""

    def weight(self, x: Tensor) -> Tensor:
        """The weight w*(x) = max(0, (f')^-1(x)), at which the conjugate is attained."""
        return self.inverse_slope(x).clamp(min=0)


class KL(Divergence):
    """KL: f(w) = w log w - w + 1, f'(w) = log w, (f')^-1(x) = w*(x) = e^x, f*(x) = e^x - 1.

    The released code uses w log w, which differs by w - 1. Where nothing terminates, the flow constraints make this 0
    in expectation, so optimum and weights are the same and nu is higher by a constant. After a terminal nu(s') = 0 is
    fixed, and the two have different weights. Above c = KL_CAP, w* = e^c and f*(x) = e^c (x - c + 1) - 1, the conjugate
    over 0 <= w <= e^c.
    """

    def f(self, w: Tensor) -> Tensor:
        return w * _log(w) - w + 1

    def inverse_slope(self, x: Tensor) -> Tensor:
        return x.clamp(max=KL_CAP).exp()

    def conjugate(self, x: Tensor) -> Tensor:
        # exp and not expm1: the gradient of expm1 is its result + 1, which rounds small weights away. `where` and not a
        # sum of two clamped parts, of which both would have a gradient at the cap.
        beyond = math.exp(KL_CAP) * (x - KL_CAP + 1) - 1
        return th.where(x > KL_CAP, beyond, x.clamp(max=KL_CAP).exp() - 1)


class ChiSquare(Divergence):
    """Chi-square: f(w) = (w - 1)^2 / 2, f'(w) = w - 1, (f')^-1(x) = x + 1, w*(x) = max(0, x + 1).

    f*(x) = x^2 / 2 + x where x > -1, else -1/2.
    """

    def f(self, w: Tensor) -> Tensor:
        return (w - 1).square() / 2

    def inverse_slope(self, x: Tensor) -> Tensor:
        return x + 1

    def conjugate(self, x: Tensor) -> Tensor:
        inside = x.clamp(min=-1)
        return inside.square() / 2 + inside


class SoftChiSquare(Divergence):
    """Soft chi-square, ComaDICE's default: KL below w = 1, chi-square above. Weights are positive.

    f(w) = w log w - w + 1 and f'(w) = log w where w < 1, else (w - 1)^2 / 2 and w - 1;
    (f')^-1(x) = w*(x) = e^x and f*(x) = e^x - 1 where x < 0, else x + 1 and x^2 / 2 + x.
    """

    def f(self, w: Tensor) -> Tensor:
        return th.where(w < 1, w * _log(w) - w + 1, (w - 1).square() / 2)

    def inverse_slope(self, x: Tensor) -> Tensor:
        return th.where(x < 0, x.clamp(max=0).exp(), x + 1)

    def conjugate(self, x: Tensor) -> Tensor:
        # Clamped although `where` drops it: an infinite exp would have the gradient 0 * inf.
        return th.where(x < 0, x.clamp(max=0).exp() - 1, x.square() / 2 + x)


def _log(w: Tensor) -> Tensor:
    """log w; finite at w = 0, so that w log w is 0 there."""
    return w.clamp(min=th.finfo(w.dtype).tiny).log()


REGISTRY: dict[str, Divergence] = {"kl": KL(), "chi2": ChiSquare(), "soft_chi2": SoftChiSquare()}
