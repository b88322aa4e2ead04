"""What is wrong with the entries of a run's record, whatever file it was read from."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from reporting.runs import UNITS, Curve

# Types of a run's entries; null is allowed where the entry is not in `_NEEDED`.
TYPES: dict[str, Any] = {
    "source": str, "algorithm": str, "environment": str, "dataset": str, "seed": int, "final": dict, "curves": dict,
    "checksum": str, "started": str, "seconds": int | float, "commit": str, "sources": str, "command": str,
    "by_hand": list | tuple, "declared": dict, "times": list | tuple, "episodes": list | tuple, "reference": dict,
    "cpu_seconds": int | float, "changed": list | tuple,
}  # fmt: skip
NUMBERS = ("times", "episodes")
TEXTS = ("by_hand", "changed")
LEVELS = ("random", "expert")  # of the reference
_NEEDED = ("source", "algorithm", "seed", "final", "curves")
_SINGLE = ("seconds", "cpu_seconds")


def fault(entry: Mapping[str, Any], scored: bool = True) -> str | None:
    """What is wrong with a run's entries, as the end of a sentence; None where nothing is.

    Curves and final scores may hold what is not finite: a run that diverged is a run, and whoever averages it refuses.

    entry: as the file of results has them, or the fields of a `Run`. scored: whether the run must have a score.
    """
    for name, kind in TYPES.items():
        value = entry.get(name)
        wrong = value is not None and (not isinstance(value, kind) or isinstance(value, bool))
        if wrong or (value is None and name in _NEEDED):
            return f"has no sound '{name}'"
    if not all(map(is_number, entry["final"].values())):
        return "holds what is no number where one belongs, in 'final'"
    for name, curve in entry["curves"].items():
        if not _is_curve(curve):
            return f"holds what is no number where one belongs, in the curve '{name}'"
    if not all(isinstance(text, str) for name in TEXTS for text in entry.get(name) or ()):
        return "holds what is no text where one belongs"
    if scored and not any(unit in entry["final"] and curve in entry["curves"] for unit, curve in UNITS.items()):
        return f"has no score: in 'final' one of {' and '.join(UNITS)}, with its curve"
    return _fault_of_numbers(entry) or _fault_of_command(entry.get("command"))


def _fault_of_numbers(entry: Mapping[str, Any]) -> str | None:
    """What is wrong with numbers of which no average can be made."""
    for name in (*NUMBERS, *_SINGLE):
        value = entry.get(name)
        values = value if isinstance(value, list | tuple) else () if value is None else (value,)
        if not _are_finite(values):
            return f"holds what is no finite number in '{name}'"
    if entry.get("episodes") is not None and not entry["episodes"]:
        return "has no sound 'episodes': the list is empty"
    reference = entry.get("reference")
    if reference is not None:
        levels = [reference.get(name) for name in LEVELS]
        if not _are_finite(levels) or levels[0] == levels[1]:
            return f"has no sound 'reference': {' and '.join(LEVELS)} must be two different numbers"
    return None


def _fault_of_command(command: str | None) -> str | None:
    """A command that no shell reads, such as one that was cut within its quotes."""
    if command is None or not any(sign in command for sign in "'\"\\"):
        return None
    try:
        shlex.split(command)
    except ValueError:
        return "has no sound 'command': a quotation mark in it is not closed"
    return None


def is_number(value: Any) -> bool:
    """Whether it is a number that a float can hold; 10**400 is none."""
    if type(value) is float:  # nearly all of them
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _are_finite(values: Iterable[Any]) -> bool:
    return all(is_number(value) and math.isfinite(value) for value in values)


def _is_curve(curve: Any) -> bool:
    """Whether it has as many steps as values, at least one; steps are finite."""
    if isinstance(curve, dict):
        lists = [curve.get("steps"), curve.get("values")]
    else:
        lists = [curve.steps, curve.values] if isinstance(curve, Curve) else [None, None]
    steps, values = lists
    if not (isinstance(steps, list | tuple) and isinstance(values, list | tuple)) or not steps:
        return False
    return len(steps) == len(values) and _are_finite(steps) and all(map(is_number, values))
