"""Checks of the dataset card, whether its maker states it or a file holds it."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets.bounds import KEYS, check_bounds
from utils.errors import DatasetError

_GREATEST = float(np.finfo(np.float32).max)
_KINDS: dict[str, tuple[type, str]] = {
    "behaviour": (str, "text"), "quality": (str, "text"), "made_by": (dict, "a mapping"),
}  # fmt: skip
_COMPUTED: dict[str, tuple[type, str]] = {
    "counts": (dict, "a mapping"), "returns": (dict, "a mapping"), "shapes": (dict, "a mapping"),
    "obs_mean": (list, "a list"), "obs_std": (list, "a list"),
}  # fmt: skip


def plain(value: Any, key: str) -> Any:
    """Convert `value` to plain JSON types; NumPy's numbers and arrays are converted too.

    key: its place in the dataset card, "" for the card itself. Raises DatasetError, naming the place, for values that
    JSON cannot hold.
    """
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
        return {str(name): plain(entry, f"{key}.{name}" if key else name) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry, f"{key}[{index}]") for index, entry in enumerate(value)]
    raise DatasetError(
        f"the dataset card's {key} is of type {type(value).__name__}, which JSON cannot hold; use text, numbers, lists "
        "or mappings"
    )


def check_stated(card: Mapping[str, Any]) -> None:
    """Raise DatasetError unless the entries that a dataset's maker states are complete and of the right types."""
    _check_environment(card)
    _check_action_space(card)
    _check_kinds(card, _KINDS)
    _check_reference(card)


def check_card(card: Mapping[str, Any]) -> None:
    """Raise DatasetError unless a card read from a file has every entry in the form that `write_dataset` gives it."""
    check_stated(card)
    _check_kinds(card, _COMPUTED)


def _check_environment(card: Mapping[str, Any]) -> None:
    environment = card.get("environment")
    if not isinstance(environment, dict) or not isinstance(environment.get("env", 0), str | None):
        raise DatasetError(
            "the dataset card needs environment: {'env': name, 'env_args': {...}}, in which scores are measured, or "
            "{'env': None} where there is none"
        )
    if not isinstance(environment.get("env_args"), dict):
        raise DatasetError(
            f"the dataset card's environment.env_args is {environment.get('env_args')!r}; it must be a mapping, such "
            "as {'key': 'simple_spread'}"
        )
    if not isinstance(environment["env_args"].get("key"), str | None):
        raise DatasetError(
            f"the dataset card's environment.env_args.key is {environment['env_args']['key']!r}; it must be text"
        )


def _check_action_space(card: Mapping[str, Any]) -> None:
    space = card.get("action_space")
    if space not in ("continuous", "discrete"):
        raise DatasetError(f"the dataset card's action_space is {space!r}; it must be 'continuous' or 'discrete'")
    bounds = KEYS if space == "continuous" else ()
    for key in (*bounds, "n_actions"):
        if key not in card:
            raise DatasetError(f"the dataset card lacks '{key}', which it must state for {space} actions")
    n_actions = card["n_actions"]
    if not _is_number(n_actions, int) or n_actions < 1:
        raise DatasetError(f"the dataset card's n_actions is {n_actions!r}; it must be a whole number of at least 1")
    if bounds:
        check_bounds(card)


def _check_reference(card: Mapping[str, Any]) -> None:
    advice = "state finite numbers `random` and `expert` and a text `source`, or reference: None"
    if "reference" not in card:
        raise DatasetError(f"the dataset card lacks 'reference'; {advice}")
    reference = card["reference"]
    if reference is None:
        return
    if not isinstance(reference, dict):
        raise DatasetError(f"the dataset card's reference is {reference!r}; {advice}")
    for key in ("random", "expert"):
        if not _is_number(reference.get(key), float):
            raise DatasetError(f"the dataset card's reference.{key} is {reference.get(key)!r}; {advice}")
    if not isinstance(reference.get("source"), str):
        raise DatasetError(f"the dataset card's reference.source is {reference.get('source')!r}; {advice}")
    if reference["random"] == reference["expert"]:
        raise DatasetError(
            f"the dataset card's reference states {reference['random']:g} as random and as expert return, so scores "
            "cannot be normalised; correct one, or state reference: None"
        )


def _check_kinds(card: Mapping[str, Any], kinds: Mapping[str, tuple[type, str]]) -> None:
    for key, (kind, name) in kinds.items():
        if key not in card:
            raise DatasetError(f"its dataset card lacks '{key}'; write the file with write_dataset")
        if not isinstance(card[key], kind):
            raise DatasetError(f"the dataset card's {key} is of type {type(card[key]).__name__}; it must be {name}")


def _is_number(value: Any, kind: type) -> bool:
    """Whether a plain value is a whole number (kind int) or a number that float32 can hold (float), but no bool."""
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        return False
    return kind is int or abs(value) <= _GREATEST
