"""Bounds of continuous actions in dataset cards, for all agents alike (A,) or per agent (N, A), and in the data."""

import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets.hdf5 import any_row, row_blocks
from utils.bounds import per_agent
from utils.errors import DatasetError

KEYS = ("action_low", "action_high")
_GREATEST = float(np.finfo(np.float32).max)
# float32 rounding of an action at its bound: a share of the range, and of the bound where that is far from 0
_OF_RANGE, _OF_BOUND = 1e-5, 1e-6


def check_bounds(card: Mapping[str, Any]) -> None:
    """Raise DatasetError unless a card's bounds are finite numbers in either form, the lower ones first."""
    for key in KEYS:
        if not _is_bounds(card[key]):
            raise DatasetError(
                f"the dataset card's {key} is {reprlib.repr(card[key])}; it must be one finite number per action "
                "dimension or, where agents differ, one such list per agent"
            )
    low, high = (np.asarray(card[key], np.float64) for key in KEYS)  # (A,) or (N, A) each
    if low.shape[-1] != high.shape[-1] or (low.ndim == high.ndim == 2 and len(low) != len(high)):
        return  # `bounds_of` says what they must be, with the data at hand
    low, high = np.broadcast_arrays(low, high)
    for index in np.argwhere((low > high) | (high - low > _GREATEST))[:1]:
        where = f"dimension {index[-1]}" + (f" of agent {index[0]}" if low.ndim == 2 else "")
        one, other = low[tuple(index)], high[tuple(index)]
        fault = "the lower bound must come first" if one > other else "the range between them is too large for float32"
        raise DatasetError(
            f"the dataset card's action_low is {one:g} and its action_high {other:g} in {where}; {fault}"
        )


def _is_bounds(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    rows = value if isinstance(value[0], list) else [value]
    return all(
        isinstance(row, list)
        and 0 < len(row) == len(rows[0])
        and all(isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= _GREATEST for x in row)
        for row in rows
    )


def bounds_of(card: Mapping[str, Any], n_agents: int) -> tuple[np.ndarray, np.ndarray]:
    """The bounds that a card states, (N, A) each. Raises DatasetError where they are not of that many agents."""
    bounds = []
    for key in KEYS:
        try:
            bounds.append(per_agent(card[key], n_agents))
        except ValueError as error:
            raise DatasetError(f"the dataset card's {key} is {reprlib.repr(card[key])}; {error}") from error
    return bounds[0], bounds[1]


def refuse_outside(arrays: Mapping[str, np.ndarray], known: np.ndarray, card: Mapping[str, Any]) -> None:
    """Raise DatasetError where an action leaves its own agent's bounds; known: (R,) bool, the rows that count.

    A 0 in a dimension that an agent lacks is no action.
    """
    actions, available = arrays["actions"], arrays.get("avail_actions")
    low, high = bounds_of(card, actions.shape[1])  # (N, A) each
    slack = _OF_RANGE * (high - low) + _OF_BOUND * np.maximum(abs(low), abs(high))
    least, greatest = low - slack, high + slack
    for start, stop in row_blocks(actions):
        block = actions[start:stop]
        outside = (block < least) | (block > greatest)  # (rows, N, A)
        rows = outside.reshape(stop - start, -1).any(1) & known[start:stop]
        if rows.any() and available is not None:
            outside &= (block != 0) | (available[start:stop] > 0)
            rows &= outside.reshape(stop - start, -1).any(1)
        if rows.any():
            row = int(np.argmax(rows))
            agent, index = np.argwhere(outside[row])[0]
            raise DatasetError(
                f"actions leaves the dataset card's bounds on row {start + row}: agent {agent} has "
                f"{block[row, agent, index]:g} in dimension {index}, whose bounds are {low[agent, index]:g} and "
                f"{high[agent, index]:g}; remove or repair that episode, or state the bounds that the data have "
                "(--bounds where they are imported)"
            )


def check_same_bounds(name: Any, dataset: Any, env_info: Mapping[str, Any], advice: str) -> None:
    """Raise DatasetError unless a dataset and an environment of as many agents and dimensions have the same bounds.

    Dimensions that an agent of the dataset lacks are not compared. name: the dataset's, for the message.
    """
    n_agents, available = dataset.n_agents, dataset.arrays.get("avail_actions")
    stated = bounds_of(dataset.card, n_agents)  # two of (N, A)
    actual = (per_agent(env_info["action_low"], n_agents), per_agent(env_info["action_high"], n_agents))
    for key, there, here in zip(KEYS, stated, actual, strict=True):
        different = ~np.isclose(there, here)  # (N, A)
        if different.any() and available is not None:
            different &= any_row(available)
        if not different.any():
            continue
        hull = (actual[0].min(0), actual[1].max(0))  # what datasets stated for all agents before release 0.2
        if np.allclose(stated[0], hull[0]) and np.allclose(stated[1], hull[1]):
            advice = "its agents did not execute all of those actions, so collect it anew"
        raise DatasetError(f"dataset {name} has {key} {dataset.card[key]}, the environment {env_info[key]}; {advice}")
