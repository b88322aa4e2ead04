"""Doubt about episode ends: an environment's time limit that was recorded as a terminal state."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets.dataset import OfflineDataset

_FEWEST = 2  # one episode alone says nothing about the others
_MANY = 5  # episodes of the greatest length, of which each may have ended there by chance
_TIMES = 3  # as many of them as of any length that is little shorter
_LIMIT_OF_BRIDGE = 50  # below its limit, Bridge's terminals are true ends: its optimal episodes all have 8 steps


def doubtful_ends(lengths: np.ndarray, terminal: np.ndarray, environment: Mapping[str, Any]) -> str | None:
    """A warning where episodes that end by a terminal seem to end at a time limit; None where nothing points to it.

    Learners do not bootstrap from a terminal, so a limit recorded as one biases every value. It is likely where all
    episodes end by a terminal after the same number of steps, where all that end at the known limit do, and where many
    more end by a terminal at the greatest length than at any other in its upper half.

    lengths: (E,) in steps. terminal: (E,) whether the episode ends by a terminal. environment: a card's entry.
    """
    if len(lengths) < _FEWEST:
        return None
    longest = int(lengths.max())
    env_args = environment.get("env_args") or {}
    stated = [env_args.get(name) for name in ("time_limit", "episode_limit")]
    known = [limit for limit in stated if isinstance(limit, int)]
    if environment.get("env") == "bridge" and longest < min(known, default=_LIMIT_OF_BRIDGE):
        return None
    at_longest = lengths == longest
    if not terminal[at_longest].all():
        return None
    if at_longest.all():
        which = f"all {len(lengths)} episodes"
    elif longest in known and at_longest.sum() >= _FEWEST:
        which = f"all {int(at_longest.sum())} episodes that reach the time limit"
    elif _stands_out(lengths):
        which = f"{int(at_longest.sum())} of {len(lengths)} episodes, which are the longest ones,"
    else:
        return None
    shorter = f"a time limit of {longest - 1} steps, or with " if longest > 1 else ""
    return (
        f"{which} end by a terminal after {longest} steps: if that is a time limit, it must not be a terminal, from "
        f"which learners do not bootstrap; play again with {shorter}an environment that reports truncated"
    )


def _stands_out(lengths: np.ndarray) -> bool:
    """Whether many more of `lengths` (E,) are the greatest one than are any other in its upper half.

    True ends come at various times: what has not ended by then all stops at a limit.
    """
    longest = lengths.max()
    shorter = lengths[(lengths < longest) & (lengths > longest / 2)]  # (E',)
    most = int(np.bincount(shorter).max()) if len(shorter) else 0
    return int((lengths == longest).sum()) >= max(_MANY, _TIMES * most)


def doubtful_dataset(dataset: OfflineDataset) -> str | None:
    """What `doubtful_ends` says of a dataset's episodes."""
    offsets = dataset.episode_offsets  # (E + 1,)
    # An episode's final row holds no step; the terminal stands in the row before.
    terminal = np.asarray(dataset.arrays["terminated"][offsets[1:] - 2]) > 0  # (E,)
    return doubtful_ends(np.diff(offsets) - 1, terminal, dataset.card["environment"])
