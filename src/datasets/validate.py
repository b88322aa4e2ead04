"""Checks of a dataset's arrays; messages name the array and the first row at fault."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from datasets.bounds import bounds_of, refuse_outside
from datasets.hdf5 import row_blocks
from utils.errors import DatasetError

REQUIRED = ("obs", "actions", "reward", "terminated")
OPTIONAL = ("state", "avail_actions")
_AXES = {
    "obs": ("rows", "agents", "size"), "actions": ("rows", "agents", "size"), "reward": ("rows", "agents"),
    "terminated": ("rows",), "state": ("rows", "size"), "avail_actions": ("rows", "agents", "actions"),
}  # fmt: skip
_TYPES = {
    "obs": "float32", "actions": "float32", "reward": "float32", "terminated": "uint8", "state": "float32",
    "avail_actions": "uint8",
}  # fmt: skip


class Shaped(Protocol):
    """An array, or what a file declares of one."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...


def check_layout(arrays: Mapping[str, np.ndarray], episode_offsets: np.ndarray, last_action_known: np.ndarray) -> None:
    """Raise DatasetError unless the arrays have the names, shapes and types of docs/reference/dataset-format.md."""
    check_arrays(arrays)
    check_offsets(episode_offsets, len(arrays["obs"]))
    if last_action_known.shape != (len(episode_offsets) - 1,) or last_action_known.dtype != np.bool_:
        raise DatasetError(
            f"last_action_known has shape {last_action_known.shape} and type {last_action_known.dtype}; "
            f"it must hold one bool for each of the {len(episode_offsets) - 1} episodes"
        )


def check_arrays(arrays: Mapping[str, Shaped]) -> None:
    """The part of `check_layout` that needs no values, so that it can come before reading."""
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise DatasetError(f"the dataset lacks '{missing[0]}'; it must hold {', '.join(REQUIRED)}")
    unknown = sorted(set(arrays) - set(REQUIRED) - set(OPTIONAL))
    if unknown:
        raise DatasetError(f"'{unknown[0]}' is not an array of a dataset; it may hold {', '.join(REQUIRED + OPTIONAL)}")
    _check_shapes(arrays)


def check_values(
    arrays: Mapping[str, np.ndarray],
    episode_offsets: np.ndarray,
    last_action_known: np.ndarray,
    card: Mapping[str, Any],
) -> None:
    """Raise DatasetError unless the values are as in docs/reference/dataset-format.md; the layout must be checked."""
    for key, array in arrays.items():
        if array.dtype.kind == "f":
            _refuse(array, _not_finite, key, "holds a value that is not finite (NaN or inf)")
    _check_ends(arrays, episode_offsets)
    check_action_layout(arrays, card)
    if "avail_actions" in arrays:
        _refuse(arrays["avail_actions"], lambda block: block > 1, "avail_actions", "is neither 0 nor 1")
    known = np.ones(len(arrays["obs"]), bool)
    known[episode_offsets[1:] - 1] = last_action_known
    _check_actions(arrays, known, card)


def check_offsets(offsets: np.ndarray, n_rows: int | None = None) -> None:
    """Raise DatasetError unless these are episode offsets. n_rows: the number of rows, None where it is not known."""
    good = offsets.ndim == 1 and offsets.dtype == np.int64 and len(offsets) >= 2
    good = good and offsets[0] == 0 and np.diff(offsets).min() >= 2
    if not good or (n_rows is not None and offsets[-1] != n_rows):
        rows = "rows" if n_rows is None else f"rows ({n_rows})"
        raise DatasetError(
            f"episode_offsets must be int64, rise from 0 to the number of {rows} and leave every episode at "
            "least two rows: one step and the row after it"
        )


def check_action_layout(arrays: Mapping[str, np.ndarray], card: Mapping[str, Any]) -> None:
    """Raise DatasetError unless the actions have shape and type of the dataset card's action space."""
    actions, n_actions = arrays["actions"], card["n_actions"]
    if "avail_actions" in arrays and arrays["avail_actions"].shape[-1] != n_actions:
        entries = arrays["avail_actions"].shape[-1]
        raise DatasetError(
            f"avail_actions has {entries} entries per agent, the dataset card says {n_actions}; both must agree"
        )
    if card["action_space"] == "continuous":
        low, high = (bound.shape[1] for bound in bounds_of(card, actions.shape[1]))
        if actions.dtype != np.float32 or {low, high, actions.shape[2]} != {n_actions}:
            raise DatasetError(
                f"the dataset card says {n_actions} continuous action dimensions with bounds of {low} and "
                f"{high} values, the actions have shape {actions.shape} and type {actions.dtype}; all must agree"
            )
        return
    if actions.dtype != np.int64:
        raise DatasetError(
            "the dataset card says discrete actions; actions must then be int64 of shape (rows, agents, 1)"
        )


def _check_shapes(arrays: Mapping[str, Shaped]) -> None:
    for key, array in arrays.items():
        if len(array.shape) != len(_AXES[key]) or 0 in array.shape:
            raise DatasetError(f"{key} has shape {array.shape}; it must be ({', '.join(_AXES[key])}) with no size 0")
        if array.dtype != _TYPES[key] and not (key == "actions" and array.dtype == np.int64):
            raise DatasetError(f"{key} is of type {array.dtype}; it must be {_TYPES[key]}")
    n_rows, n_agents = arrays["obs"].shape[:2]
    if arrays["actions"].dtype == np.int64 and arrays["actions"].shape[2] != 1:
        raise DatasetError(
            f"actions has shape {arrays['actions'].shape} and type int64; it must be (rows, agents, size) float32 or "
            "(rows, agents, 1) int64"
        )
    for key, array in arrays.items():
        wanted = (n_rows, n_agents, *array.shape[2:]) if "agents" in _AXES[key] else (n_rows, *array.shape[1:])
        if array.shape != wanted:
            raise DatasetError(
                f"{key} has shape {array.shape}; with obs of shape {arrays['obs'].shape} it must be {wanted}"
            )


def _check_ends(arrays: Mapping[str, np.ndarray], offsets: np.ndarray) -> None:
    terminated, last = arrays["terminated"], offsets[1:] - 1
    if terminated.max() > 1:
        raise DatasetError("terminated must be 0 or 1 on every row")
    early = terminated.astype(bool)
    early[last - 1] = False
    if early.any():
        row = int(np.argmax(early))
        if row in last:
            raise DatasetError(
                f"terminated is 1 on row {row}, an episode's final row, from which no step starts; move it one row up, "
                "to the step that led there"
            )
        raise DatasetError(
            f"terminated is 1 on row {row}, which is not its episode's last step; split the episode there (the step's "
            "next observation is the row after it)"
        )
    paid = np.any(arrays["reward"][last] != 0, axis=-1)
    if paid.any():
        raise DatasetError(
            f"reward is not 0 on row {int(last[np.argmax(paid)])}, an episode's final row, from which no step "
            "starts; an episode of L steps holds L + 1 rows"
        )


def _check_actions(arrays: Mapping[str, np.ndarray], known: np.ndarray, card: Mapping[str, Any]) -> None:
    actions, n_actions = arrays["actions"], card["n_actions"]
    if card["action_space"] == "continuous":
        refuse_outside(arrays, known, card)
        return
    _refuse(actions, lambda block: (block < 0) | (block >= n_actions), "actions", f"is not in 0..{n_actions - 1}")
    if "avail_actions" in arrays:
        available, fault = arrays["avail_actions"], "was not available by avail_actions"
        for start, stop in row_blocks(available):
            chosen = np.take_along_axis(available[start:stop], actions[start:stop], axis=-1)  # (rows, N, 1)
            _refuse(chosen, lambda block: block == 0, "actions", fault, known[start:stop], start)


def _not_finite(block: np.ndarray) -> np.ndarray:
    bad: np.ndarray = np.isfinite(block)
    np.logical_not(bad, out=bad)
    return bad


def _refuse(
    array: np.ndarray,
    is_bad: Callable[[np.ndarray], np.ndarray],
    key: str,
    fault: str,
    rows: np.ndarray | None = None,
    first: int = 0,
) -> None:
    """Raise DatasetError where a row is bad. rows: those that count. first: the number of the array's first row."""
    for start, stop in row_blocks(array):
        values = is_bad(array[start:stop])
        if not values.any():  # the usual case, found faster than the row
            continue
        bad = values.reshape(stop - start, -1).any(axis=1)  # (rows,)
        if rows is not None:
            bad &= rows[start:stop]
        if bad.any():
            raise DatasetError(
                f"{key} {fault} on row {first + start + int(np.argmax(bad))}; remove or repair that episode"
            )
