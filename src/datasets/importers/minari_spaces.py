"""Spaces as Minari's metadata states them, in JSON, or as a file's groups show them: how many numbers a row has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from utils.errors import DatasetError, shown

_MOST_LEVELS = 20
_MOST_NUMBERS = 1 << 24
_GROUPS = ("Dict", "Tuple")
MASKED = ("observation", "action_mask")  # a PettingZoo agent's observation with the mask of its actions


@dataclass(frozen=True)
class Space:
    """A space. parts: of a Dict or Tuple, by their names in the file. sizes: of each number's one-hot code.

    size: of a row, with whole numbers as one-hot codes. low, high: of a Box, (size,); None where they are not known.
    """

    kind: str
    size: int = 0
    parts: Mapping[str, Space] = field(default_factory=dict)
    sizes: tuple[int, ...] = ()
    start: tuple[int, ...] = ()
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def leaves(self, name: str = "") -> Iterator[tuple[str, Space]]:
        """The spaces that are no Dict or Tuple, by their place below this one."""
        if self.kind not in _GROUPS:
            yield name, self
        for key, part in self.parts.items():
            yield from part.leaves(f"{name}/{key}".lstrip("/"))


def stated_space(value: Any, level: int = 0) -> Space:
    """The space that JSON states. Raises ValueError, half a sentence, for one that cannot be read."""
    if not isinstance(value, dict) or level > _MOST_LEVELS:
        raise ValueError(f"is no description of a space ({shown(value)})")
    kind = value.get("type")
    if kind in _GROUPS:
        inner = value.get("subspaces")
        if kind == "Tuple" and isinstance(inner, list):
            inner = {f"_index_{index}": part for index, part in enumerate(inner)}
        if not isinstance(inner, dict) or not inner:
            raise ValueError(f"has a {kind} without subspaces")
        parts = {str(name): stated_space(part, level + 1) for name, part in inner.items()}
        return Space(str(kind), sum(part.size for part in parts.values()), parts)
    try:
        if kind == "Box":
            return _box(value)
        if kind in ("Discrete", "MultiDiscrete"):
            sizes = np.atleast_1d(np.asarray(value["n" if kind == "Discrete" else "nvec"], np.int64)).ravel()
            start = np.broadcast_to(np.asarray(value.get("start", 0), np.int64).ravel(), sizes.shape)
            if sizes.min() < 1 or sizes.sum() > _MOST_NUMBERS:
                raise ValueError
            return Space(str(kind), int(sizes.sum()), {}, tuple(sizes.tolist()), tuple(start.tolist()))
        if kind == "MultiBinary":
            return Space("MultiBinary", _size(np.atleast_1d(value["n"]).tolist()))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"has a {kind} that is not sound ({shown(value)})") from error
    raise ValueError(f"has a space of type {shown(kind)}; Box, Discrete, MultiDiscrete, MultiBinary can be read")


def shown_space(entry: h5py.Group | h5py.Dataset, members: Any, actions: bool, n_actions: int | None = None) -> Space:
    """The space that a file's arrays show, where no metadata states one.

    members: gives an entry's members by their names, in order. n_actions: of each agent, where actions are discrete.
    Raises ValueError as `stated_space` does.
    """
    if isinstance(entry, h5py.Group):
        parts = {name: shown_space(part, members, actions, n_actions) for name, part in members(entry).items()}
        if not parts:
            raise ValueError("is an empty group")
        return Space("Dict", sum(part.size for part in parts.values()), parts)
    if actions and entry.dtype.kind in "biu":
        if math.prod(entry.shape[1:]) != 1:
            raise ValueError(f"has the shape {shown(entry.shape)}; an agent's discrete action is one number a step")
        if n_actions is None:
            raise ValueError("are whole numbers, and no metadata say how many there are; add --n-actions")
        return Space("Discrete", n_actions, {}, (n_actions,), (0,))
    return Space("Box", _size(entry.shape[1:]))


def agents(observation: Space, action: Space) -> list[str] | None:
    """Names of the agents, each a part of both spaces; None where the spaces are those of one agent."""
    if action.kind not in _GROUPS or observation.kind != action.kind or set(action.parts) - set(observation.parts):
        return None
    extra = set(observation.parts) - set(action.parts) - {"state"}
    return None if extra else list(action.parts)


def check_action(space: Space, place: str) -> None:
    """Raise DatasetError unless this is an agent's action: some continuous numbers or one choice."""
    if space.kind not in ("Box", "Discrete"):
        raise DatasetError(
            f"{place} is a {space.kind}; an agent's action must be a Box or a Discrete space, and agents must have the "
            "same names in both spaces"
        )


def _box(value: Mapping[str, Any]) -> Space:
    size = _size(value["shape"])
    dtype = np.dtype(str(value.get("dtype", "float32")))
    if dtype == np.uint8 and len(value["shape"]) == 3:
        raise DatasetError("images cannot be imported, as observations are vectors; encode them first")
    low, high = (np.broadcast_to(np.asarray(value[key], np.float64), value["shape"]).ravel() for key in ("low", "high"))
    return Space("Box", size, low=low, high=high)


def _size(shape: Any) -> int:
    size = math.prod(int(length) for length in shape)
    if not 0 < size <= _MOST_NUMBERS or any(int(length) < 1 for length in shape):
        raise ValueError(f"has the shape {shown(shape)}")
    return size
