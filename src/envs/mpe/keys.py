"""Checks of env_args: environment keys and time limits."""

import pkgutil
import re

from utils.errors import EnvError, nearest

OWN_KEYS = ("simple_spread", "simple_tag", "simple_world")
DTYPES = ("float64", "float32")  # of the vectorised physics


def environment_keys() -> list[str]:
    """Our own keys and the versioned environment modules of the installed mpe2, listed without importing them."""
    import mpe2

    modules = (module.name for module in pkgutil.iter_modules(mpe2.__path__))
    return [*OWN_KEYS, *sorted(name for name in modules if re.search(r"_v\d+$", name))]


def check_key(key: str) -> str:
    """Return `key` unchanged. Raises `EnvError` with the nearest match where no environment has this key."""
    known = environment_keys()
    if key not in known:
        raise EnvError(f"env_args.key={key!r} is no mpe environment; {nearest(str(key), known)}")
    return key


def check_time_limit(time_limit: int, name: str = "time_limit") -> None:
    """Raise `EnvError` unless the time limit `env_args.<name>` is a whole number of at least 1."""
    if isinstance(time_limit, bool) or not isinstance(time_limit, int) or time_limit < 1:
        raise EnvError(f"env_args.{name} must be a whole number of at least 1, not {time_limit}")


def check_dtype(dtype: str) -> str:
    """Return `dtype` unchanged. Raises `EnvError` unless it is one of `DTYPES`."""
    if dtype not in DTYPES:
        raise EnvError(f"env_args.dtype must be {' or '.join(DTYPES)}, not {dtype!r}")
    return dtype
