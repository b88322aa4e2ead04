"""Episodes as dictionaries of NumPy arrays, one array an agent: from a user's script, or from an npz file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from datasets.importers.ends import check_flags
from datasets.importers.per_agent import (
    action_counts,
    agents_of,
    array_of,
    bounds_of,
    check_kind,
    checked_episode,
    flags_of,
    indices_of,
    is_team,
    matrix_of,
    rewards_of,
    rows_of,
)
from datasets.importers.source import Episode, Source
from datasets.stream import write_source
from utils.bounds import shortest
from utils.errors import DatasetError


def from_episodes(
    episodes: Iterable[Mapping[str, Any]],
    out: str | Path,
    *,
    environment: Mapping[str, Any] | None = None,
    action_low: Any = None,
    action_high: Any = None,
    n_actions: Any = None,
    behaviour: str = "unknown",
    quality: str = "unknown",
    made_by: Mapping[str, Any] | None = None,
    replace: bool = True,
) -> dict[str, Any]:
    """Write episodes as a dataset to `out` and return its card; they may come one after another from a generator.

    episodes: of L steps each. obs: for each agent (L + 1, O_i). actions: for each agent (L, A_i) floats, or (L,) whole
    numbers; with L + 1 rows, the last is what the behaviour would have done next. reward: (L,) of the team, or (L,)
    for each agent. terminated: whether a terminal state ended the episode, False at a time limit. state (L + 1, S) and,
    for discrete actions, avail_actions for each agent (L + 1, n_i) may be there. "For each agent" is a list or a
    dictionary of N arrays, or one array with the agents along axis 1; a flat list of rewards is the team's. Where obs
    is a dictionary, its names say which agent is which everywhere, in the first episode's order.
    action_low, action_high: of continuous actions: one number, a list for all agents, or a list of such lists.
    n_actions: of discrete ones: one number, or one per agent. environment: as in a dataset card; None for none.

    Unequal sizes are padded with zeros; what an agent lacks has `avail_actions` 0 and the bounds 0 and 0, as where
    environments pad. Raises DatasetError, naming episode, key and agent, where something does not fit; nothing is
    written then.
    """
    stated = {"environment": environment, "behaviour": behaviour, "quality": quality, "made_by": made_by or {}}
    source = episodes_source(episodes, stated, action_low, action_high, n_actions)
    return write_source(Path(out), source, str((made_by or {}).get("command", "")), replace=replace)


def episodes_source(
    episodes: Iterable[Mapping[str, Any]],
    stated: Mapping[str, Any],
    action_low: Any = None,
    action_high: Any = None,
    n_actions: Any = None,
    origin: str = "",
) -> Source:
    """The source of `from_episodes`. stated: further entries of the card. origin: the file, for messages."""
    remaining = iter(episodes)
    first = next(remaining, None)
    if first is None:
        raise DatasetError(f"{origin or 'the list'} holds no episode; nothing is written")
    where = _named(origin, 0)
    sizes = _Sizes.of(checked_episode(first, where), n_actions, where, (action_low, action_high))
    maker = _Maker(sizes, origin, is_team(first["reward"]))
    card = {**stated, **sizes.card(action_low, action_high)}
    if maker.team:
        card["reward"] = "the team's, the same number for each agent"
    return Source(card, (maker.episode(each, number) for number, each in enumerate(chain([first], remaining))))


@dataclass(frozen=True)
class _Sizes:
    """What all episodes share. actions: A_i, or n_i where they are discrete. masked: whether episodes hold masks."""

    names: list[str] | None
    obs: list[int]
    actions: list[int]
    discrete: bool
    masked: bool

    @classmethod
    def of(cls, episode: Mapping[str, Any], n_actions: Any, where: str, bounds: tuple[Any, Any]) -> _Sizes:
        names = list(map(str, episode["obs"])) if isinstance(episode["obs"], Mapping) else None
        obs = [matrix_of(part, where, "obs", i).shape[1] for i, part in enumerate(agents_of(episode, "obs", where))]
        actions = agents_of(episode, "actions", where, len(obs), names)
        kinds = {part.dtype.kind in "biu" for part in actions}
        if len(kinds) > 1 or any(part.dtype.kind not in "biuf" for part in actions):
            types = ", ".join(str(part.dtype) for part in actions)
            raise DatasetError(f"{where}: actions are of the types {types}; all must be floats, or all whole numbers")
        masked, discrete = "avail_actions" in episode, kinds.pop()
        check_kind(discrete, where, n_actions, *bounds)
        if not discrete:
            widths = [matrix_of(part, where, "actions", i).shape[1] for i, part in enumerate(actions)]
            if masked:
                raise DatasetError(f"{where}: avail_actions belong to discrete actions, and these are floats")
            return cls(names, obs, widths, False, False)
        if n_actions is None and masked:
            masks = agents_of(episode, "avail_actions", where, len(obs), names)
            n_actions = [matrix_of(part, where, "avail_actions", i).shape[1] for i, part in enumerate(masks)]
        return cls(names, obs, action_counts(n_actions, len(obs)), True, masked)

    def has(self) -> np.ndarray:
        """Actions or action dimensions that each agent has, (N, A) bool."""
        own: np.ndarray = np.arange(max(self.actions)) < np.asarray(self.actions)[:, None]
        return own

    def card(self, low: Any, high: Any) -> dict[str, Any]:
        """The card's entries on actions."""
        if self.discrete:
            return {"action_space": "discrete", "n_actions": max(self.actions)}
        if low is None or high is None:
            raise DatasetError("action_low and action_high are missing; continuous actions need the bounds they have")
        bounds = [bounds_of(value, self.actions, key) for key, value in (("action_low", low), ("action_high", high))]
        least, greatest = shortest(bounds[0], bounds[1], self.has())
        return {"action_space": "continuous", "action_low": least, "action_high": greatest}


class _Maker:
    """From dictionaries to padded episodes."""

    def __init__(self, sizes: _Sizes, origin: str, team: bool) -> None:
        self.sizes, self.team, self._origin = sizes, team, origin
        self._has = sizes.has().astype(np.uint8)  # (N, A)
        self._mask = not self._has.all() or sizes.masked

    def episode(self, given: Mapping[str, Any], number: int) -> Episode:
        """The episode of a dictionary. Raises DatasetError where it does not fit the first."""
        where, sizes = _named(self._origin, number), self.sizes
        checked_episode(given, where)
        if ("avail_actions" in given) != sizes.masked:
            does = "lacks" if sizes.masked else "has"
            raise DatasetError(f"{where} {does} avail_actions, unlike the first episode; give them in all or in none")
        rewards = rewards_of(given, len(sizes.obs), where, sizes.names)  # (L, N)
        if is_team(given["reward"]) != self.team and len(sizes.obs) > 1:
            kinds = ("one for each agent", "the team's") if self.team else ("the team's", "one for each agent")
            raise DatasetError(
                f"{where}: reward is {kinds[0]}, and in the first episode {kinds[1]}; give the same kind in all"
            )
        n_steps, n_agents = rewards.shape
        obs = np.zeros((n_steps + 1, n_agents, max(sizes.obs)), np.float64)  # (L+1, N, O)
        for i, part in enumerate(self._parts(given, "obs", where)):
            obs[:, i, : sizes.obs[i]] = rows_of(part, where, "obs", i, (n_steps + 1,), sizes.obs[i])
        actions, known = self._actions(given, n_steps, where)
        arrays: dict[str, np.ndarray] = {
            "obs": obs,
            "actions": actions,
            "reward": np.concatenate([rewards, np.zeros((1, n_agents))]),
            "terminated": flags_of(given["terminated"], n_steps, where),
        }
        if "state" in given:
            arrays["state"] = matrix_of(array_of(given["state"], where, "state"), where, "state", None)
        if self._mask:
            arrays["avail_actions"] = self._available(given, n_steps, where)
        return Episode(arrays, known, where)

    def _parts(self, given: Mapping[str, Any], key: str, where: str) -> list[np.ndarray]:
        return agents_of(given, key, where, len(self.sizes.obs), self.sizes.names)

    def _actions(self, given: Mapping[str, Any], n_steps: int, where: str) -> tuple[np.ndarray, bool]:
        sizes = self.sizes
        kind = np.int64 if sizes.discrete else np.float64
        width = 1 if sizes.discrete else max(sizes.actions)
        actions = np.zeros((n_steps + 1, len(sizes.obs), width), kind)  # (L+1, N, A)
        known = set()
        for i, part in enumerate(self._parts(given, "actions", where)):
            if (part.dtype.kind in "biu") != sizes.discrete:
                raise DatasetError(
                    f"{where}: actions of agent {i} are of type {part.dtype}, unlike the first episode's"
                )
            if sizes.discrete:
                part = indices_of(part, where, i)
            own = 1 if sizes.discrete else sizes.actions[i]
            rows = rows_of(part, where, "actions", i, (n_steps, n_steps + 1), own)
            if sizes.discrete and ((rows < 0) | (rows >= sizes.actions[i])).any():
                row = int(np.argmax((rows < 0) | (rows >= sizes.actions[i])))
                raise DatasetError(
                    f"{where}: actions of agent {i} is {rows[row, 0]} on row {row}; it has {sizes.actions[i]} actions"
                )
            actions[: len(rows), i, :own] = rows
            known.add(len(rows) == n_steps + 1)
        if len(known) > 1:
            raise DatasetError(f"{where}: actions of some agents have {n_steps} rows and of others one more")
        return actions, known.pop()

    def _available(self, given: Mapping[str, Any], n_steps: int, where: str) -> np.ndarray:
        available = np.tile(self._has, (n_steps + 1, 1, 1))  # (L+1, N, A)
        if self.sizes.masked:
            for i, part in enumerate(self._parts(given, "avail_actions", where)):
                own = self.sizes.actions[i]
                rows = rows_of(part, where, "avail_actions", i, (n_steps + 1,), own)
                check_flags(rows, "avail_actions", f"{where}, agent {i}")
                available[:, i, :own] = rows
        return available


def _named(origin: str, number: int) -> str:
    return f"{origin}: episode {number}" if origin else f"episode {number}"
