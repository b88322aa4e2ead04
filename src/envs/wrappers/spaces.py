"""Spaces of other libraries as our arrays: flat, padded to the agent with the largest space, and masked."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from envs.multiagentenv import ActionSpace, check_continuous_actions, check_discrete_actions
from utils.bounds import Bounds, shortest
from utils.errors import EnvError, one_line


class Observations:
    """Observations as O float32 numbers per agent: boxes flattened, discrete spaces one-hot, padded with zeros."""

    def __init__(self, key: str, names: Sequence[str], observation_spaces: Sequence[Any]) -> None:
        self._key, self._names = key, list(names)
        self._spaces = [without_mask(space) for space in observation_spaces]
        for name, space in zip(names, self._spaces, strict=True):
            if not isinstance(space, spaces.Space) or not space.is_np_flattenable:
                raise EnvError(
                    f"agent {name} of {key} observes {space}, which has no fixed size: "
                    "wrap the environment so that it observes a Box, Discrete or MultiDiscrete space"
                )
        self.size = max(spaces.flatdim(space) for space in self._spaces)

    def rows(self, observations: Sequence[Any], before: Sequence[np.ndarray] | None) -> list[np.ndarray]:
        """N rows (O,). A missing observation (None) repeats its row of `before`, or is zeros where that is None."""
        return [
            self._row(i, observation, None if before is None else before[i])
            for i, observation in enumerate(observations)
        ]

    def _row(self, agent: int, observation: Any, before: np.ndarray | None) -> np.ndarray:
        row = np.zeros(self.size, dtype=np.float32)
        if observation is None:
            return row if before is None else before
        space = self._spaces[agent]
        expected = spaces.flatdim(space)
        try:
            flat: Any = np.ravel(observation) if isinstance(space, spaces.Box) else spaces.flatten(space, observation)
            fits = len(flat) == expected
            row[:expected] = flat if fits else 0
        except (TypeError, ValueError, LookupError):
            fits = False
        if not fits:
            raise EnvError(
                f"agent {self._names[agent]} of {self._key} is to observe {space}, and the environment gives "
                f"{one_line(repr(observation))}; correct its observation_space, or what it gives"
            )
        return row


class Actions:
    """Actions as A numbers per agent (continuous) or one of A choices (discrete); A is the largest agent's size."""

    def __init__(self, key: str, names: Sequence[str], action_spaces: Sequence[Any]) -> None:
        self._spaces = list(action_spaces)
        self.names = list(names)
        kinds = [_action_kind(key, name, space) for name, space in zip(names, self._spaces, strict=True)]
        if len(set(kinds)) != 1:
            raise EnvError(f"{key} mixes discrete and continuous actions: wrap it so that all agents have one kind")
        self.kind: ActionSpace = kinds[0]
        if self.kind == "continuous":
            self.widths = np.array([int(np.prod(space.shape)) for space in self._spaces])  # (N,)
        else:
            self.widths = np.array([int(space.n) for space in self._spaces])  # (N,)
        self.size = int(self.widths.max())
        if self.kind == "continuous":
            self.low, self.high = self._bounds()
        self.available = [[int(action < own) for action in range(self.size)] for own in self.widths]

    def _bounds(self) -> tuple[Bounds, Bounds]:
        """Each agent's own bounds, in the short form where they agree; `split` applies them too."""
        low, high, has = (np.zeros((len(self._spaces), self.size)) for _ in range(3))  # (N, A) each
        for i, (space, own) in enumerate(zip(self._spaces, self.widths, strict=True)):
            low[i, :own], high[i, :own], has[i, :own] = space.low.ravel(), space.high.ravel(), 1
        return shortest(low, high, has > 0)

    def split(self, actions: np.ndarray) -> list[Any]:
        """Joint actions (N,), (N, 1) or (N, A) as a list of one action per agent, without padding and within bounds."""
        if self.kind == "discrete":
            chosen = check_discrete_actions(actions, (len(self._spaces),), self.widths)
            return [int(action) + int(space.start) for action, space in zip(chosen, self._spaces, strict=True)]
        rows = check_continuous_actions(actions, (len(self._spaces), self.size))
        # In the space's own dtype: for any other, mpe2 warns for every agent and step.
        return [
            np.clip(row[:own].astype(space.dtype).reshape(space.shape), space.low, space.high)
            for row, own, space in zip(rows, self.widths, self._spaces, strict=True)
        ]

    def masked(self, masks: Sequence[Any], acting: Sequence[bool]) -> list[list[int]]:
        """Available actions, N lists of A zeros and ones; a discrete agent that has ended has only action 0."""
        available = []
        for name, own, mask, acts in zip(self.names, self.available, masks, acting, strict=True):
            if self.kind == "continuous" or (acts and mask is None):
                available.append(list(own))
            elif not acts:
                available.append([1] + [0] * (self.size - 1))
            else:
                available.append(self._padded_mask(name, sum(own), mask))
        return available

    def _padded_mask(self, name: str, width: int, mask: Any) -> list[int]:
        values = np.asarray(mask)
        if values.shape != (width,) or not ((values == 0) | (values == 1)).all() or not values.any():
            raise EnvError(
                f"agent {name} has {width} actions, and its action_mask is {np.asarray(mask).tolist()}: "
                f"the environment must give {width} zeros and ones with at least one 1"
            )
        return [*values.astype(int).tolist(), *[0] * (self.size - width)]


def without_mask(space: Any) -> Any:
    """The observed part of a `Dict` space: all but its `action_mask`, as `_observed` says; parts keep their order."""
    if not isinstance(space, spaces.Dict):
        return space
    rest = _observed(space.spaces)
    if not isinstance(rest, dict):
        return rest
    # `spaces.Dict` sorts a plain dictionary by name, and columns would change places
    return space if len(rest) == len(space.spaces) else spaces.Dict(OrderedDict(rest))


def has_mask(space: Any) -> bool:
    """Whether observations hold an action mask; those in `info` are not known before they come."""
    return isinstance(space, spaces.Dict) and "action_mask" in space.spaces


def split_mask(observation: Any, info: Any) -> tuple[Any, Any]:
    """An agent's observation and its action mask (None without one), which PettingZoo puts in either of two places."""
    mask = info.get("action_mask") if isinstance(info, dict) else None
    if isinstance(observation, dict):
        return _observed(observation), observation.get("action_mask", mask)
    return observation, mask


def _observed(parts: Mapping[str, Any]) -> Any:
    """What an agent sees of named parts, spaces or values: all but the mask; an `observation` alone is not wrapped."""
    rest = {name: part for name, part in parts.items() if name != "action_mask"}
    return rest["observation"] if rest.keys() == {"observation"} else rest or parts


def _action_kind(key: str, name: str, space: Any) -> ActionSpace:
    if isinstance(space, spaces.Discrete):
        return "discrete"
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        with np.errstate(over="ignore", invalid="ignore"):
            span = space.high.astype(np.float32) - space.low.astype(np.float32)
        if not np.isfinite(span).all():  # inf in a bound, or between two that float32 just holds
            raise EnvError(
                f"agent {name} of {key} has unbounded actions, or bounds too far apart for float32: wrap the "
                "environment to have a finite Box"
            )
        return "continuous"
    raise EnvError(f"agent {name} of {key} has {space} actions: wrap it to have Discrete or real-valued Box actions")
