"""One episode of a Minari dataset: which arrays it has, and what rows they become."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from datasets.importers.ends import check_flags, terminal_flags
from datasets.importers.foreign_hdf5 import array, member
from datasets.importers.minari_spaces import MASKED, Space, agents, check_action
from utils.errors import DatasetError, printable

_FLAGS = ("terminations", "truncations")
_INFOS = ("state", "avail_actions")


@dataclass(frozen=True)
class Layout:
    """What every episode has. observations, actions: the agents' own spaces; masks: whether they carry action masks.

    infos: entries of `infos` that are read: "state", "avail_actions". reward_size: 1 or the number of agents.
    """

    names: tuple[str, ...]
    prefixes: tuple[str, ...]  # of the agents' arrays: "/agent_0", "" for one agent
    observations: tuple[Space, ...]
    actions: tuple[Space, ...]
    masks: bool
    state: Space | None
    infos: tuple[str, ...]
    reward_size: int
    notes: tuple[str, ...] = ()

    @property
    def discrete(self) -> bool:
        return self.actions[0].kind == "Discrete"

    @property
    def obs_size(self) -> int:
        return max(space.size for space in self.observations)

    @property
    def action_size(self) -> int:
        """Dimensions of continuous actions, or number of discrete ones, of the agent with the most."""
        return max(space.size for space in self.actions)

    def entries(self, group: h5py.Group, file: Path) -> dict[str, h5py.Dataset]:
        """The arrays of an episode's group that are read, by their place in it."""
        places = ["rewards", *_FLAGS, *(f"infos/{name}" for name in self.infos)]
        for prefix, observed, acted in zip(self.prefixes, self.observations, self.actions, strict=True):
            inner = f"{prefix}/{MASKED[0]}" if self.masks else prefix
            places += [f"observations{inner}/{leaf}".rstrip("/") for leaf, _ in observed.leaves()]
            places += [f"observations{prefix}/{MASKED[1]}"] if self.masks else []
            places += [f"actions{prefix}/{leaf}".rstrip("/") for leaf, _ in acted.leaves()]
        if self.state is not None:
            places += [f"observations/state/{leaf}".rstrip("/") for leaf, _ in self.state.leaves()]
        return {place: _at(group, place, file) for place in places}


def layout_of(observation: Space, action: Space, first: h5py.Group, file: Path) -> Layout:
    """What the spaces and the first episode say. Raises DatasetError where they cannot be several agents' or one's."""
    names = agents(observation, action)
    notes: list[str] = []
    state = None
    if names is None:
        observed, acted, prefixes = [observation], [action], [""]
        check_action(action, f"action_space of {file}")
    else:
        observed, acted = [observation.parts[name] for name in names], [action.parts[name] for name in names]
        prefixes = [f"/{name}" for name in names]
        state = observation.parts.get("state")
        for name, space in zip(names, acted, strict=True):
            check_action(space, f"action_space of {file}: '{printable(name)[:40]}'")
    if len({space.kind for space in acted}) > 1:
        raise DatasetError(f"the agents of {file} mix continuous and discrete actions; all must have one kind")
    masks = all(set(space.parts) == set(MASKED) for space in observed)
    if masks:
        observed = [space.parts[MASKED[0]] for space in observed]
    infos, left_out = _infos(first, file, state is None, masks)
    if left_out:
        notes.append(f"of the episodes' infos these are left out: {', '.join(left_out)}"[:400])
    if any(leaf.sizes for space in observed for _, leaf in space.leaves()):
        notes.append("observations that are whole numbers become one-hot codes")
    if len({space.size for space in observed}) > 1:
        notes.append("shorter observations are padded with zeros at their end")
    if len({space.size for space in acted}) > 1:
        notes.append("agents with fewer actions have the others marked as unavailable")
    rewards = _at(first, "rewards", file)
    width = rewards.shape[1] if len(rewards.shape) == 2 else 1
    if len(rewards.shape) not in (1, 2) or width not in (1, len(acted)):
        raise DatasetError(
            f"'{first.name.lstrip('/')}/rewards' in {file} has shape {rewards.shape}; it must be (steps,) or "
            f"(steps, {len(acted)})"
        )
    if width == 1 and len(acted) > 1:
        notes.append("the team's reward is written once for each agent")
    return Layout(tuple(names or ("agent",)), tuple(prefixes), tuple(observed), tuple(acted), masks, state, infos,
                  width, tuple(notes))  # fmt: skip


def episode_arrays(
    values: Mapping[str, np.ndarray], layout: Layout, origin: str
) -> tuple[dict[str, np.ndarray], bool, bool]:
    """The rows of an episode, and whether it ends by a termination and by a truncation."""
    n_steps = len(values["rewards"]) if values["rewards"].ndim else 0
    if n_steps < 1:
        raise DatasetError(f"{origin}: 'rewards' has no step; leave such episodes out")
    for place, array_ in values.items():
        wanted = n_steps + place.startswith(("observations", "infos"))
        if array_.ndim == 0 or len(array_) != wanted:
            raise DatasetError(
                f"{origin}: '{place}' has {len(array_) if array_.ndim else 'no'} rows beside {n_steps} rewards; "
                f"it must have {wanted}"
            )
    n_agents = len(layout.actions)
    obs = np.zeros((n_steps + 1, n_agents, layout.obs_size))
    for agent, (prefix, space) in enumerate(zip(layout.prefixes, layout.observations, strict=True)):
        inner = f"observations{prefix}/{MASKED[0]}" if layout.masks else f"observations{prefix}"
        obs[:, agent, : space.size] = _flat(values, inner, space, origin)
    reward = np.zeros((n_steps + 1, n_agents))
    reward[:-1] = values["rewards"].reshape(n_steps, layout.reward_size)
    arrays = {"obs": obs, "reward": reward, "actions": _actions(values, layout, n_steps, origin)}
    if layout.state is not None:
        arrays["state"] = _flat(values, "observations/state", layout.state, origin)
    elif "state" in layout.infos:
        arrays["state"] = values["infos/state"].reshape(n_steps + 1, -1)
    available = _available(values, layout, n_steps, origin)
    if available is not None:
        arrays["avail_actions"] = available
    ended, cut = (_flag(values[name], name, origin) for name in _FLAGS)
    arrays["terminated"] = terminal_flags(n_steps + 1, ended)
    return arrays, ended, cut


def _flat(values: Mapping[str, np.ndarray], place: str, space: Space, origin: str) -> np.ndarray:
    """A space's numbers, (rows, size); whole numbers as one-hot codes."""
    parts = []
    for leaf, inner in space.leaves():
        name = f"{place}/{leaf}".rstrip("/")
        array_ = values[name].reshape(len(values[name]), -1)
        width = len(inner.sizes) or inner.size
        if array_.shape[1] != width:
            raise DatasetError(f"{origin}: '{name}' has {array_.shape[1]} numbers a row; its space has {width}")
        if not inner.sizes:
            parts.append(array_.astype(np.float64))
            continue
        for column, size in enumerate(inner.sizes):
            chosen = _whole(array_[:, column] - inner.start[column], size, name, origin)
            parts.append(np.eye(size)[chosen])
    return np.concatenate(parts, axis=1)


def _actions(values: Mapping[str, np.ndarray], layout: Layout, n_steps: int, origin: str) -> np.ndarray:
    width = 1 if layout.discrete else layout.action_size
    actions = np.zeros((n_steps + 1, len(layout.actions), width), np.int64 if layout.discrete else np.float64)
    for agent, (prefix, space) in enumerate(zip(layout.prefixes, layout.actions, strict=True)):
        name = f"actions{prefix}"
        array_ = values[name].reshape(n_steps, -1)
        own = 1 if layout.discrete else space.size
        if array_.shape[1] != own:
            raise DatasetError(f"{origin}: '{name}' has {array_.shape[1]} numbers a row; its space has {own}")
        if layout.discrete:
            actions[:-1, agent, 0] = _whole(array_[:, 0] - space.start[0], space.size, name, origin)
        else:
            actions[:-1, agent, :own] = array_
    return actions


def _available(values: Mapping[str, np.ndarray], layout: Layout, n_steps: int, origin: str) -> np.ndarray | None:
    """Which actions each agent has, (rows, N, n); None where all have all."""
    sizes = np.array([space.size for space in layout.actions])
    own = np.arange(layout.action_size) < sizes[:, None]  # (N, n)
    available = np.repeat(own[None], n_steps + 1, axis=0).astype(np.uint8)
    if layout.masks:
        for agent, prefix in enumerate(layout.prefixes):
            name = f"observations{prefix}/{MASKED[1]}"
            if values[name].shape != (n_steps + 1, sizes[agent]):
                raise DatasetError(f"{origin}: '{name}' has shape {values[name].shape}; an entry an action is needed")
            check_flags(values[name], name, origin)
            available[:, agent, : sizes[agent]] = values[name] != 0
    elif "avail_actions" in layout.infos:
        if values["infos/avail_actions"].shape != available.shape:
            raise DatasetError(
                f"{origin}: 'infos/avail_actions' has shape {values['infos/avail_actions'].shape}; it must be "
                f"{available.shape}"
            )
        available = values["infos/avail_actions"]
        check_flags(available, "infos/avail_actions", origin)
    elif own.all():
        return None
    return available


def _flag(values: np.ndarray, name: str, origin: str) -> bool:
    """Whether the last step has the flag. Raises DatasetError where an earlier one has it."""
    check_flags(values, name, origin)
    flags = np.all(values.reshape(len(values), -1), axis=1)
    if flags[:-1].any():
        raise DatasetError(f"{origin}: '{name}' is 1 on row {int(np.argmax(flags))}, before the episode's last step")
    return bool(flags[-1])


def _whole(values: np.ndarray, n: int, name: str, origin: str) -> np.ndarray:
    wrong = (values < 0) | (values >= n) | (values != np.floor(values))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DatasetError(
            f"{origin}: '{name}' is {values[row]:g} above its start on row {row}; it must be 0 to {n - 1}"
        )
    return values.astype(np.int64)


def _infos(first: h5py.Group, file: Path, state: bool, masks: bool) -> tuple[tuple[str, ...], list[str]]:
    """Names of infos that are read, and of those that are left out."""
    group = member(first, "infos", file)
    if not isinstance(group, h5py.Group):
        return (), []
    n_rows = len(_at(first, "rewards", file)) + 1
    wanted = [name for name in _INFOS if name in group and (state if name == "state" else not masks)]
    entries = {name: member(group, name, file) for name in wanted}
    taken = tuple(
        name for name, entry in entries.items() if isinstance(entry, h5py.Dataset) and entry.shape[:1] == (n_rows,)
    )
    return taken, [printable(str(name))[:40] for name in group if name not in taken]


def _at(group: h5py.Group, place: str, file: Path) -> h5py.Dataset:
    """The array at a place below the group, links refused on the way."""
    *parents, name = place.split("/")
    for parent in parents:
        inner = member(group, parent, file)
        if not isinstance(inner, h5py.Group):
            raise DatasetError(f"{file} lacks the group '{printable(f'{group.name}/{parent}'.lstrip('/'))[:80]}'")
        group = inner
    return array(group, name, file)
