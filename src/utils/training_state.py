"""What a training state must hold for a run to be continued, and of which kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from utils.manifest import Damage

LARGEST = 10**18  # of a step
Test = Callable[[Any], bool]


def is_whole(value: Any, least: int = 0, most: int = LARGEST) -> bool:
    """Whether a value is a whole number within a range; True and False are none."""
    return type(value) is int and least <= value <= most


def is_plain(value: Any) -> bool:
    """Whether a setting is a number, a text or null, which checkpoints can hold and compare."""
    return value is None or isinstance(value, int | float | str)


def is_table(value: Any, test: Test) -> bool:
    """Whether a value is a dictionary with texts as keys, each entry of which passes `test`."""
    return isinstance(value, dict) and all(isinstance(key, str) and test(entry) for key, entry in value.items())


def is_series(value: Any) -> bool:
    """Whether a value is a list of pairs of a step and a number."""
    return isinstance(value, list) and all(
        isinstance(point, list | tuple) and len(point) == 2 and is_whole(point[0]) and type(point[1]) in (int, float)
        for point in value
    )


def _is_dictionary(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# Entry -> what it is, and the test of it. Parts of a run test their own entries when they load them.
ENTRIES: dict[str, tuple[str, Test]] = {
    "t": ("a step", is_whole),
    "seed": ("a seed", lambda value: is_whole(value, most=2**32 - 1)),
    "learner_name": ("a text", _is_text),
    "dataset_checksum": ("a text or None", lambda value: value is None or _is_text(value)),
    "settings": ("a table of numbers and texts", lambda value: is_table(value, is_plain)),
    "learner": ("a dictionary or None", lambda value: value is None or _is_dictionary(value)),
    "buffer": ("a dictionary", _is_dictionary),
    "rng": ("a dictionary", _is_dictionary),
    "statistics": ("a table of series", lambda value: is_table(value, is_series)),
    "evaluated_for_the_end": ("True or False", lambda value: isinstance(value, bool)),
}
# Entries that a training state may lack: earlier releases, or a run without an environment, write none.
# changed: which settings each continuation changed, in words; states without it hold no lists among their settings.
OPTIONAL: dict[str, tuple[str, Test]] = {
    "changed": ("a list of texts", lambda value: isinstance(value, list) and all(map(_is_text, value))),
    "evaluations": ("a series", is_series),
    "evaluation_due": ("True or False", lambda value: isinstance(value, bool)),
}


def check_state(file: Path, state: Any) -> None:
    """Raise Damage where `state`, the content of `file`, is no training state."""
    for key, (kind, test) in (ENTRIES | OPTIONAL).items():
        if key in ENTRIES and (not isinstance(state, dict) or key not in state):
            raise Damage(file, f"lacks {key}, so it is no training state of this release")
        if key in state and not test(state[key]):
            raise Damage(file, f"is no training state: its {key} is not {kind}")
