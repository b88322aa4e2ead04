"""Names: which environments exist, which keywords they take, and what a misspelt one was probably meant to be."""

import pkgutil
import re
from collections.abc import Iterable

from utils.errors import EnvError, nearest

OWN_KEYS = ("simple_spread",)


def environment_keys() -> list[str]:
    """Our own keys and every versioned environment module of the installed mpe2, which is found but not imported."""
    import mpe2

    modules = (module.name for module in pkgutil.iter_modules(mpe2.__path__))
    return [*OWN_KEYS, *sorted(name for name in modules if re.search(r"_v\d+$", name))]


def check_key(key: str) -> str:
    """Returns `key` if there is such an environment; raises `EnvError` with the nearest match and the list if not."""
    known = environment_keys()
    if key not in known:
        raise EnvError(f"env_args.key={key!r} is no mpe environment; {nearest(str(key), known)}")
    return key


def check_arguments(key: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises `EnvError` for the first of the `given` env_args that the environment does not know."""
    options = sorted(known)
    for name in given:
        if name not in options:
            raise EnvError(f"env_args.{name} is no argument of {key}; {nearest(name, options)}")


def check_time_limit(time_limit: int, name: str = "time_limit") -> None:
    """Raises `EnvError` unless an episode's limit, `env_args.<name>`, is a whole number of at least 1."""
    if isinstance(time_limit, bool) or not isinstance(time_limit, int) or time_limit < 1:
        raise EnvError(f"env_args.{name} must be a whole number of at least 1, not {time_limit}.")
