"""Histograms of returns and lengths, which may all be equal, or differ by rounding only."""

import numpy as np

_ROUNDING = 1e-9  # of the largest magnitude: differences below it are rounding, of which there are no bins
_LEAST = 1e-300  # below which a bin's width could not be written
_MARGIN = 1e-3  # of the largest magnitude, at least a half: what is shown beside equal numbers


def histogram(numbers: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts (bins,) and edges (bins + 1,) of finite numbers (K,); around numbers that are equal up to rounding."""
    low, high = float(numbers.min()), float(numbers.max())
    largest = max(abs(low), abs(high))
    if high - low <= max(_ROUNDING * largest, _LEAST):
        margin = max(0.5, _MARGIN * largest)
        numbers = np.full(len(numbers), low)  # in one bin together
        low, high = low - margin, low + margin
    return np.histogram(numbers, bins=bins, range=(low, high))
