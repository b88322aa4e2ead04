"""Checks of one padded episode's rows in PyMARL's layout."""

from pathlib import Path

import numpy as np

from utils.errors import DatasetError


def filled_rows(filled: np.ndarray, origin: str) -> int:
    """The number of filled rows. Raises DatasetError unless they are ones, then zeros."""
    n_filled = int((filled != 0).sum())
    if not n_filled or not np.array_equal(filled, np.arange(len(filled)) < n_filled):
        raise DatasetError(f"{origin}: 'filled' must be ones from the first row on, then zeros")
    return n_filled


def whole_actions(actions: np.ndarray, origin: str) -> np.ndarray:
    """Discrete actions (rows, N, 1) as whole numbers. Raises DatasetError, naming the row, where one is none."""
    if actions.dtype.kind in "biu":
        return actions
    wrong = (actions != np.floor(actions)) | ~np.isfinite(actions)
    if wrong.any():
        raise DatasetError(
            f"{origin}: 'actions' is no whole number on row {int(np.argwhere(wrong)[0][0])}, as discrete actions are"
        )
    return actions.astype(np.int64)


def check_no_onehot(actions: np.ndarray, path: Path) -> None:
    """Raise DatasetError where actions (rows, ..., n) are all one-hot codes of n > 1 actions, or zeros of padding."""
    ones, zeros = (actions == 1).sum(-1), (actions == 0).sum(-1)  # (rows, ...)
    size = actions.shape[-1]
    coded, blank = (ones == 1) & (zeros == size - 1), zeros == size
    if size > 1 and coded.any() and (coded | blank).all():
        raise DatasetError(
            f"'actions' in {path} are one-hot codes of {size} actions; store the actions' indices: "
            "actions.argmax(-1)[..., None]"
        )


def check_onehot(onehot: np.ndarray, actions: np.ndarray, origin: str) -> None:
    """Raise DatasetError where one-hot actions (L, N, n) are others than the actions (L, N, 1); all zeros are none."""
    wrong = onehot.any(axis=2) & (onehot.argmax(axis=2) != actions[..., 0])  # (L, N)
    if wrong.any():
        row, agent = (int(index) for index in np.argwhere(wrong)[0])
        raise DatasetError(
            f"{origin}: 'actions' of agent {agent} is {actions[row, agent, 0]} on row {row} and 'actions_onehot' says "
            f"{onehot[row, agent].argmax()}, so one of the columns is shifted or of other data"
        )
