from __future__ import annotations

import pytest
import torch as th

from components.standarize_stream import RunningMeanStd

F64 = th.float64


@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_batches_add_up_to_the_stream(shape: tuple[int, ...]) -> None:
    """After uneven batches: mean and population variance of all samples, up to the weight of the start."""
    stats = RunningMeanStd(epsilon=1e-9, shape=shape).to(F64)
    stream = 5 + 3 * th.randn(40, *shape, generator=th.Generator().manual_seed(1), dtype=F64)
    for part in (stream[:1], stream[1:8], stream[8:]):
        stats.update(part)
    th.testing.assert_close(stats.mean, stream.mean(0), rtol=1e-6, atol=1e-6)
    th.testing.assert_close(stats.var, stream.var(0, unbiased=False), rtol=1e-6, atol=1e-6)
    assert stats.mean.shape == shape and stats.count.item() == pytest.approx(40)


def test_the_start_counts_as_epsilon_samples() -> None:
    stats = RunningMeanStd(epsilon=2.0).to(F64)
    stats.update(th.tensor([[4.0], [8.0]], dtype=F64))
    assert stats.mean.item() == pytest.approx(3.0)  # (2 * 0 + 4 + 8) / 4
    assert stats.var.item() == pytest.approx((2 * 1 + 2 * 9 + 1 + 25) / 4)


def test_trap_6_padding_is_no_part_of_the_statistics() -> None:
    """All rewards -10, 8 of 10 steps padded: the mean is -10, not -2; what padding holds does not matter."""
    reward, mask = th.full((1, 10, 1), -10.0), th.zeros(1, 10, 1)
    mask[:, :2] = 1
    for padding in (0.0, th.nan):
        reward[:, 2:] = padding
        stats = RunningMeanStd(shape=(1,))
        stats.update(reward, mask)
        assert stats.mean.item() == pytest.approx(-10, abs=1e-3)
        assert stats.count.item() == pytest.approx(2, abs=1e-3)


def test_masked_samples_equal_absent_ones() -> None:
    masked, absent = RunningMeanStd(shape=(3,)), RunningMeanStd(shape=(3,))
    samples, mask = th.randn(4, 5, 3), (th.rand(4, 5, 1) < 0.5).float()
    masked.update(samples, mask)
    absent.update(samples[mask.squeeze(-1) > 0])
    th.testing.assert_close(masked.mean, absent.mean)
    th.testing.assert_close(masked.var, absent.var)


def test_an_empty_batch_changes_nothing() -> None:
    stats = RunningMeanStd()
    stats.update(th.randn(6))
    before = {key: value.clone() for key, value in stats.state_dict().items()}
    stats.update(th.randn(6), th.zeros(6))
    for key, value in stats.state_dict().items():
        th.testing.assert_close(value, before[key])


def test_restore_undoes_standardise() -> None:
    stats = RunningMeanStd(shape=(2,)).to(F64)
    stats.update(7 + 2 * th.randn(50, 2, dtype=F64))
    values = th.randn(3, 4, 2, dtype=F64)
    th.testing.assert_close(stats.restore(stats.standardise(values)), values)
    assert not th.allclose(stats.standardise(values), values)
