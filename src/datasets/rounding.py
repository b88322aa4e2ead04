"""How far float32, in which datasets store numbers, moves the numbers of wider columns."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_TOLD = 1e-3  # of a column's standard deviation: larger movements are told
_CONSTANT = 1e-12  # of a column's largest magnitude: a smaller deviation is none
_AT_ONCE = 1 << 17  # values that are compared at a time
_MOST_NAMED = 5


@dataclass
class _Moments:
    """Of the columns of one array, (M,) each: sums over the rows so far, of their distance to the first row."""

    first: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    moved: np.ndarray
    largest: np.ndarray
    n_rows: int = 0

    def deviation(self) -> np.ndarray:
        """Standard deviation of each column, (M,)."""
        mean = self.total / self.n_rows
        return np.sqrt(np.maximum(self.squares / self.n_rows - mean**2, 0.0))


class Rounding:
    """The movement by rounding, over blocks of rows; little memory, as few rows are compared at a time."""

    def __init__(self) -> None:
        self._moments: dict[str, _Moments] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def add(self, given: Mapping[str, np.ndarray], kept: Mapping[str, np.ndarray]) -> None:
        """Take a block of rows as it was given and as it is kept; arrays that float32 holds exactly are passed over."""
        for key, array in kept.items():
            if array.dtype != np.float32 or given[key].dtype in (np.float32, np.float16, np.bool_):
                continue
            self._shapes[key] = array.shape[1:]
            step = max(1, _AT_ONCE // max(1, array[0].size))
            for start in range(0, len(array), step):
                rows = slice(start, start + step)
                self._compare(key, given[key][rows].reshape(len(array[rows]), -1), array[rows])

    def note(self) -> list[str]:
        """The note on columns that rounding moves by more than a thousandth of their deviation; empty without any."""
        said = []
        for key, moments in self._moments.items():
            deviation = moments.deviation()
            varies = deviation > _CONSTANT * moments.largest
            for column in np.flatnonzero(varies & (moments.moved > _TOLD * deviation)).tolist():
                name = _name(key, self._shapes[key], column)
                said.append(f"{name} by up to {moments.moved[column]:.3g}, where it varies by {deviation[column]:.3g}")
        if not said:
            return []
        more = f", and {len(said) - _MOST_NAMED} columns more" if len(said) > _MOST_NAMED else ""
        return [
            f"float32, which has about seven digits, moves {'; '.join(said[:_MOST_NAMED])}{more}; take off an offset, "
            "such as the first time stamp, to keep what varies"
        ]

    def _compare(self, key: str, given: np.ndarray, kept: np.ndarray) -> None:
        wide = given.astype(np.float64)  # (rows, M)
        if key not in self._moments:
            self._moments[key] = _Moments(wide[0].copy(), *np.zeros((4, wide.shape[1])))
        moments = self._moments[key]
        moved = np.abs(wide - kept.reshape(wide.shape)).max(axis=0)
        np.maximum(moments.moved, moved, out=moments.moved)
        np.maximum(moments.largest, np.abs(wide).max(axis=0), out=moments.largest)
        wide -= moments.first
        moments.total += wide.sum(axis=0)
        moments.squares += np.einsum("rm,rm->m", wide, wide)
        moments.n_rows += len(wide)


def _name(key: str, shape: tuple[int, ...], column: int) -> str:
    """A column's name, from the shape of a row: (N, M), or (N,) of rewards, or (S,) of a state."""
    if key == "state":
        return f"{key}, column {column}"
    if len(shape) == 1:
        return f"{key} of agent {column}"
    agent, place = np.unravel_index(column, shape)
    return f"{key} of agent {agent}, column {place}"
