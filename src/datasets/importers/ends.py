"""Flags, and the ends of episodes whose last step led to an observation that was not recorded."""

import numpy as np

from utils.errors import DatasetError


def check_flags(values: np.ndarray, key: str, origin: str, first: int = 0) -> None:
    """Raise DatasetError, naming the row, where one of `values` (rows, ...) is neither 0 nor 1.

    first: the number of the first row. origin: the file, and what of it.
    """
    wrong = ((values != 0) & (values != 1)).reshape(len(values), -1)  # NaN is neither
    if wrong.any():
        row, column = (int(index) for index in np.argwhere(wrong)[0])
        found = values.reshape(len(values), -1)[row, column]
        raise DatasetError(f"{origin}: '{key}' is {found:g} on row {first + row}; it must be 0 or 1")


def check_finite(values: np.ndarray, key: str, origin: str) -> None:
    """Raise DatasetError, naming the row, where one of `values` (rows, ...) is NaN or infinite."""
    good = np.isfinite(values).reshape(len(values), -1).all(axis=1)  # (rows,)
    if not good.all():
        raise DatasetError(f"{origin}: '{key}' holds a value that is not finite on row {int(np.argmin(good))}")


def kept_rows(n_recorded: int, copied: bool) -> np.ndarray:
    """Numbers of the recorded rows that become an episode's; copied: whether the last one comes twice."""
    return np.minimum(np.arange(n_recorded + copied), n_recorded - 1)


def terminal_flags(n_rows: int, terminal: bool) -> np.ndarray:
    """`terminated` of an episode, (n_rows,): 1 on the step into a terminal state, the last but one row."""
    flags = np.zeros(n_rows, np.uint8)
    flags[-2] = terminal
    return flags


def gone_note(n_episodes: int) -> str:
    """The end of a note on episodes that were cut: how many of them had one row only, so that nothing is left."""
    return f"; {n_episodes} of them have no other row and are left out" if n_episodes else ""


def copied_note(n_episodes: int) -> str:
    """What a card says of episodes of which the last row was copied."""
    return (
        f"{n_episodes} episodes end by a terminal whose next observation was not recorded: a copy of the last one is "
        "their final row, from which nothing is learned"
    )
