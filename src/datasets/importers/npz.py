"""The layout `numpy`: episodes of several agents in one `.npz` file, with arrays of its own for each agent."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datasets.importers.archive import ArchivedArray, is_npz, open_npz
from datasets.importers.episodes import episodes_source
from datasets.importers.source import Source
from utils.errors import DatasetError, nearest

_AGENT = re.compile(r"(obs|actions|reward|avail_actions)_(0|[1-9]\d{0,3})")
_WHOLE = ("lengths", "terminated", "reward", "state")
_BOUNDS = ("action_low", "action_high", "n_actions")
Arrays = Mapping[str, ArchivedArray]


class Npz:
    """The importer `numpy`.

    `lengths` (E,) holds each episode's steps, `terminated` (E,) whether a terminal state ended it. The episodes' rows
    follow one another in `obs_0`, `obs_1`, ... (the sum of L + 1 rows), `actions_0`, ... (the sum of L, or of L + 1
    rows), `reward` or `reward_0`, ... (of L), and where they exist `state` and `avail_actions_0`, ... (of L + 1).
    `action_low` and `action_high`, or `n_actions`, are as in `datasets.importers.episodes.from_episodes`.
    """

    def recognise(self, path: Path) -> str | None:
        if not is_npz(path):
            return None
        with open_npz(path) as arrays:
            if "obs_0" not in arrays:  # enough, so that `open` can say what else is missing
                return None
            agents = sum(name.startswith("obs_") for name in arrays)
            counted = f"{math.prod(arrays['lengths'].shape)} episodes" if "lengths" in arrays else "episodes"
            return f"{counted} of {agents} agents, with arrays of its own for each"

    def open(self, path: Path, options: Mapping[str, Any]) -> Source:
        """Check names and numbers of rows; the episodes are read one after another."""
        with open_npz(path) as arrays:
            names, n_agents = _checked_names(arrays, path)
            lengths = _lengths(arrays, path)
            has_next = _check_rows(arrays, names, lengths, path)
            bounds = {key: arrays[key].whole().tolist() for key in _BOUNDS if key in arrays}
            ends = arrays["terminated"].whole()  # (E,)
        episodes = _episodes(path, names, n_agents, lengths, ends, has_next)
        return episodes_source(
            episodes, {"environment": None, "made_by": {"source": path.name}}, **bounds, origin=str(path)
        )


IMPORTER = Npz()


def _checked_names(arrays: Arrays, path: Path) -> tuple[list[str], int]:
    """Names of the arrays with rows, and the number of agents. Raises DatasetError for one that lacks or is unknown."""
    names = []
    agents: dict[str, set[int]] = {}
    for name in arrays:
        found = _AGENT.fullmatch(name)
        if found:
            agents.setdefault(found[1], set()).add(int(found[2]))
        elif name not in _WHOLE + _BOUNDS:
            known = [*_WHOLE, *_BOUNDS, "obs_0", "actions_0", "reward_0", "avail_actions_0"]
            raise DatasetError(f"{path} holds the array '{name}'; {nearest(name, known)}")
        if name not in ("lengths", "terminated", *_BOUNDS):
            names.append(name)
    n_agents = len(agents.get("obs", ()))
    wanted = [f"{key}_{i}" for key in agents for i in range(max(n_agents, 1))]
    needed = ["lengths", "terminated", "obs_0", "actions_0", *wanted]
    needed += [] if "reward" in agents else ["reward"]
    for name in needed:
        if name not in arrays:
            raise DatasetError(f"{path} lacks the array '{name}'; it must hold {', '.join(dict.fromkeys(needed))}")
    over = [f"{key}_{i}" for key, numbers in agents.items() for i in sorted(numbers) if i >= n_agents]
    if over:
        raise DatasetError(f"{path} holds '{over[0]}' beside obs of {n_agents} agents; leave it out")
    if "reward" in agents and "reward" in arrays:
        raise DatasetError(
            f"{path} holds 'reward' and 'reward_0'; leave one out: 'reward' is the team's, 'reward_0', ... are one for "
            "each agent"
        )
    return names, n_agents


def _lengths(arrays: Arrays, path: Path) -> np.ndarray:
    """Each episode's number of steps, (E,)."""
    for name in ("lengths", "terminated"):
        if len(arrays[name].shape) != 1:
            raise DatasetError(f"{path}: {name} has shape {arrays[name].shape}; it must be (episodes,)")
    lengths = arrays["lengths"].whole()
    if lengths.dtype.kind not in "iu" or not len(lengths) or lengths.min() < 1:
        raise DatasetError(f"{path}: lengths must hold at least one whole number of steps, each at least 1")
    if arrays["terminated"].shape[0] != len(lengths):
        raise DatasetError(f"{path}: terminated has {arrays['terminated'].shape[0]} entries, lengths {len(lengths)}")
    return lengths


def _check_rows(arrays: Arrays, names: list[str], lengths: np.ndarray, path: Path) -> bool:
    """Whether actions have a row more than steps. Raises DatasetError where an array has another number of rows."""
    steps = sum(lengths.tolist())  # of Python's integers, which do not overflow
    rows = steps + len(lengths)
    first = arrays["actions_0"].shape[:1]
    has_next = first == (rows,)
    for name in names:
        short = name.startswith("reward") or (name.startswith("actions") and not has_next)
        expected = steps if short else rows
        if arrays[name].shape[:1] != (expected,):
            raise DatasetError(
                f"{path}: {name} has shape {arrays[name].shape}; by lengths it must have {expected} rows"
            )
    return has_next


def _episodes(
    path: Path, names: list[str], n_agents: int, lengths: np.ndarray, ends: np.ndarray, has_next: bool
) -> Iterator[dict[str, Any]]:
    """The episodes as dictionaries, with one array an agent."""
    with open_npz(path) as arrays:
        read = dict.fromkeys(names, 0)  # rows of each array

        def take(name: str, n_rows: int) -> np.ndarray:
            start = read[name]
            read[name] += n_rows
            return arrays[name][start : start + n_rows]

        for steps, end in zip(lengths.tolist(), ends, strict=True):
            episode: dict[str, Any] = {"terminated": end}
            for key in ("obs", "actions", "reward", "avail_actions", "state"):
                n_rows = steps if key == "reward" or (key == "actions" and not has_next) else steps + 1
                if key in read:
                    episode[key] = take(key, n_rows)
                elif f"{key}_0" in read:
                    episode[key] = [take(f"{key}_{i}", n_rows) for i in range(n_agents)]
            yield episode
