"""Divergences and their conjugates belong together, are convex and stay finite; checks that can fail.

Every check returns its worst violation, so that a control asserts how badly a wrong divergence fails it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch as th
from torch import Tensor
from torch.func import vmap

from modules.divergences import KL_CAP, REGISTRY, ChiSquare, Divergence, SoftChiSquare
from tests.theory.dice import slope

F64 = th.float64
TOLERANCE = 1e-12  # of identities in float64, relative to the terms that cancel
FAILURE = 1e-3  # the least that a wrong divergence must miss by
KINKS = (-1.0, 0.0, KL_CAP)  # where a formula hands over to another

every = pytest.mark.parametrize("divergence", REGISTRY.values(), ids=REGISTRY)


class Untruncated(ChiSquare):
    """Control: the conjugate over all w, not w >= 0."""

    def conjugate(self, x: Tensor) -> Tensor:
        return x.square() / 2 + x

    def weight(self, x: Tensor) -> Tensor:
        return self.inverse_slope(x)


class Uncapped(SoftChiSquare):
    """Control: the printed formula, its exponential taken on both sides of 0."""

    def conjugate(self, x: Tensor) -> Tensor:
        return th.where(x < 0, x.exp() - 1, x.square() / 2 + x)


class Clamped(SoftChiSquare):
    """Control: two clamped parts, which at 0 both pass the gradient on."""

    def conjugate(self, x: Tensor) -> Tensor:
        above = x.clamp(min=0)
        return x.clamp(max=0).exp() - 1 + above.square() / 2 + above


def advantages(dtype: th.dtype = F64) -> Tensor:
    """Sorted: the extremes, a fine grid around 0, and the kinks with their nearest neighbours."""
    kinks = th.tensor(KINKS, dtype=dtype)
    beside = [kinks, kinks.nextafter(kinks - 1), kinks.nextafter(kinks + 1), kinks - 1e-4, kinks + 1e-4]
    wide = th.logspace(-3, 4, 200, dtype=dtype)
    return th.cat([*beside, wide, -wide, th.linspace(-30, 30, 2001, dtype=dtype)]).sort().values


def ratios() -> Tensor:
    """0, 1 and its neighbours, and random others up to 1e4."""
    generator = th.Generator().manual_seed(0)
    some = th.exp(4 * th.randn(400, dtype=F64, generator=generator)).clamp(max=1e4)
    return th.cat([th.tensor([0, 1e-300, 1 - 1e-9, 1, 1 + 1e-9, 1e4], dtype=F64), some])


def derivative(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    at = at.clone().requires_grad_()
    (grad,) = th.autograd.grad(function(at).sum(), at)
    return grad


def relative(difference: Tensor, *terms: Tensor) -> float:
    """The largest of `difference` in units of 1 plus the terms it came from; NaN counts as infinite."""
    scale = 1 + sum(term.abs() for term in terms)
    return float((difference / scale).nan_to_num(nan=math.inf).max())


# -- checks ----------------------------------------------------------------------------------------------------------


def slope_error(divergence: Divergence, dtype: th.dtype = F64) -> float:
    """f*' = w*, relative to w* itself: small weights count."""
    x = advantages(dtype)
    weight = divergence.weight(x)
    return float(((derivative(divergence.conjugate, x) - weight).abs() / weight.clamp(min=1e-30)).max())


def fenchel_young_error(divergence: Divergence) -> float:
    """w x <= f(w) + f*(x), every w against every x."""
    x, w = advantages(), ratios()[:, None]
    f, conjugate = divergence.f(w), divergence.conjugate(x)
    return relative(w * x - f - conjugate, w * x, f, conjugate)


def attainment_error(divergence: Divergence) -> float:
    """w* x = f(w*) + f*(x)."""
    x = advantages()
    w = divergence.weight(x)
    f, conjugate = divergence.f(w), divergence.conjugate(x)
    return relative((w * x - f - conjugate).abs(), w * x, f, conjugate)


def brute_force_error(divergence: Divergence) -> float:
    """f* against the best of many w; they lie evenly in sqrt(w), where no f is steep."""
    w = th.linspace(0, 5, 20001, dtype=F64).square()[:, None]
    x = th.linspace(-8, 3, 111, dtype=F64)
    found = (w * x - divergence.f(w)).max(0).values
    return relative((found - divergence.conjugate(x)).abs())


def decrease(divergence: Divergence) -> float:
    """How far f* falls anywhere as x grows."""
    values = divergence.conjugate(advantages())
    return relative(values[:-1] - values[1:], values[1:])


def concavity(function: Callable[[Tensor], Tensor], points: Tensor) -> float:
    """How far the middle of any two points lies above the middle of their values."""
    one, two = points[:, None], points[None, :]
    ends = (function(one) + function(two)) / 2
    return relative(function((one + two) / 2) - ends, function(one), function(two))


def finite(divergence: Divergence) -> bool:
    """Values and gradients of f*, w* and f(w*) in float32."""
    x = advantages(th.float32)
    functions = (divergence.conjugate, divergence.weight, lambda x: divergence.f(divergence.weight(x)))
    return all(bool(g(x).isfinite().all() and derivative(g, x).isfinite().all()) for g in functions)


# -- the divergences -------------------------------------------------------------------------------------------------


@every
def test_no_change_costs_nothing(divergence: Divergence) -> None:
    one = th.ones(1, dtype=F64)
    assert divergence.f(one) == slope(divergence, one) == divergence.conjugate(one - 1) == 0
    assert divergence.weight(one - 1) == divergence.inverse_slope(one - 1) == 1
    assert derivative(lambda w: slope(divergence, w), one) == 1  # f''(1): all alike near the data
    assert divergence.f(ratios()).min() >= 0


@every
def test_f_is_convex_and_its_slope_and_inverse_slope_are_right(divergence: Divergence) -> None:
    w = ratios()
    assert concavity(divergence.f, w) < TOLERANCE
    assert relative((derivative(divergence.f, w[1:]) - slope(divergence, w[1:])).abs(), w[1:]) < TOLERANCE
    assert relative((divergence.inverse_slope(slope(divergence, w)) - w).abs(), w) < TOLERANCE


@every
def test_the_conjugate_has_the_weight_for_slope(divergence: Divergence) -> None:
    assert slope_error(divergence) < TOLERANCE
    assert slope_error(divergence, th.float32) < 1e-6


@every
def test_the_conjugate_is_the_maximum_and_the_weight_attains_it(divergence: Divergence) -> None:
    assert fenchel_young_error(divergence) < TOLERANCE
    assert attainment_error(divergence) < TOLERANCE
    assert brute_force_error(divergence) < 1e-6


@every
def test_the_conjugate_is_convex_and_non_decreasing(divergence: Divergence) -> None:
    assert decrease(divergence) < TOLERANCE
    assert concavity(divergence.conjugate, advantages()) < TOLERANCE
    assert divergence.weight(advantages()).min() >= 0


@every
def test_nothing_overflows_in_float32(divergence: Divergence) -> None:
    assert finite(divergence)
    assert derivative(divergence.f, th.zeros(1)).isfinite()


@every
def test_shapes_dtypes_and_lanes_are_kept(divergence: Divergence) -> None:
    """Lanes: what `vmap` computes for stacked learners is what separate calls do."""
    x = th.linspace(-3, 30, 12).view(2, 3, 2)
    functions = (divergence.f, divergence.inverse_slope, divergence.conjugate, divergence.weight)
    for g, at in zip(functions, (x.abs(), x, x, x), strict=True):
        assert g(at).shape == x.shape and g(at).dtype == x.dtype
        assert th.equal(vmap(g)(at), g(at))


def test_kl_is_linear_beyond_its_cap() -> None:
    """Exact as the conjugate over w <= e^cap, so it fails Fenchel-Young for larger w and for no others."""
    kl, x = REGISTRY["kl"], th.linspace(KL_CAP, 1e4, 50, dtype=F64)
    largest = math.exp(KL_CAP)
    assert (kl.weight(x) == largest).all()
    best = largest * x - kl.f(th.tensor(largest, dtype=F64))
    assert relative((kl.conjugate(x) - best).abs(), best) < TOLERANCE
    larger = th.tensor(10 * largest, dtype=F64)
    assert (larger * x - kl.f(larger) > kl.conjugate(x))[1:].all()


def test_kl_weighs_nothing_by_more_than_e_to_the_20() -> None:
    """The number that docs/learners/comadice.md promises; the checks above hold of any cap."""
    kl, x = REGISTRY["kl"], th.tensor([19.5, 20, 20.5, 40, 1e4], dtype=F64)
    weight = th.tensor([math.exp(19.5), *[math.exp(20)] * 4], dtype=F64)
    th.testing.assert_close(kl.weight(x), weight, rtol=1e-12, atol=0)
    th.testing.assert_close(derivative(kl.conjugate, x), weight, rtol=1e-12, atol=0)
    assert kl.conjugate(x)[3].item() == pytest.approx(21 * math.exp(20) - 1, rel=1e-12)


def test_the_default_is_the_larger_of_the_other_two() -> None:
    w = ratios()
    kl, chi2, soft = (REGISTRY[name].f(w) for name in ("kl", "chi2", "soft_chi2"))
    assert relative((soft - th.maximum(kl, chi2)).abs(), soft) < TOLERANCE


# -- controls: what the checks would find ----------------------------------------------------------------------------


def test_negative_weights_make_the_conjugate_fall() -> None:
    wrong = Untruncated()
    assert finite(wrong) and concavity(wrong.conjugate, advantages()) < TOLERANCE
    assert decrease(wrong) > FAILURE
    assert brute_force_error(wrong) > FAILURE
    assert wrong.weight(advantages()).min() < 0


def test_an_exponential_outside_its_branch_overflows() -> None:
    assert not finite(Uncapped())


def test_two_clamped_parts_have_twice_the_slope_at_the_kink() -> None:
    assert slope_error(Clamped()) > FAILURE
    assert finite(Clamped()) and fenchel_young_error(Clamped()) < TOLERANCE
