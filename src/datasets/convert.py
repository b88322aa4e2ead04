"""From what a dataset's maker passes to the format's types; what cannot be converted is refused by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets.validate import check_offsets
from utils.errors import DatasetError


def convert_arrays(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of rows in the types of docs/reference/dataset-format.md."""
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
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which the check names
            converted[str(key)] = np.asarray(array, kind, order="C")
    return converted


def convert_offsets(episode_offsets: Any) -> np.ndarray:
    """Row offsets of episodes, (E + 1,) int64."""
    offsets = _numbers(episode_offsets, "episode_offsets")
    if offsets.dtype.kind not in "iu":
        raise DatasetError(f"episode_offsets is of type {offsets.dtype}; it must hold whole numbers, the first rows")
    offsets = offsets.astype(np.int64)
    check_offsets(offsets)
    return offsets


def convert_known(last_action_known: Any, offsets: np.ndarray) -> np.ndarray:
    """One bool an episode, (E,), from as many or from one that holds for all."""
    known, n_episodes = _numbers(last_action_known, "last_action_known"), len(offsets) - 1
    if known.shape not in ((), (n_episodes,)):
        raise DatasetError(
            f"last_action_known has shape {known.shape}; it must be one bool, or one for each of the {n_episodes} "
            "episodes"
        )
    _check_flags(known, "last_action_known")
    return np.broadcast_to(known.astype(bool), (n_episodes,)).copy()


def _numbers(value: Any, key: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{key} cannot be made an array ({error}); its rows must all have one shape") from error
    if array.dtype.kind not in "biuf":
        raise DatasetError(f"{key} is of type {array.dtype}; datasets hold numbers only")
    return array


def _check_flags(array: np.ndarray, key: str) -> None:
    if np.any((array != 0) & (array != 1)):
        raise DatasetError(f"{key} must be 0 or 1 everywhere")
