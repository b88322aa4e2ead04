"""Losses that learners share against plain loops, closed forms and exact integrals."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from learners.losses import (
    available,
    clip_target,
    expectile_loss,
    exponential_weights,
    importance_logsumexp,
    log_mean_exp,
    logsumexp_actions,
    masked_mean,
    rows_of,
    td_target,
)
from tests.learners.learner_tester import F64, make_args, make_batch

EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}


def random(*shape: int, seed: int = 0) -> Tensor:
    return th.randn(*shape, generator=th.Generator().manual_seed(seed), dtype=F64)


# -- rows and means ----------------------------------------------------------------------------------------------------


def test_rows_lie_in_the_order_of_batch_and_step() -> None:
    args = make_args("spacql")
    batch = make_batch(args, rows=3, steps=4, dtype=F64)
    batch["avail_actions"][1, 2, 0, 1] = 0
    for row in range(3):
        for step in range(3):
            assert th.equal(rows_of(batch, "obs", slice(1, None))[3 * row + step], batch["obs"][row, step + 1])
            assert th.equal(available(batch, slice(None, -1))[3 * row + step], batch["avail_actions"][row, step])


def test_a_mean_counts_valid_rows_only() -> None:
    values, mask = random(2, 5), th.tensor([1.0, 0.0, 1.0, 1.0, 0.0])
    expected = (values[:, 0] + values[:, 2] + values[:, 3]) / 3
    th.testing.assert_close(masked_mean(values, mask), expected, **EXACT)
    assert masked_mean(values, th.zeros(5)).tolist() == [0.0, 0.0]


# -- targets -----------------------------------------------------------------------------------------------------------


def test_a_target_bootstraps_unless_the_step_ended_the_episode() -> None:
    reward, value = random(6), random(6, seed=1)
    terminated = th.tensor([0, 1, 0, 0, 1, 0], dtype=th.uint8)  # as batches hold it: 1 - 1 must not wrap around
    target = td_target(reward, terminated, value, 0.9)
    for row in range(6):
        expected = reward[row] if terminated[row] else reward[row] + 0.9 * value[row]
        th.testing.assert_close(target[row], expected, **EXACT)
    assert target.dtype == F64


def test_one_team_reward_is_every_agents() -> None:
    """Shapes broadcast as q_learner's without a mixer do."""
    reward, value = random(4, 1), random(4, 3)
    expected = th.stack([reward[:, 0] + 0.5 * value[:, agent] for agent in range(3)], dim=1)
    th.testing.assert_close(td_target(reward, th.zeros(4, 1), value, 0.5), expected, **EXACT)


@settings(max_examples=50, deadline=None)
@given(value=st.floats(-1e6, 1e6), bound=st.floats(-1e6, 1e6))
def test_a_clipped_value_is_the_smaller_of_both(value: float, bound: float) -> None:
    """The order of arguments is not the released code's slip: the bound bounds from above, never from below."""
    clipped = clip_target(th.tensor([value], dtype=F64), th.tensor(bound, dtype=F64))
    assert clipped.tolist() == [min(value, bound)]


def test_clipping_binds_at_zero_and_never_at_infinity() -> None:
    values = th.tensor([-3.0, -1e-9, 0.0, 1e-9, 5.0, 1e30], dtype=F64)
    assert clip_target(values, th.tensor(0.0)).tolist() == [-3.0, -1e-9, 0.0, 0.0, 0.0, 0.0]
    assert th.equal(clip_target(values, th.tensor(math.inf)), values)
    assert clip_target(values.float(), th.tensor(math.inf, dtype=F64)).dtype == th.float32  # a bound changes no type


# -- expectiles and weights --------------------------------------------------------------------------------------------


def test_the_middle_expectile_is_half_the_square() -> None:
    error = random(100)
    th.testing.assert_close(expectile_loss(error, 0.5), 0.5 * error.square(), **EXACT)


@pytest.mark.parametrize("tau", [0.1, 0.5, 0.7, 0.9])
def test_an_expectile_weighs_the_two_sides(tau: float) -> None:
    """tau where the target lies above the prediction, 1 - tau below: a high tau prefers high values."""
    error = th.tensor([-2.0, 0.0, 3.0], dtype=F64)
    th.testing.assert_close(expectile_loss(error, tau), th.tensor([4 * (1 - tau), 0, 9 * tau], dtype=F64), **EXACT)


@pytest.mark.parametrize("tau", [0.1, 0.5, 0.7, 0.9])
def test_the_minimum_of_the_loss_is_the_expectile(tau: float) -> None:
    """m with tau E(x - m)+ = (1 - tau) E(m - x)+; of a uniform variable it is known."""
    x = (th.arange(10_000, dtype=F64) + 0.5) / 10_000  # quantiles of U(0, 1)
    prediction = th.zeros((), dtype=F64, requires_grad=True)
    optimiser = th.optim.LBFGS([prediction], max_iter=100, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = expectile_loss(x - prediction, tau).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    ratio = math.sqrt(tau / (1 - tau))
    assert abs(prediction.item() - ratio / (1 + ratio)) < 1e-4
    above, below = (x - prediction).clamp_min(0).mean(), (prediction - x).clamp_min(0).mean()
    th.testing.assert_close(tau * above, (1 - tau) * below, rtol=1e-3, atol=0)


def test_exponential_weights_end_at_their_cap() -> None:
    advantage = th.tensor([-1e9, -2.0, 0.0, 2.0, 9.0, 1e9], dtype=F64)
    weights = exponential_weights(advantage, 2.0, 100.0)
    expected = [0.0, math.exp(-1), 1.0, math.exp(1), math.exp(4.5), 100.0]
    th.testing.assert_close(weights, th.tensor(expected, dtype=F64), rtol=1e-12, atol=1e-12)
    assert exponential_weights(th.tensor([1e30]), 0.001, 100.0).isfinite().all()  # in single precision too
    assert weights.tolist() == sorted(weights.tolist())


@pytest.mark.parametrize("dtype", [th.float32, F64])
def test_log_mean_exp_is_over_valid_rows(dtype: th.dtype) -> None:
    values, mask = random(50).to(dtype), (random(50, seed=1) > 0).float()  # the mask of batches is single precision
    kept = [float(value) for value, valid in zip(values, mask, strict=True) if valid]
    expected = math.log(sum(math.exp(value) for value in kept) / len(kept))
    ours = log_mean_exp(values, mask)
    assert ours.dtype == dtype and 0 < len(kept) < 50
    assert abs(float(ours) - expected) < (1e-12 if dtype == F64 else 1e-6)
    spoilt = values.masked_fill(mask == 0, 1e6)
    assert th.equal(log_mean_exp(spoilt, mask), ours)
    th.testing.assert_close(log_mean_exp(values + 1000, mask), ours + 1000)  # without overflow
    weights = (values - ours).exp()
    th.testing.assert_close(masked_mean(weights, mask), th.ones((), dtype=dtype))  # what it is for


# -- conservative penalties --------------------------------------------------------------------------------------------


def test_logsumexp_over_actions_is_brute_force() -> None:
    values = random(3, 4, 5, 2)  # (E, R, K, N)
    forbidden = random(4, 5, 2, seed=1) > 0.7
    forbidden[:, 0] = False
    assert forbidden.any()
    free, masked = logsumexp_actions(values, None), logsumexp_actions(values, forbidden)
    for member in range(3):
        for row in range(4):
            for agent in range(2):
                each = [math.exp(values[member, row, k, agent]) for k in range(5)]
                assert abs(free[member, row, agent] - math.log(sum(each))) < 1e-12
                kept = [value for k, value in enumerate(each) if not forbidden[row, k, agent]]
                assert abs(masked[member, row, agent] - math.log(sum(kept))) < 1e-12


def test_forbidden_actions_have_neither_value_nor_gradient() -> None:
    values = random(1, 4, 5, 2).requires_grad_()
    forbidden = th.zeros(4, 5, 2, dtype=th.bool)
    forbidden[1, 2, 0] = forbidden[3, :, 1] = True  # and an agent that lacks all of them, as on padding
    (gradient,) = th.autograd.grad(logsumexp_actions(values, forbidden).sum(), values)
    assert gradient[0][forbidden].eq(0).all() and gradient.isfinite().all()
    th.testing.assert_close(gradient.sum(2)[0, :3], th.ones(3, 2, dtype=F64), **EXACT)  # else a softmax
    assert logsumexp_actions(values, forbidden).isfinite().all()


BOX, SLOPE = 1.5, th.tensor([1.3, -0.8], dtype=F64)  # actions in [-BOX, BOX]^2


def q(actions: Tensor) -> Tensor:
    """A function whose exponential has an exact integral over the box, (..., 2) -> (...)."""
    return (actions * SLOPE).sum(-1)


def exact_integral() -> float:
    return math.prod(float(2 * th.sinh(BOX * abs(slope)) / abs(slope)) for slope in SLOPE)


def samples(kind: str, rows: int, k: int) -> tuple[Tensor, Tensor]:
    """Actions (rows, k, 2) and their log-densities (rows, k) on the box."""
    generator = th.Generator().manual_seed(0)
    unit = th.rand(rows, k, 2, generator=generator, dtype=F64)
    uniform = BOX * (2 * unit - 1)
    flat = th.full((rows, k), -2 * math.log(2 * BOX), dtype=F64)
    low, high = (0.5 * (1 + math.erf(end * BOX / math.sqrt(2))) for end in (-1, 1))
    policy = th.special.ndtri(low + (high - low) * unit)  # a standard Gaussian inside the box
    density = (-0.5 * policy.square() - 0.5 * math.log(2 * math.pi) - math.log(high - low)).sum(-1)
    if kind == "uniform":
        return uniform, flat
    if kind == "policy":
        return policy, density
    half = k // 2  # both, as CQL's code has them
    return th.cat([uniform[:, :half], policy[:, half:]], 1), th.cat([flat[:, :half], density[:, half:]], 1)


@pytest.mark.parametrize("kind", ["uniform", "policy", "both"])
def test_importance_sampling_is_unbiased_for_the_integral(kind: str) -> None:
    """The mean of exp(estimate) is the integral of exp(Q), for any number of samples."""
    for k in (2, 10):
        actions, log_densities = samples(kind, 40_000, k)
        estimates = importance_logsumexp(q(actions), log_densities).exp()
        error = estimates.std() / math.sqrt(len(estimates))
        assert error < 0.02 * exact_integral()
        assert abs(estimates.mean() - exact_integral()) < 4 * error


def test_importance_sampling_from_the_softmax_itself_has_no_variance() -> None:
    """With p proportional to exp(Q) every estimate is the integral, one sample or many."""
    actions, _ = samples("uniform", 6, 3)
    log_densities = q(actions) - math.log(exact_integral())
    th.testing.assert_close(
        importance_logsumexp(q(actions), log_densities), th.full((6,), math.log(exact_integral()), dtype=F64)
    )


def test_importance_sampling_takes_an_ensemble() -> None:
    values, log_densities = random(3, 4, 5), random(4, 5, seed=1)
    ours = importance_logsumexp(values, log_densities)
    for member in range(3):
        for row in range(4):
            mean = sum(math.exp(values[member, row, k] - log_densities[row, k]) for k in range(5)) / 5
            assert abs(ours[member, row] - math.log(mean)) < 1e-12
