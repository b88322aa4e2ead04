"""Columns of observations and states that say nothing, or that are a clock."""

from __future__ import annotations

from typing import Any

import numpy as np

from datasets.dataset import OfflineDataset
from datasets.doctor.finding import Finding, listed
from datasets.hdf5 import row_blocks

_EPISODES = 200  # looked at for clocks, evenly spaced
_SAME = 1e-5  # relative to a column's range: what rounding may change


def find_columns(dataset: OfflineDataset) -> Finding:
    """Constant columns, dead ones among them (always 0), and clocks: columns that tell the time step.

    A clock has the same value at the same step of every episode, or rises by the same amount on each step of an
    episode. Looked at in 200 episodes; where all of those are alike, nothing can be called a clock.
    """
    constant: list[str] = []
    dead: list[str] = []
    clocks: list[str] = []
    for key in ("obs", "state"):
        if key not in dataset.arrays:
            continue
        array = dataset.arrays[key]
        names = _names(key, array)
        low, high = _range(array)  # (M,) each
        same = low == high
        dead += [name for name, at in zip(names, same & (low == 0), strict=True) if at]
        constant += [name for name, at in zip(names, same & (low != 0), strict=True) if at]
        clocks += [names[column] for column in _clocks(dataset, key, high - low)]
    values: dict[str, Any] = {"dead": dead, "constant": constant, "clocks": clocks}
    lines = [
        f"columns that are always 0: {listed(dead) if dead else 'none'}",
        f"other constant columns: {listed(constant) if constant else 'none'}",
        f"columns that are a clock: {listed(clocks) if clocks else 'none'}",
    ]
    if clocks:
        lines.append("a clock lets a policy replay actions by the step; state it where scores are compared")
    return Finding("columns", values, tuple(lines))


def _names(key: str, array: np.ndarray) -> list[str]:
    """Name of each column of a row, such as obs[agent 1][3] and state[5]."""
    if key == "obs":
        return [f"obs[agent {agent}][{column}]" for agent, column in np.ndindex(array.shape[1:])]
    return [f"state[{column}]" for column in range(array.shape[1])]


def _range(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest value of each column, (M,) each."""
    low, high = array[0], array[0]
    for start, stop in row_blocks(array):
        block = array[start:stop]
        low, high = np.minimum(low, block.min(0)), np.maximum(high, block.max(0))
    return low.reshape(-1), high.reshape(-1)


def _clocks(dataset: OfflineDataset, key: str, width: np.ndarray) -> np.ndarray:
    """Numbers of the columns that are a clock. width: (M,) range of each column over all rows."""
    offsets = dataset.episode_offsets
    chosen = np.unique(np.linspace(0, dataset.n_episodes - 1, min(_EPISODES, dataset.n_episodes)).astype(int))
    chosen = chosen[np.diff(offsets)[chosen] >= 4]  # two increments at least, of the rows before the final one
    if len(chosen) < 2:
        return np.zeros(0, int)

    def steps_of(episode: int) -> np.ndarray:
        rows = dataset.arrays[key][offsets[episode] : offsets[episode + 1] - 1]
        return np.asarray(rows.reshape(len(rows), -1), np.float64)  # (L, M)

    slack = _SAME * width + 1e-12
    longest = steps_of(chosen[np.argmax(np.diff(offsets)[chosen])])
    alike, even = np.ones(len(width), bool), np.ones(len(width), bool)
    for episode in chosen:
        rows = steps_of(episode)
        alike &= (np.abs(rows - longest[: len(rows)]) <= slack).all(0)
        steps = np.diff(rows, axis=0)  # (L - 1, M)
        even &= (np.abs(steps - steps.mean(0)) <= slack).all(0) & (np.abs(steps.mean(0)) > 10 * slack)
    varies = np.ptp(longest, axis=0) > 10 * slack
    if alike.all():
        return np.zeros(0, int)
    return np.flatnonzero((alike & varies) | even)
