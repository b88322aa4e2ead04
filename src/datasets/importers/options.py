"""Options of the command line that several importers take."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from utils.errors import DatasetError, shown

N_ACTIONS = "number of discrete actions, where the file does not tell it"
BOUNDS = "bounds of continuous actions as LOW,HIGH (-1,1)"


def stated_bounds(options: Mapping[str, Any], size: int) -> tuple[list[float], list[float]]:
    """Bounds of `size` action dimensions each, from the option `bounds`, else -1 and 1."""
    text = options.get("bounds")
    if text is None:
        return [-1.0] * size, [1.0] * size
    try:
        low, high = (float(part) for part in str(text).split(","))
    except ValueError as error:
        raise DatasetError(f"--bounds is '{text}'; it must be two numbers, such as --bounds=-2,2") from error
    if not (np.isfinite([low, high]).all() and low < high):
        raise DatasetError(f"--bounds is '{text}'; the first number must be the lower one, and both finite")
    return [low] * size, [high] * size


def whole_number(options: Mapping[str, Any], name: str) -> int | None:
    """An option that counts, None where it is not given. Raises DatasetError for anything but a number from 1 on."""
    text = options.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", str(text)) or int(text) < 1:
        raise DatasetError(
            f"--{name.replace('_', '-')} is '{shown(text)}'; it must be a whole number of at least 1, of nine digits "
            "at most"
        )
    return int(text)


def refuse_option(options: Mapping[str, Any], name: str, why: str) -> None:
    """Raise DatasetError where an option is given that the data leave no room for. why: a sentence about the data."""
    if options.get(name) is not None:
        raise DatasetError(f"--{name.replace('_', '-')} is '{options[name]}', and {why}; leave it out")
