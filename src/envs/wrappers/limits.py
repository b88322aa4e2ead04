"""Time limits that an environment of another library has itself, found by the names of its arguments and attributes.

Many environments report such a limit as a terminal state. Learners would take it for the end of the task and stop
bootstrapping there. So an episode that ends exactly at a limit of the environment's own counts as cut by it.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

_BOUND = frozenset(("max", "maximum", "limit", "horizon", "timeout", "budget", "cutoff", "truncation", "termination"))
_EPISODE = frozenset(
    ("episode", "episodes", "ep", "game", "trial", "rollout", "path", "trajectory", "traj", "env", "epi")
)
_COUNTED = frozenset(("steps", "cycles", "timesteps", "iterations", "rounds", "turns", "ticks", "duration"))
_MEASURED = _COUNTED | {"length", "len", "frames", "moves", "iter", "iters"}
_ONE = frozenset(("step", "timestep", "cycle", "turn", "round", "tick", "frame", "move", "time", "t", "iteration"))
_FILLING = frozenset(
    ("num", "n", "nb", "number", "of", "total", "time", "sim", "simulation", "per", "in", "count", "upper")
)
_KNOWN = _BOUND | _EPISODE | _MEASURED | _ONE | _FILLING | {"tmax"}
# Last words of attributes: of parts that a wrapper may hold, and of collections of settings.
_INNER = frozenset(
    ("env", "environment", "world", "game", "core", "scenario", "simulator", "simulation", "sim", "engine")
)
_CONFIGURATIONS = frozenset(
    ("config", "configuration", "cfg", "conf", "args", "params", "parameters", "settings", "options", "kwargs", "spec")
)
_DEEPEST = 3  # mappings inside mappings


@lru_cache(maxsize=4096)
def words_of(name: str) -> tuple[str, ...]:
    """The words of a name such as `_maxEpisodeSteps`, in lower case: max, episode, steps."""
    words: list[str] = []
    name = re.sub(r"^_[A-Za-z]\w*?__(?=\w)", "", name)  # the class in a private attribute's name: _Env__max_steps
    name = name.replace("time_out", "timeout").replace("cut_off", "cutoff")
    for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name):
        low = word.lower()
        for first in ("max", "n", "time", "step"):  # written together, as in maxsteps, nsteps and timelimit
            rest = low.removeprefix(first)
            if low not in _KNOWN and rest != low and rest in _MEASURED | {"limit"}:
                words.append(first)
                low = rest
        words.append(low)
    return tuple(words)


@lru_cache(maxsize=4096)
def bounds_steps(name: str) -> bool:
    """Whether a name says that it bounds an episode's steps: `max_steps`, `horizon`, `episode_limit`, `timeLimit`."""
    words = words_of(name)
    if not words or not _KNOWN.issuperset(words):
        return False
    per = words.index("per") + 1 if "per" in words else None  # steps_per_episode, but not steps_per_turn
    if per is not None and (per >= len(words) or words[per] not in _EPISODE):
        return False
    if "horizon" in words or words[-1] == "timeout" or words == ("tmax",):
        return True
    units = (
        _MEASURED | _ONE | (_EPISODE if {"limit", "cutoff"}.intersection(words) else frozenset())
    )  # episode_limit, but not max_episodes
    return not _BOUND.isdisjoint(words) and not units.isdisjoint(words)


@lru_cache(maxsize=4096)
def counts_an_episode(name: str) -> bool:
    """Whether a name says how long an episode is: `episode_length`, `steps_per_episode`. It may also be a counter."""
    words = set(words_of(name))
    return _KNOWN.issuperset(words) and not words.isdisjoint(_EPISODE) and not words.isdisjoint(_MEASURED)


@lru_cache(maxsize=4096)
def is_limit_argument(name: str) -> bool:
    """Whether an argument of this name is a time limit; an attribute of some of these names could be a counter."""
    return says_so(name) or may_count_an_episode(name)


def says_so(name: str) -> bool:
    """Whether an argument's name leaves no doubt that it is a time limit."""
    return bounds_steps(name) or counts_an_episode(name) or name in ("T", "limit")


@lru_cache(maxsize=4096)
def may_count_an_episode(name: str) -> bool:
    """Whether a name counts steps, as `steps` and `num_rounds` do: an episode's, or those of a simulator in a step."""
    words = set(words_of(name))
    plain = _COUNTED | _FILLING
    return plain.issuperset(words) and not words.isdisjoint(_COUNTED) and "per" not in words


class OwnLimits:
    """The time limits of one environment.

    given: keywords that it was made with. constructors: what made it, whose defaults hold where `given` is silent.
    own: the limit to use where the user sets none, None where nothing is known.
    """

    def __init__(self, env: Any, given: Mapping[str, Any], constructors: Iterable[Callable[..., Any]] = ()) -> None:
        self._holders = list(_holders(env))
        arguments = _named(given, is_limit_argument)
        attributes = self._attributes(lambda name: bounds_steps(name) or counts_an_episode(name))
        known = {words_of(name) for name in (*given, *attributes)}
        silent = _defaults([*constructors, *_initialisers(env)])
        defaults = {name: value for name, value in silent.items() if words_of(name) not in known}
        if any(map(says_so, (*arguments, *defaults, *attributes))):  # then other counts are of something else
            arguments, defaults = (
                {name: value for name, value in found.items() if says_so(name)} for found in (arguments, defaults)
            )
        self._fixed = {*arguments.values(), *defaults.values(), *attributes.values()}
        self.own = next((min(found.values()) for found in (arguments, defaults, attributes) if found), None)
        self._watched: list[tuple[Any, str]] | None = None
        self._ends: frozenset[int] = frozenset()

    def begin(self) -> None:
        """Read the limits of the episode that has just begun; an environment may choose one for each."""
        if self._watched is None:
            self._watched = [(holder, name) for holder in self._holders for name in dir(holder) if bounds_steps(name)]
        now = {_whole(_value(holder, name)) for holder, name in self._watched}
        limits = self._fixed | {limit for limit in now if limit is not None}
        # A simulator that compares with > instead of >= ends one step later.
        self._ends = frozenset(limits | {limit + 1 for limit in limits})

    def reached(self, t: int) -> bool:
        """Whether an end after `t` steps is one at a limit."""
        return t in self._ends

    def _attributes(self, chosen: Callable[[str], bool]) -> dict[str, int]:
        found: dict[str, int] = {}
        for holder in self._holders:
            own = {name: _value(holder, name) for name in dir(holder) if chosen(name) or _holds_settings(name)}
            data = {name: value for name, value in vars(holder).items() if _is_data(value)}
            found |= _named(data | own, chosen)
        return found


def _holders(env: Any) -> Iterator[Any]:
    """An environment, those that it wraps, and the parts in which simulators keep their settings."""
    waiting = [env, getattr(env, "unwrapped", None)]
    seen: set[int] = set()
    while waiting:
        holder = waiting.pop(0)
        if holder is None or id(holder) in seen or len(seen) > 50 or not hasattr(holder, "__dict__"):
            continue
        seen.add(id(holder))
        yield holder
        waiting += [part for name, part in vars(holder).items() if _last_word(name) in _INNER]


def _initialisers(env: Any) -> list[Callable[..., Any]]:
    kinds = type(getattr(env, "unwrapped", env)).__mro__
    return [vars(kind)["__init__"] for kind in kinds if kind is not object and "__init__" in vars(kind)]


def _defaults(constructors: Iterable[Callable[..., Any]]) -> dict[str, int]:
    """Defaults of limit arguments; the first constructor that has an argument decides."""
    found: dict[str, Any] = {}
    for constructor in constructors:
        try:
            parameters = inspect.signature(constructor).parameters
        except (TypeError, ValueError):  # one that is not written in Python
            continue
        for name, parameter in parameters.items():
            if parameter.default is not parameter.empty:
                found.setdefault(name, parameter.default)
    return _named(found, is_limit_argument)


def _named(values: Mapping[Any, Any], chosen: Callable[[str], bool], depth: int = _DEEPEST) -> dict[str, int]:
    """The whole numbers of at least 1 under names that `chosen` picks, also in mappings and namespaces inside."""
    found: dict[str, int] = {}
    for name, value in values.items():
        if not isinstance(name, str):
            continue
        limit = _whole(value)
        if limit is not None:
            if chosen(name):
                found[name] = limit
        elif depth and (_is_data(value) or _holds_settings(name)):
            found |= _named(_inside(value, chosen), chosen, depth - 1)
    return found


def _inside(value: Any, chosen: Callable[[str], bool]) -> Mapping[Any, Any]:
    """The entries of a collection of settings that may be limits or hold some."""
    if isinstance(value, Mapping):
        return value
    names = [name for name in dir(value) if not name.startswith("__")]
    data = {name: entry for name, entry in getattr(value, "__dict__", {}).items() if _is_data(entry)}
    return data | {name: _value(value, name) for name in names if chosen(name) or _holds_settings(name)}


def _is_data(value: Any) -> bool:
    """Whether a value is a collection of named entries and nothing more."""
    named_tuple = isinstance(value, tuple) and hasattr(value, "_fields")
    return isinstance(value, Mapping | SimpleNamespace) or named_tuple or dataclasses.is_dataclass(value)


def _last_word(name: str) -> str:
    return words_of(name)[-1] if words_of(name) else ""


def _holds_settings(name: str) -> bool:
    return _last_word(name) in _CONFIGURATIONS


def _value(holder: Any, name: str) -> Any:
    try:
        return getattr(holder, name)
    except Exception:  # a property of the simulator's own may fail in any way; what it would say is then not known
        return None


def _whole(value: Any) -> int | None:
    """A whole number of at least 1; None for anything else. Arrays without dimensions are numbers, of any library."""
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if np.isfinite(value) and value >= 1 and value == int(value) else None
