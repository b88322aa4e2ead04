"""What the doctor finds: values for programs and the same in lines for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from datasets.dataset import OfflineDataset


@dataclass(frozen=True)
class Finding:
    """One subject that was looked at.

    name: its key in JSON. values: plain JSON values. lines: the same for people, the most important first.
    """

    name: str
    values: dict[str, Any]
    lines: tuple[str, ...]


def step_rows(dataset: OfflineDataset) -> np.ndarray:
    """Numbers of the rows from which a step starts, (T,) int64: all but the episodes' final ones."""
    steps = np.ones(len(dataset.arrays["reward"]), bool)
    steps[dataset.episode_offsets[1:] - 1] = False
    return np.flatnonzero(steps)


def step_episodes(dataset: OfflineDataset) -> np.ndarray:
    """Episode number of each row of `step_rows`, (T,) int64."""
    lengths = np.diff(dataset.episode_offsets) - 1
    return np.repeat(np.arange(len(lengths)), lengths)


def plain(values: np.ndarray) -> list[Any]:
    """Nested lists of floats with 6 digits, for JSON."""
    rounded: list[Any] = np.vectorize(lambda value: float(f"{value:.6g}"), otypes=[np.float64])(values).tolist()
    return rounded


def listed(words: list[str], most: int = 12) -> str:
    """Words with commas, the first `most` of them."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
