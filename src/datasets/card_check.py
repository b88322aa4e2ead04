"""Checks of the dataset card, whether its maker states it or a file holds it."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets.bounds import KEYS, check_bounds
from datasets.card_entries import COMPUTED, STATED, check_entries, shown
from datasets.declared import MOST_LEVELS
from utils.errors import DatasetError

_GREATEST = float(np.finfo(np.float32).max)


def plain(value: Any, key: str, level: int = 0) -> Any:
    """Convert `value` to plain JSON types; NumPy's numbers and arrays are converted too.

    key: its place in the dataset card, "" for the card itself. level: how many lists and mappings it lies in. Raises
    DatasetError, naming the place, for values that JSON cannot hold.
    """
    if level > MOST_LEVELS:  # such as a list that holds itself
        raise DatasetError(f"the dataset card's {key[:40]}... is more than {MOST_LEVELS} levels deep; state less")
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise DatasetError(f"the dataset card's {key} is {value}; a card holds finite numbers only")
        return float(value)
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise DatasetError(f"{key or 'the dataset card'} has the key {name!r}; the keys of a card must be text")
        return {str(name): plain(entry, f"{key}.{name}" if key else name, level + 1) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry, f"{key}[{index}]", level + 1) for index, entry in enumerate(value)]
    raise DatasetError(
        f"the dataset card's {key} is of type {type(value).__name__}, which JSON cannot hold; use text, numbers, lists "
        "or mappings"
    )


def check_stated(card: Mapping[str, Any]) -> None:
    """Raise DatasetError unless the entries that a dataset's maker states are complete and of the right types."""
    if "reference" not in card:  # null is an answer, nothing is none
        raise DatasetError("the dataset card lacks 'reference'; state one, or reference: None")
    _check_action_space(card)
    check_entries(card, STATED)
    if "env" not in card["environment"]:
        raise DatasetError("the dataset card lacks 'environment.env'; state its name, or None where there is none")
    _check_reference(card)


def check_card(card: Mapping[str, Any]) -> None:
    """Raise DatasetError unless a card read from a file has every entry in the form that `write_dataset` gives it."""
    check_stated(card)
    check_entries(card, COMPUTED)


def _check_action_space(card: Mapping[str, Any]) -> None:
    space = card.get("action_space")
    if space not in ("continuous", "discrete"):
        raise DatasetError(f"the dataset card's action_space is {shown(space)}; it must be 'continuous' or 'discrete'")
    bounds = KEYS if space == "continuous" else ()
    for key in (*bounds, "n_actions"):
        if key not in card:
            raise DatasetError(f"the dataset card lacks '{key}', which it must state for {space} actions")
    if bounds:
        check_bounds(card)


def _check_reference(card: Mapping[str, Any]) -> None:
    reference = card["reference"]
    if reference is not None and reference["random"] == reference["expert"]:
        raise DatasetError(
            f"the dataset card's reference states {reference['random']:g} as random and as expert return, so scores "
            "cannot be normalised; correct one, or state reference: None"
        )


def _is_number(value: Any, kind: type) -> bool:
    """Whether a plain value is a whole number (kind int) or a number that float32 can hold (float), but no bool."""
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        return False
    return kind is int or abs(value) <= _GREATEST
