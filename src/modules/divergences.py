"""The f-divergences of DICE, D_f(rho || rho^mu) = E_{rho^mu}[f(w)] with w = rho / rho^mu >= 0, and their conjugates.

ComaDICE's poster, boxes "Core Idea" (D^f) and "Mathematical Formulation & Derivations" (f*, w*). Every f is convex with
f(1) = f'(1) = 0 and f''(1) = 1, so that no divergence means no cost, weights are 1 where the advantage is 0, and alpha
weighs all three alike close to the data.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch as th
from torch import Tensor

# Where KL's exponent ends. A weight e^20 = 4.9e8 cannot be an exact ratio unless the data hold a pair with probability
# below 2.1e-9 (E[w] = 1), so the cap binds only while nu is far from its solution; there it keeps float32 finite, and
# the squares that clipping and Adam take of the gradient too.
KL_CAP = 20.0


class Divergence(ABC):
    """f and what DICE needs of it; every method maps a tensor to one of its shape, elementwise and differentiably.

    With x = A / alpha, f*(x) = max_{w >= 0} (w x - f(w)) is attained at w*(x) = max(0, (f')^-1(x)), so f*' = w* >= 0:
    f* is convex and, because negative w are left out, non-decreasing (ComaDICE's Theorem 4.2 needs both). Values and
    gradients of `conjugate` and `weight` are finite in float32 for x in [-1e4, 1e4].
    """

    @abstractmethod
    def f(self, w: Tensor) -> Tensor:
        """f(w), w >= 0."""

    @abstractmethod
    def inverse_slope(self, x: Tensor) -> Tensor:
        """(f')^-1(x), before negative w are left out."""

    @abstractmethod
    def conjugate(self, x: Tensor) -> Tensor:
        """f*(x), the maximum over w >= 0."""

    def weight(self, x: Tensor) -> Tensor:
        """w*(x) = max(0, (f')^-1(x)), where that maximum is attained."""
        return self.inverse_slope(x).clamp(min=0)


class KL(Divergence):
    """f(w) = w log w - w + 1, f'(w) = log w, (f')^-1(x) = w*(x) = e^x, f*(x) = e^x - 1.

    The released code's w log w differs by w - 1, which the flow constraints make 0 in expectation: the same optimum and
    weights, its nu higher by a constant. x is capped at c = KL_CAP: beyond, w* = e^c and f*(x) = e^c (x - c + 1) - 1,
    the conjugate over 0 <= w <= e^c.
    """

    def f(self, w: Tensor) -> Tensor:
        return w * _log(w) - w + 1

    def inverse_slope(self, x: Tensor) -> Tensor:
        return x.clamp(max=KL_CAP).exp()

    def conjugate(self, x: Tensor) -> Tensor:
        # exp and not expm1, whose gradient, its result + 1, loses the small weights. `where` and not a sum of two
        # clamped parts, which would both pass the gradient on at the cap.
        beyond = math.exp(KL_CAP) * (x - KL_CAP + 1) - 1
        return th.where(x > KL_CAP, beyond, x.clamp(max=KL_CAP).exp() - 1)


class ChiSquare(Divergence):
    """f(w) = (w - 1)^2 / 2, f'(w) = w - 1, (f')^-1(x) = x + 1, w*(x) = max(0, x + 1).

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
    """KL below w = 1 and chi-square above, ComaDICE's default: weights never 0, and they grow no faster than x.

    f(w) = w log w - w + 1 and f'(w) = log w where w < 1, else (w - 1)^2 / 2 and w - 1;
    (f')^-1(x) = w*(x) = e^x and f*(x) = e^x - 1 where x < 0, else x + 1 and x^2 / 2 + x.
    """

    def f(self, w: Tensor) -> Tensor:
        return th.where(w < 1, w * _log(w) - w + 1, (w - 1).square() / 2)

    def inverse_slope(self, x: Tensor) -> Tensor:
        return th.where(x < 0, x.clamp(max=0).exp(), x + 1)

    def conjugate(self, x: Tensor) -> Tensor:
        # Clamped although `where` drops it: an infinite exp would make the gradient 0 * inf.
        return th.where(x < 0, x.clamp(max=0).exp() - 1, x.square() / 2 + x)


def _log(w: Tensor) -> Tensor:
    """log w, and at 0 a number whose product with 0 is 0."""
    return w.clamp(min=th.finfo(w.dtype).tiny).log()


REGISTRY: dict[str, Divergence] = {"kl": KL(), "chi2": ChiSquare(), "soft_chi2": SoftChiSquare()}
