"""What may be given to an environment as `env_args`, and in which form it gets it."""

import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from utils.errors import EnvError, nearest, one_line, shown
from utils.run_keys import RUN_KEYS

# Keywords that the run gives to every environment; a user sets them outside of env_args.
GIVEN_BY_THE_RUN = ("common_reward", "reward_scalarisation", "seed")
# What a constructor raises for values that it cannot take; a missing package is another matter.
REFUSALS = (TypeError, ValueError, AssertionError, LookupError, ArithmeticError)


def own_copy(value: Any) -> Any:
    """A deep copy in which every mapping is a dict, every list a list, every tuple a tuple.

    Sacred hands out read-only containers, which environments can neither sort nor fill. A copy also keeps the run's
    record as it is where an environment changes what it was given.
    """
    if isinstance(value, Mapping):
        return {own_copy(key): own_copy(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [own_copy(entry) for entry in value]
    if type(value) is tuple:
        return tuple(own_copy(entry) for entry in value)
    return copy.deepcopy(value)


def own_arguments(env_args: Mapping[str, Any]) -> dict[str, Any]:
    """The `env_args` for one environment, which no other shares.

    Raises `EnvError` where they hold what the run gives itself, its seed aside, which a run puts there.
    """
    refuse_given_by_the_run(env_args, allowed=("seed",))
    return {str(name): own_copy(value) for name, value in env_args.items()}


def check_run_arguments(env_args: Mapping[str, Any], seed: int | None) -> None:
    """Raise `EnvError` where a user's `env_args` hold what the run gives itself; its own seed may be repeated."""
    refuse_given_by_the_run(env_args, allowed=("seed",) if env_args.get("seed") in (None, seed) else ())


def refuse_given_by_the_run(env_args: Mapping[str, Any], allowed: Iterable[str] = ()) -> None:
    """Raise `EnvError` for the first of `GIVEN_BY_THE_RUN` that `env_args` hold and that is not allowed."""
    for name in GIVEN_BY_THE_RUN:
        if name in env_args and name not in allowed:
            value = env_args[name]
            raise EnvError(
                f"env_args.{name}={value}: the run gives this to its environments; set {name}={value} without env_args"
            )


def check_arguments(key: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise `EnvError` for the first name in `given` that the environment `key` does not know."""
    accepted = set(known)
    for name in given:
        if name in accepted:
            continue
        if name in RUN_KEYS:
            raise EnvError(
                f"env_args.{name} is no argument of {key}, but a key of the run: write {name}=... without env_args"
            )
        offered = accepted - set(GIVEN_BY_THE_RUN)
        raise EnvError(f"env_args.{name} is no argument of {key}; {nearest(name, offered)}")


def refuse_limit(name: str, given: Iterable[str]) -> None:
    """Raise `EnvError` where `given` holds the simulator's time limit `name`, which `time_limit` sets."""
    if name in given:
        raise EnvError(f"env_args.{name} is set by env_args.time_limit: give time_limit instead")


def check_flag(name: str, value: Any) -> None:
    """Raise `EnvError` unless `env_args.<name>` is True or False: `false` in lower case is a text, and as such true."""
    if not isinstance(value, bool):
        raise EnvError(f"env_args.{name} must be True or False, not {value!r}")


def check_flags(given: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> None:
    """Raise `EnvError` for a text in `given` where another library's default is True or False.

    Anything else passes, such as a number, and so does a text where the annotation names more than a flag.
    """
    for name, value in given.items():
        parameter = parameters.get(name)
        if parameter is None or not isinstance(parameter.default, bool) or not isinstance(value, str):
            continue
        if parameter.annotation in (parameter.empty, bool, "bool"):
            check_flag(name, value)


def refusal(key: str, given: Mapping[str, Any], error: Exception) -> EnvError:
    """The sentence for what the environment `key` raised as it was made with the keywords `given`."""
    # After these words Gymnasium repeats every keyword.
    said = one_line(error).partition(" was raised from the environment creator")[0]
    if not said or isinstance(error, LookupError):  # whose text is the missing name alone
        said = f"{type(error).__name__} {said}".rstrip()
    named = ", ".join(
        f"{name}={shown(repr(value) if isinstance(value, str) else value)}" for name, value in given.items()
    )
    return EnvError(f"{key} refuses its env_args{f' {named}' if named else ''}: {said}")
