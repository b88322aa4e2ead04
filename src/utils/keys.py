"""Declarations of configuration keys: once, beside the code that reads a key, with its type, range and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace, UnionType
from typing import Any

from utils.errors import ConfigError, shown
from utils.plain_values import LARGEST, spelled

# Networks compute in single precision, where torch raises RuntimeError for many a larger number.
LARGEST_SINGLE = 2.0**128 - 2.0**104


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`: whole ones within 64 bits, others within single precision.

    whole: only whole numbers; above: `low` is excluded; null: null is allowed; word: text that is allowed, if any.
    """

    low: float
    high: float = float("inf")
    whole: bool = False
    above: bool = False
    null: bool = False
    word: str | None = None

    def __contains__(self, value: Any) -> bool:
        if value is None:
            return self.null
        if isinstance(value, str):
            return value == self.word
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if isinstance(value, int) or self.whole:
            if not -LARGEST <= value < LARGEST:  # nan fails this too
                return False
        elif not -LARGEST_SINGLE <= value <= LARGEST_SINGLE:  # nor this
            return False
        if self.whole and int(value) != value:
            return False
        return bool((self.low < value if self.above else self.low <= value) and value <= self.high)

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        start = f"above {self.low:.15g}" if self.above else f"of at least {self.low:.15g}"
        end = "" if self.high == float("inf") else f" and at most {self.high:.15g}"
        word = "" if self.word is None else f", or {self.word}"
        return f"{kind} {start}{end}{', or None' if self.null else ''}{word}"


COUNT = Range(1, whole=True)
COUNT_OR_NULL = Range(1, whole=True, null=True)
INDEX = Range(0, whole=True)
SHARE = Range(0, 1)
POSITIVE = Range(0, above=True)
POSITIVE_OR_NULL = Range(0, above=True, null=True)
WEIGHT = Range(0)


TEXT_OR_NULL = str | None
LIST_OR_NULL: Any = list | None
NAMES: dict[Any, str] = {bool: "True or False", str: "text", TEXT_OR_NULL: "text, or None", dict: "a mapping",
                         LIST_OR_NULL: "a list, or None"}  # fmt: skip


Where = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Key:
    """One key: its meaning, in one line, and the values that it takes.

    meaning: comments in YAML files begin with it. allowed: a `Range` of numbers, a tuple of choices (text, and None for
    null), or one of the types in `NAMES`. optional: whether a configuration may lack the key. fallback: another key
    that is used where this one is missing. actions: `continuous` or `discrete` where the key is read for only one kind
    of actions, None for both. acts: of a learner's key, whether a policy reads it when it acts. where: other keys with
    their values that make a run read this one, any of which will do; empty: every run reads it.
    """

    meaning: str
    allowed: Range | tuple[str | None, ...] | type | UnionType
    optional: bool = False
    fallback: str | None = None
    actions: str | None = None
    acts: bool = False
    where: Where = field(default_factory=dict, hash=False)

    def check(self, name: str, value: Any) -> Any:
        """Return the value: numbers as numbers where text spells them, whole ones as integers (1e4 is 10000).

        Raises ConfigError where it is not allowed.
        """
        if isinstance(self.allowed, Range):
            value = spelled(value)
            if value not in self.allowed:
                large = isinstance(value, int | float) and abs(value) >= LARGEST and value <= self.allowed.high
                most = f" and within {'64 bits' if self.allowed.whole else 'single precision'}" if large else ""
                raise ConfigError(f"{name}={shown(value)}: this must be {self}{most}")
            return int(value) if self.allowed.whole and value is not None and value != self.allowed.word else value
        if isinstance(self.allowed, tuple):
            if value not in self.allowed:
                raise ConfigError(f"{name}={shown(value)}: choose one of {', '.join(map(str, self.allowed))}")
        elif not isinstance(value, self.allowed):
            raise ConfigError(f"{name}={shown(value)}: this must be {self}")
        return value

    def __str__(self) -> str:
        """The allowed values, for messages and tables."""
        if isinstance(self.allowed, tuple):
            return " | ".join(map(str, self.allowed))
        return str(self.allowed) if isinstance(self.allowed, Range) else NAMES[self.allowed]


Keys = Mapping[str, Key]


def inherited(owner: Any, attribute: str) -> dict[str, Any]:
    """The mapping `attribute` of a class merged over those of its base classes; empty where none declares it."""
    found: dict[str, Any] = {}
    for each in reversed(getattr(owner, "__mro__", ())):
        found |= vars(each).get(attribute, {})
    return found


def is_read(name: str, values: Mapping[str, Any], keys: Keys, actions: str | None) -> bool:
    """Whether a run with these values reads the declared key `name`: a key that is not read makes no other one read.

    actions: their kind, None where it is not known, which leaves the keys of both.
    """
    key = keys[name]
    if actions is not None and key.actions not in (None, actions):
        return False
    return not key.where or any(
        values.get(other) in wanted and (other not in keys or is_read(other, values, keys, actions))
        for other, wanted in key.where.items()
    )


def check_keys(args: SimpleNamespace, keys: Keys, reader: str, config: str, continuous: bool) -> None:
    """Check the keys that `reader` reads with these settings.

    config: name of the algorithm file that has all of these keys. continuous: whether actions are continuous. Raises
    ConfigError for a missing key and for a value that is not allowed.
    """
    actions = "continuous" if continuous else "discrete"
    read = {name: key for name, key in keys.items() if is_read(name, vars(args), keys, actions)}
    missing = [name for name, key in read.items() if not _has(args, name, key)]
    if missing:
        raise ConfigError(f"{reader} needs {', '.join(missing)}, which this configuration lacks: use --config={config}")
    for name, key in read.items():
        if hasattr(args, name):
            key.check(name, getattr(args, name))


def _has(args: SimpleNamespace, name: str, key: Key) -> bool:
    return hasattr(args, name) or key.optional or (key.fallback is not None and hasattr(args, key.fallback))
