"""How a configuration's keys are declared: once, beside the code that reads them, with type, range and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace, UnionType
from typing import Any

from utils.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; `whole` ones only, `above` excludes `low`, `null` allows null as well."""

    low: float
    high: float = float("inf")
    whole: bool = False
    above: bool = False
    null: bool = False

    def __contains__(self, value: Any) -> bool:
        if value is None:
            return self.null
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.whole and not float(value).is_integer():
            return False
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        start = f"above {self.low:.15g}" if self.above else f"of at least {self.low:.15g}"
        end = "" if self.high == float("inf") else f" and at most {self.high:.15g}"
        return f"{kind} {start}{end}{', or None' if self.null else ''}"


COUNT = Range(1, whole=True)
COUNT_OR_NULL = Range(1, whole=True, null=True)
INDEX = Range(0, whole=True)
SHARE = Range(0, 1)
POSITIVE = Range(0, above=True)
WEIGHT = Range(0)


TEXT_OR_NULL = str | None
NAMES: dict[Any, str] = {bool: "True or False", str: "text", TEXT_OR_NULL: "text, or None", dict: "a mapping"}


@dataclass(frozen=True)
class Key:
    """One key: what it means, in one line, and which values it takes.

    The comments of the YAML files begin with the meaning. allowed: a `Range` of numbers, a tuple of choices (text; None
    among them allows null), or one of the types in `NAMES`.
    """

    meaning: str
    allowed: Range | tuple[str | None, ...] | type | UnionType

    def check(self, name: str, value: Any) -> Any:
        """The value, a whole number as an integer (1e4 is 10000). Raises ConfigError where it is not allowed."""
        if isinstance(self.allowed, Range):
            if value not in self.allowed:
                raise ConfigError(f"{name}={value}: this must be {self}")
            return int(value) if self.allowed.whole and value is not None else value
        if isinstance(self.allowed, tuple):
            if value not in self.allowed:
                raise ConfigError(f"{name}={value}: choose one of {', '.join(map(str, self.allowed))}")
        elif not isinstance(value, self.allowed):
            raise ConfigError(f"{name}={value}: this must be {self}")
        return value

    def __str__(self) -> str:
        """The allowed values, for sentences and tables."""
        if isinstance(self.allowed, tuple):
            return " | ".join(map(str, self.allowed))
        return str(self.allowed) if isinstance(self.allowed, Range) else NAMES[self.allowed]


Keys = Mapping[str, Key]


def inherited(owner: Any, attribute: str) -> dict[str, Any]:
    """The mapping `attribute` of a class, with those of its base classes under it; empty where none declares it."""
    found: dict[str, Any] = {}
    for each in reversed(getattr(owner, "__mro__", ())):
        found |= vars(each).get(attribute, {})
    return found


def check_keys(args: SimpleNamespace, keys: Keys, reader: str, config: str) -> None:
    """Raise ConfigError, one sentence, where `reader` lacks one of its keys or finds a value that is not allowed.

    config: the configuration that has them all.
    """
    missing = [name for name in keys if not hasattr(args, name)]
    if missing:
        raise ConfigError(f"{reader} needs {', '.join(missing)}, which this configuration lacks: use --config={config}")
    for name, key in keys.items():
        key.check(name, getattr(args, name))
