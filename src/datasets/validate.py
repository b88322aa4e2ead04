"""What a dataset's arrays must be; each violation is one sentence naming the array and the first row at fault."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from datasets.hdf5 import row_blocks
from utils.errors import DatasetError

REQUIRED = ("obs", "actions", "reward", "terminated")
OPTIONAL = ("state", "avail_actions")
_BOUND_TOLERANCE = 1e-5  # float32 rounding of an action at its bound


def check_dataset(
    arrays: Mapping[str, np.ndarray],
    episode_offsets: np.ndarray,
    last_action_known: np.ndarray,
    card: Mapping[str, Any],
) -> None:
    """Raise DatasetError unless the arrays are a dataset as docs/dataset-format.md describes it."""
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise DatasetError(f"the dataset lacks '{missing[0]}'; it must hold {', '.join(REQUIRED)}")
    unknown = sorted(set(arrays) - set(REQUIRED) - set(OPTIONAL))
    if unknown:
        raise DatasetError(f"'{unknown[0]}' is not an array of a dataset; it may hold {', '.join(REQUIRED + OPTIONAL)}")
    _check_offsets(episode_offsets, len(arrays["obs"]))
    if last_action_known.shape != (len(episode_offsets) - 1,) or last_action_known.dtype != np.bool_:
        raise DatasetError(
            f"last_action_known has shape {last_action_known.shape} and type {last_action_known.dtype}; "
            f"it must hold one bool for each of the {len(episode_offsets) - 1} episodes"
        )
    _check_shapes(arrays)
    for key, array in arrays.items():
        if array.dtype.kind == "f":
            _refuse(array, lambda block: ~np.isfinite(block), key, "holds a value that is not finite (NaN or inf)")
    _check_ends(arrays, episode_offsets)
    known = np.ones(len(arrays["obs"]), bool)
    known[episode_offsets[1:] - 1] = last_action_known
    _check_actions(arrays, known, card)


def _check_offsets(offsets: np.ndarray, n_rows: int) -> None:
    good = offsets.ndim == 1 and offsets.dtype == np.int64 and len(offsets) >= 2
    if not good or offsets[0] != 0 or offsets[-1] != n_rows or np.diff(offsets).min() < 2:
        raise DatasetError(
            f"episode_offsets must be int64, rise from 0 to the number of rows ({n_rows}) and leave every episode at "
            "least two rows: one step and the row after it"
        )


def _check_shapes(arrays: Mapping[str, np.ndarray]) -> None:
    obs, actions = arrays["obs"], arrays["actions"]
    if obs.ndim != 3 or obs.dtype != np.float32:
        raise DatasetError(f"obs has shape {obs.shape} and type {obs.dtype}; it must be (rows, agents, size) float32")
    n_rows, n_agents = obs.shape[:2]
    real = actions.dtype == np.float32
    if actions.ndim != 3 or not (real or (actions.dtype == np.int64 and actions.shape[2] == 1)):
        raise DatasetError(
            f"actions has shape {actions.shape} and type {actions.dtype}; it must be (rows, agents, size) float32 or "
            "(rows, agents, 1) int64"
        )
    wanted = {"actions": (n_rows, n_agents, actions.shape[2]), "reward": (n_rows, n_agents), "terminated": (n_rows,)}
    if "state" in arrays:
        wanted["state"] = (n_rows, arrays["state"].shape[-1])
    if "avail_actions" in arrays:
        wanted["avail_actions"] = (n_rows, n_agents, arrays["avail_actions"].shape[-1])
    for key, shape in wanted.items():
        if arrays[key].shape != shape:
            raise DatasetError(f"{key} has shape {arrays[key].shape}; with obs of shape {obs.shape} it must be {shape}")
    types = {"reward": "float32", "state": "float32", "terminated": "uint8", "avail_actions": "uint8"}
    for key in types.keys() & arrays.keys():
        if arrays[key].dtype != types[key]:
            raise DatasetError(f"{key} is of type {arrays[key].dtype}; it must be {types[key]}")


def _check_ends(arrays: Mapping[str, np.ndarray], offsets: np.ndarray) -> None:
    terminated, last = arrays["terminated"], offsets[1:] - 1
    if terminated.max() > 1:
        raise DatasetError("terminated must be 0 or 1 on every row")
    early = terminated.astype(bool)
    early[last - 1] = False
    if early.any():
        row = int(np.argmax(early))
        raise DatasetError(
            f"terminated is 1 on row {row}, which is not its episode's last step; split the episode there (the step's "
            "next observation is the row after it)"
        )
    paid = np.any(arrays["reward"][last] != 0, axis=-1)
    if paid.any():
        raise DatasetError(
            f"reward is not 0 on row {int(last[np.argmax(paid)])}, an episode's final row, from which no step is "
            "taken; an episode of L steps holds L + 1 rows"
        )


def _check_actions(arrays: Mapping[str, np.ndarray], known: np.ndarray, card: Mapping[str, Any]) -> None:
    actions, n_actions = arrays["actions"], int(card["n_actions"])
    if card["action_space"] == "continuous":
        low, high = np.asarray(card["action_low"], float), np.asarray(card["action_high"], float)
        if actions.dtype != np.float32 or low.shape != (n_actions,) or high.shape != (n_actions,):
            raise DatasetError(
                f"the card says {n_actions} continuous action dimensions with bounds of {len(low)} and {len(high)} "
                f"values, the actions have shape {actions.shape} and type {actions.dtype}; all must agree"
            )
        slack = _BOUND_TOLERANCE * (high - low)
        low, high = low - slack, high + slack
        _refuse(
            actions, lambda block: (block < low) | (block > high), "actions",
            f"leaves the card's bounds {card['action_low']} to {card['action_high']}", known,
        )  # fmt: skip
        return
    if actions.dtype != np.int64:
        raise DatasetError("the card says discrete actions; actions must then be int64 of shape (rows, agents, 1)")
    _refuse(actions, lambda block: (block < 0) | (block >= n_actions), "actions", f"is not in 0..{n_actions - 1}")
    if "avail_actions" in arrays:
        available = arrays["avail_actions"]
        if available.shape[-1] != n_actions:
            raise DatasetError(f"avail_actions has {available.shape[-1]} entries an agent, the card says {n_actions}")
        chosen = np.take_along_axis(available, actions, axis=-1)  # (R, N, 1)
        _refuse(chosen, lambda block: block == 0, "actions", "was not available by avail_actions", known)


def _refuse(
    array: np.ndarray,
    is_bad: Callable[[np.ndarray], np.ndarray],
    key: str,
    fault: str,
    rows: np.ndarray | None = None,
) -> None:
    for start, stop in row_blocks(array):
        bad = is_bad(array[start:stop]).reshape(stop - start, -1).any(axis=1)
        if rows is not None:
            bad &= rows[start:stop]
        if bad.any():
            raise DatasetError(f"{key} {fault} on row {start + int(np.argmax(bad))}; remove that episode or mend it")
