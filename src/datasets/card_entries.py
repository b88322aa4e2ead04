"""The entries of a dataset card that any code reads: the one table of them, with their types and ranges."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from datasets.declared import FORMAT_VERSION
from utils.errors import DatasetError, printable

MOST_ACTIONS = 1 << 16
_MOST_ROWS = 1 << 40
_RETURN = float(np.finfo(np.float32).max)  # largest reference return
_SHOWN = 80


@dataclass(frozen=True)
class Number:
    """Numbers from `low` to `high`; whole: only integers, of which 3.0 and True are none."""

    low: float = -sys.float_info.max
    high: float = sys.float_info.max
    whole: bool = False

    def __contains__(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if self.whole:
            return f"a whole number from {int(self.low)} to {int(self.high)}"
        return "a finite number" + (" of at least 0" if self.low == 0 else "")


@dataclass(frozen=True)
class Entry:
    """One entry: what it may be, whether a card may lack it, and what to do where it is wrong."""

    allowed: Number | type | tuple[str, ...]
    optional: bool = False
    advice: str = ""

    def __contains__(self, value: Any) -> bool:
        if isinstance(self.allowed, type):
            return isinstance(value, self.allowed)
        return (not isinstance(self.allowed, tuple) or isinstance(value, str)) and value in self.allowed

    def __str__(self) -> str:
        if isinstance(self.allowed, tuple):
            return " or ".join(f"'{choice}'" for choice in self.allowed)
        return _KINDS[self.allowed] if isinstance(self.allowed, type) else str(self.allowed)


_KINDS: dict[type, str] = {str: "text", dict: "a mapping", list: "a list"}
_ENVIRONMENT = (
    "it needs environment: {'env': name, 'env_args': {...}}, in which scores are measured; 'env': None for none"
)
_REFERENCE = "state finite numbers `random` and `expert` and a text `source`, or reference: None"
_SIZE, _COUNT = Number(1, 1 << 31, whole=True), Number(0, _MOST_ROWS, whole=True)
_QUANTILES = ("0.05", "0.25", "0.5", "0.75", "0.95")

# A path of names, joined by "/", for every entry. An entry within an optional one is needed where that one is there.
# `action_low` and `action_high` depend on the actions: `card_check` holds their form.
STATED: dict[str, Entry] = {
    "environment": Entry(dict, advice=_ENVIRONMENT),
    "environment/env": Entry(str, optional=True, advice=_ENVIRONMENT),
    "environment/env_args": Entry(dict, advice="such as {'key': 'simple_spread'}"),
    "environment/env_args/key": Entry(str, optional=True),
    "action_space": Entry(("continuous", "discrete")),
    "n_actions": Entry(Number(1, MOST_ACTIONS, whole=True)),
    "behaviour": Entry(str),
    "quality": Entry(str),
    "made_by": Entry(dict),
    "reference": Entry(dict, optional=True, advice=_REFERENCE),
    "reference/random": Entry(Number(-_RETURN, _RETURN), advice=_REFERENCE),
    "reference/expert": Entry(Number(-_RETURN, _RETURN), advice=_REFERENCE),
    "reference/source": Entry(str, advice=_REFERENCE),
}
COMPUTED: dict[str, Entry] = {
    "format_version": Entry(Number(FORMAT_VERSION, FORMAT_VERSION, whole=True)),
    "counts": Entry(dict),
    "counts/episodes": Entry(Number(1, _MOST_ROWS, whole=True)),
    "counts/transitions": Entry(Number(1, _MOST_ROWS, whole=True)),
    "counts/min_length": Entry(Number(1, _MOST_ROWS, whole=True)),
    "counts/max_length": Entry(Number(1, _MOST_ROWS, whole=True)),
    "counts/terminals": Entry(_COUNT),
    "counts/time_limits": Entry(_COUNT),
    "returns": Entry(dict),
    "returns/definition": Entry(str),
    "returns/mean": Entry(Number()),
    "returns/std": Entry(Number(0)),
    "returns/min": Entry(Number()),
    "returns/max": Entry(Number()),
    "returns/quantiles": Entry(dict),
    **{f"returns/quantiles/{quantile}": Entry(Number()) for quantile in _QUANTILES},
    "shapes": Entry(dict),
    "shapes/n_agents": Entry(_SIZE),
    "shapes/obs": Entry(_SIZE),
    "shapes/state": Entry(_SIZE),
    "obs_mean": Entry(list),
    "obs_std": Entry(list),
    "state_mean": Entry(list, optional=True),
    "state_std": Entry(list, optional=True),
    "checksum": Entry(str),
}


def check_entries(card: Mapping[str, Any], entries: Mapping[str, Entry]) -> None:
    """Raise DatasetError, naming the entry, unless a card holds `entries` as their table says."""
    for path, entry in entries.items():
        *parents, name = path.split("/")
        place = _within(card, parents)
        if place is None or (entry.optional and place.get(name) is None):
            continue
        if name not in place and not parents:
            advice = entry.advice or "write the file with write_dataset"
            raise DatasetError(f"the dataset card lacks '{name}'; {advice}")
        if place.get(name) not in entry:
            advice = f"; {entry.advice}" if entry.advice else ""
            raise DatasetError(
                f"the dataset card's {path.replace('/', '.')} is {shown(place.get(name))}; it must be {entry}{advice}"
            )


def shown(value: Any) -> str:
    """A value of a card for a message: one line, not too long."""
    text = printable(repr(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _within(card: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any] | None:
    """The mapping at a path of names; None where an optional one on the way is missing."""
    place: Any = card
    for name in names:
        place = place.get(name)
        if place is None:
            return None
    return place if isinstance(place, Mapping) else None
