"""Whether a simulator may give action masks in `info`, before it has given any."""

import inspect
import sys
from typing import Any

from envs.wrappers.limits import holders


def may_give_masks(env: Any) -> bool:
    """Whether the source of an environment, or of one that it wraps, names `action_mask` or cannot be read.

    A reset would tell more, but begins other episodes: not every simulator's seed decides the next one alone.
    """
    kinds = {kind for holder in holders(env) for kind in type(holder).__mro__}
    return any("action_mask" in _source(module) for module in {kind.__module__ for kind in kinds} - {"builtins"})


def _source(module: str) -> str:
    """A module's source; where there is none, what stands for the worst."""
    try:
        return inspect.getsource(sys.modules[module])
    except (OSError, TypeError, KeyError):
        return "action_mask"
