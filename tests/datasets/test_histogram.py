"""Histograms of numbers that are equal, or that differ by rounding only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataset import main
from datasets.dataset import write_dataset
from datasets.histogram import histogram
from tests.datasets.samples import continuous_arrays, continuous_card

ONE = 1.0


@pytest.mark.parametrize("bins", [15, 30])
@pytest.mark.parametrize(
    "numbers",
    [
        [ONE] * 3,
        [ONE, np.nextafter(ONE, 2), np.nextafter(ONE, 0)],
        [-43.333333333333314, -43.33333333333334],
        [9e39, np.nextafter(9e39, 1e40)],
        [-3e40] * 2,
        [0.0, 5e-324],
    ],
)
def test_rounding_is_one_bin(numbers: list[float], bins: int) -> None:
    counts, edges = histogram(np.asarray(numbers), bins)
    assert counts.max() == counts.sum() == len(numbers) and len(counts) == bins
    assert (np.diff(edges) > 0).all() and edges[0] < min(numbers) and edges[-1] > max(numbers)


def test_numbers_that_differ_are_as_numpy_counts_them() -> None:
    numbers = np.random.default_rng(0).normal(size=100)
    for own, numpys in zip(histogram(numbers, 15), np.histogram(numbers, 15), strict=True):
        np.testing.assert_array_equal(own, numpys)


@pytest.mark.parametrize("reward", [0.1, 3e38])
def test_inspect_reports_returns_that_differ_by_rounding(
    reward: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same ten rewards on other steps: sums in another order, which float64 rounds otherwise."""
    arrays, offsets = continuous_arrays([30] * 20)
    rng = np.random.default_rng(0)
    arrays["reward"][:] = 0
    for start in offsets[:-1]:
        arrays["reward"][start + rng.permutation(30)[:10], rng.integers(3, size=10)] = reward
    path = str(tmp_path / "a.h5")
    write_dataset(path, arrays, offsets, continuous_card())
    assert main(["inspect", path]) == 0
    assert f"{'#' * 40}" in capsys.readouterr().out
    assert main(["inspect", path, "--json"]) == 0
    assert sum(json.loads(capsys.readouterr().out)["findings"]["returns"]["histogram"]["counts"]) == 20
