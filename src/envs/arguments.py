"""What may be given to an environment as `env_args`, and in which form it gets it."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from utils.errors import EnvError, nearest
from utils.run_keys import RUN_KEYS

# Keywords that the run gives to every environment; a user sets them outside of env_args.
GIVEN_BY_THE_RUN = ("common_reward", "reward_scalarisation", "seed")


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
