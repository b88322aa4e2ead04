"""Conversion of what a dataset's maker passes to the format's types."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets.validate import check_offsets
from utils.errors import DatasetError

_LARGEST = float(np.finfo(np.float32).max)


def convert_arrays(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Convert arrays to the types of docs/reference/dataset-format.md. Raises DatasetError, naming the array."""
    if not isinstance(arrays, Mapping):
        raise DatasetError(f"the arrays are of type {type(arrays).__name__}; they must be a mapping of names to arrays")
    converted: dict[str, np.ndarray] = {}
    for key, value in arrays.items():
        array = _numbers(value, str(key))
        if key in ("terminated", "avail_actions"):
            _check_flags(array, key)
            kind: type = np.uint8
        else:
            kind = np.int64 if key == "actions" and array.dtype.kind in "biu" else np.float32
        try:
            with np.errstate(over="raise"):  # where a finite number would become inf
                converted[str(key)] = np.asarray(array, kind, order="C")
        except FloatingPointError:
            raise _too_large(array, str(key)) from None
    return converted


def convert_offsets(episode_offsets: Any) -> np.ndarray:
    """Convert the row offsets of episodes to (E + 1,) int64. Raises DatasetError where they are no offsets."""
    offsets = _numbers(episode_offsets, "episode_offsets")
    if offsets.dtype.kind not in "iu":
        raise DatasetError(
            f"episode_offsets is of type {offsets.dtype}; it must hold whole numbers: each "
            "episode's first row, and the number of rows"
        )
    offsets = offsets.astype(np.int64)
    check_offsets(offsets)
    return offsets


def convert_known(last_action_known: Any, offsets: np.ndarray) -> np.ndarray:
    """One bool per episode, (E,), from an array of them or from one for all. Raises DatasetError for another shape."""
    known, n_episodes = _numbers(last_action_known, "last_action_known"), len(offsets) - 1
    if known.shape not in ((), (n_episodes,)):
        raise DatasetError(
            f"last_action_known has shape {known.shape}; it must be one bool, or one for each of the {n_episodes} "
            "episodes"
        )
    _check_flags(known, "last_action_known")
    return np.broadcast_to(known.astype(bool), (n_episodes,)).copy()


def _numbers(value: Any, key: str) -> np.ndarray:
    if np.ma.is_masked(value):
        raise DatasetError(f"{key} has masked values, which datasets cannot leave out; fill or remove them")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{key} cannot be made an array ({error}); all its rows must have one shape") from error
    if array.dtype.kind not in "biuf":
        raise DatasetError(f"{key} is of type {array.dtype}; datasets hold numbers only")
    return array


def _too_large(array: np.ndarray, key: str) -> DatasetError:
    """The sentence for finite numbers (R, ...) beyond float32's."""
    with np.errstate(invalid="ignore"):
        place = tuple(np.argwhere(np.isfinite(array) & (np.abs(array) > _LARGEST))[0].tolist())
    row = f" on row {place[0]}" if place else ""
    return DatasetError(
        f"{key} is {float(array[place]):g}{row}, too large for float32 (at most {_LARGEST:.2g}), in which numbers are "
        "stored; remove or repair that episode, or give the numbers in another unit"
    )


def _check_flags(array: np.ndarray, key: str) -> None:
    if np.any((array != 0) & (array != 1)):
        raise DatasetError(f"{key} must be 0 or 1 everywhere")
