"""Arrays of several agents as a user gives them: checked, and taken apart by agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from utils.errors import DatasetError, nearest

_KEYS = ("obs", "actions", "reward", "terminated", "state", "avail_actions")
_NEEDED = _KEYS[:4]
_LISTS = "a list is one entry per agent; for one entry per step use np.array(...)"


def checked_episode(episode: Any, where: str) -> Mapping[str, Any]:
    """The episode, with the keys that one has."""
    if not isinstance(episode, Mapping):
        raise DatasetError(
            f"{where} is of type {type(episode).__name__}; it must be a dictionary of {', '.join(_KEYS)}"
        )
    for key in episode:
        if key not in _KEYS:
            raise DatasetError(f"{where} has the key {key!r}; {nearest(str(key), _KEYS)}")
    for key in _NEEDED:
        if key not in episode:
            raise DatasetError(f"{where} lacks {key!r}; an episode holds {', '.join(_NEEDED)}")
    return episode


def agents_of(
    episode: Mapping[str, Any], key: str, where: str, n_agents: int | None = None, names: list[str] | None = None
) -> list[np.ndarray]:
    """One array for each agent. Raises DatasetError for another number of agents, or other names."""
    value = episode.get(key)
    if isinstance(value, Mapping):
        if names is None and n_agents is not None:
            raise DatasetError(
                f"{where}: {key} names agents, and obs of the first episode does not, so whose they are is not known; "
                "give obs by name too, or all as arrays (rows, agents, size)"
            )
        if names is not None and set(map(str, value)) != set(names):
            raise DatasetError(f"{where}: {key} has the agents {sorted(map(str, value))}, obs {sorted(names)}")
        by_name = {str(name): part for name, part in value.items()}
        parts = [array_of(by_name[name], where, key) for name in names or by_name]
    elif isinstance(value, list | tuple):
        _check_list(value, where, key)
        parts = [array_of(part, where, key) for part in value]
    else:
        whole = array_of(value, where, key)
        if whole.ndim < 2:
            raise DatasetError(f"{where}: {key} has shape {whole.shape}; give one array for each agent")
        parts = [whole[:, i] for i in range(whole.shape[1])]
    if not parts or (n_agents is not None and len(parts) != n_agents):
        hint = f" ({_LISTS})" if _may_be_steps(episode, key) or _may_be_steps(episode, "obs") else ""
        raise DatasetError(
            f"{where}: {key} has {len(parts)} agents; it must be {n_agents or 'at least one'}, as in obs{hint}"
        )
    return parts


def is_flat(value: Any) -> bool:
    """Whether this is a list of numbers."""
    return isinstance(value, list | tuple) and len(value) > 0 and all(np.isscalar(part) for part in value)


def _check_list(value: list[Any] | tuple[Any, ...], where: str, key: str) -> None:
    """Raise DatasetError for numbers in place of agents, and for lists in which agents and steps look alike."""
    if is_flat(value):
        raise DatasetError(f"{where}: {key} is a list of numbers; {_LISTS}")
    n = len(value)
    # of arrays the list itself says that its entries are agents; a table of numbers reads either way
    if n > 1 and all(isinstance(part, list | tuple) and len(part) == n for part in value):
        raise DatasetError(
            f"{where}: {key} is a list of {n} lists of {n}, which may be agents or steps: {_LISTS}, for one per agent "
            "a list of arrays"
        )


def _may_be_steps(episode: Mapping[str, Any], key: str) -> bool:
    """Whether a key holds a list that is as long as the episode has steps or rows."""
    value, obs = episode.get(key), episode["obs"]
    if not isinstance(value, list | tuple):
        return False
    first = list(obs.values())[:1] if isinstance(obs, Mapping) else [obs]
    if isinstance(obs, list | tuple):  # which may itself be of steps
        first += obs[:1]
    rows = {len(part) for part in first if isinstance(part, list | tuple) or np.ndim(part)}
    return any(len(value) in (n_rows - 1, n_rows) for n_rows in rows)


def array_of(value: Any, where: str, key: str) -> np.ndarray:
    """What was given as an array. Raises DatasetError for lists of unequal lengths, and for masked values."""
    if np.ma.is_masked(value):
        raise DatasetError(f"{where}: {key} has masked values, which datasets cannot leave out; fill or remove them")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise DatasetError(f"{where}: {key} cannot be made an array ({error}); its rows differ in length") from error


def matrix_of(part: np.ndarray, where: str, key: str, agent: int | None) -> np.ndarray:
    """Rows of numbers. Raises DatasetError for another shape or type."""
    if part.ndim != 2 or 0 in part.shape or part.dtype.kind not in "biuf":
        of = "" if agent is None else f" of agent {agent}"
        raise DatasetError(
            f"{where}: {key}{of} has shape {part.shape} and type {part.dtype}; it must be (rows, size) numbers"
        )
    return part


def rows_of(part: np.ndarray, where: str, key: str, agent: int, n_rows: tuple[int, ...], width: int) -> np.ndarray:
    """The part, where it has one of these numbers of rows, and this width."""
    part = matrix_of(part, where, key, agent)
    if part.shape[0] not in n_rows:
        wanted = " or ".join(map(str, n_rows))
        raise DatasetError(
            f"{where}: {key} of agent {agent} has {part.shape[0]} rows; with {n_rows[-1] - 1} rewards it must have "
            f"{wanted} (where the last observation was not recorded, leave out the last step)"
        )
    if part.shape[1] != width:
        raise DatasetError(f"{where}: {key} of agent {agent} has {part.shape[1]} columns, in the first episode {width}")
    return part


def check_kind(discrete: bool, where: str, n_actions: Any, low: Any, high: Any) -> None:
    """Raise DatasetError where the arguments are those of the other kind of actions."""
    if not discrete and n_actions is not None:
        raise DatasetError(
            f"{where}: actions are floats and n_actions is given; discrete actions are whole numbers: .astype(int), or "
            "leave n_actions out"
        )
    given = [key for key, value in (("action_low", low), ("action_high", high)) if value is not None]
    if discrete and given:
        raise DatasetError(
            f"{where}: actions are whole numbers and {given[0]} is given; continuous actions are floats: "
            ".astype(float), or leave action_low and action_high out"
        )


def indices_of(part: np.ndarray, where: str, agent: int) -> np.ndarray:
    """Discrete actions (rows, 1). Raises DatasetError for those that are no index, such as one-hot codes."""
    column = part[:, None] if part.ndim == 1 else part
    if column.ndim != 2 or column.shape[1] != 1:
        raise DatasetError(
            f"{where}: actions of agent {agent} has shape {part.shape}; expected one column (an index, not one-hot: "
            ".argmax(-1))"
        )
    return column


def is_team(reward: Any) -> bool:
    """Whether rewards are one number per step, for the team."""
    return is_flat(reward) or (not isinstance(reward, Mapping | list | tuple) and np.ndim(reward) == 1)


def rewards_of(episode: Mapping[str, Any], n_agents: int, where: str, names: list[str] | None) -> np.ndarray:
    """Rewards (L, N), in the order of the agents' names in obs; the team's is repeated."""
    value = episode["reward"]
    if isinstance(value, Mapping | list | tuple) and not is_flat(value):
        parts = agents_of(episode, "reward", where, n_agents, names)
        if any(part.ndim != 1 for part in parts) or len({len(part) for part in parts}) > 1:
            shapes = ", ".join(str(part.shape) for part in parts)
            raise DatasetError(f"{where}: reward has the shapes {shapes}; each agent's must be (steps,), equally long")
        return np.stack(parts, axis=1)
    reward = array_of(value, where, "reward")
    if reward.ndim == 1:
        return np.repeat(reward[:, None], n_agents, axis=1)
    if reward.ndim != 2 or reward.shape[1] != n_agents:
        raise DatasetError(f"{where}: reward has shape {reward.shape}; it must be (steps,) or (steps, {n_agents})")
    return reward


def flags_of(value: Any, n_steps: int, where: str) -> np.ndarray:
    """Flags of the rows (L + 1,), from one for the episode or one for each step."""
    given = array_of(value, where, "terminated")
    if given.shape not in ((), (n_steps,)) or given.dtype.kind not in "biuf" or ((given != 0) & (given != 1)).any():
        raise DatasetError(f"{where}: terminated must be true or false, for the episode or for each of {n_steps} steps")
    flags = np.zeros(n_steps + 1, np.uint8)  # (L + 1,)
    if given.ndim:
        flags[:-1] = given
    elif n_steps:
        flags[-2] = given
    return flags


def action_counts(n_actions: Any, n_agents: int) -> list[int]:
    counts = array_of(n_actions if n_actions is not None else [], "the arguments", "n_actions")
    if counts.shape not in ((), (n_agents,)) or counts.dtype.kind not in "iu" or (counts < 1).any():
        raise DatasetError(
            f"n_actions is {n_actions}; discrete actions need the number of them, or one for each of {n_agents} agents"
        )
    return [int(count) for count in np.broadcast_to(counts, (n_agents,))]


def bounds_of(value: Any, widths: list[int], key: str) -> np.ndarray:
    """Bounds (N, A), 0 where an agent has no such dimension."""
    try:
        nested = isinstance(value, list | tuple | np.ndarray) and np.ndim(value[0]) > 0
        each = list(value) if nested else [value] * len(widths)
        found = np.zeros((len(widths), max(widths)))
        for i, (own, width) in enumerate(zip(each, widths, strict=True)):
            numbers = np.asarray(own, np.float64)
            if numbers.shape == (max(widths),):
                numbers = numbers[:width]
            found[i, :width] = numbers
    except (ValueError, TypeError, IndexError) as error:
        raise DatasetError(
            f"{key} does not fit actions of {widths} dimensions; give one number, a list for all agents, or a list of "
            "such lists"
        ) from error
    return found
