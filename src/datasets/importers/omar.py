"""OMAR's datasets (Pan et al. 2022), which CFCQL and SPaCQL use too: folders of `.npy` files, some for each agent.

A folder holds obs_i, acs_i, rews_i, next_obs_i and dones_i of every agent i, in HalfCheetah states_i too: the rows of
whole episodes in their order. `dones` are 0 throughout in the particle tasks, whose episodes have 25 steps, and 1 every
1000 rows in HalfCheetah; both are time limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datasets.importers.npy import NpyFile
from datasets.importers.omar_checks import check_ends, check_physics, check_states
from datasets.importers.omar_files import FINAL, KNOWN, Folder, Task, check_finite, folders_of, open_folder, task_of
from datasets.importers.options import whole_number
from datasets.importers.source import Episode, Source
from datasets.references import prey_checksum
from utils.errors import DatasetError

_QUALITIES = ("medium-replay", "random", "medium", "expert")
_NO_ROBOT = (
    "MuJoCo 2.0 moved this robot, nothing was replayed, and no environment here gives its observations: train with "
    "--env-config=none"
)
_BLOCK = 1 << 22  # bytes of observations that are read at a time


class Omar:
    """The importer."""

    def recognise(self, path: Path) -> str | None:
        folders = folders_of(path)
        if not folders or not all((folders[0] / f"{kind}_0.npy").is_file() for kind in ("obs", "acs", "rews")):
            return None
        task = task_of(folders[0], NpyFile(folders[0] / "obs_0.npy").shape[1:])
        return f"{len(folders)} folder(s) of OMAR's npy files of {task.name}"

    def open(self, path: Path, options: Mapping[str, Any]) -> Source:
        """Check headers, and replay a sample of the particle tasks' transitions.

        options: length, steps of an episode; prey, the file of the prey that was chased, or "none" where nobody has it.
        """
        found = folders_of(path)
        if not found:
            fault = "holds no obs_0.npy, acs_0.npy and no seed_0_data" if path.is_dir() else "is no folder"
            raise DatasetError(
                f"{path} {fault}; give a folder with obs_0.npy, acs_0.npy, ..., or with seed_0_data, ..."
            )
        folders = [open_folder(folder) for folder in found]
        task, length = folders[0].task, whole_number(options, "length") or folders[0].task.length
        other = next((folder for folder in folders if folder.task != task), None)
        if other is not None:
            raise DatasetError(f"{other.path} holds {other.task.name}, {folders[0].path} {task.name}; import one task")
        for folder in folders:
            if folder.n_rows % length:
                raise DatasetError(
                    f"{folder.path / 'obs_0.npy'} has {folder.n_rows} rows, which are no whole number of episodes of "
                    f"{length} steps; state their length with --length"
                )
            if folder.exported and len(folder.files[KNOWN]) * length != folder.n_rows:
                raise DatasetError(
                    f"{folder.path / KNOWN}.npy has {len(folder.files[KNOWN])} rows beside {folder.n_rows // length} "
                    f"episodes of {length} steps; state their length with --length"
                )
        notes = [f"episodes are cut after {length} steps, all at a time limit and none at a terminal"]
        exported = any(folder.exported for folder in folders)
        last_action = f"its last action that of {FINAL}" if exported else "its last action is not known"
        notes.append(f"an episode's last observation is that of next_obs, {last_action}")
        prey = options.get("prey")
        if prey is not None and not task.prey_obs:
            raise DatasetError(f"--prey: {task.name} has no prey; leave it out")
        if task.env == "mpe":
            notes += [note for folder in folders for note in check_physics(folder, prey, length)]
        else:
            notes.append(_NO_ROBOT)
        if folders[0].prey:
            notes.append("the prey's own columns are left out, as it is part of the environment")
        return Source(_card(path, task, length, prey), _episodes(folders, length), list(dict.fromkeys(notes)), exported)


IMPORTER = Omar()


def _card(path: Path, task: Task, length: int, prey: str | None) -> dict[str, Any]:
    """The card's entries. The published reference returns are added where environment and prey are the published."""
    parts = path.resolve().parts
    quality = next((part for part in reversed(parts) if part in _QUALITIES), "unknown")
    env_args: dict[str, Any] = {"key": task.key, "time_limit": length}
    if prey not in (None, "none"):
        env_args["prey"] = prey
    environment: dict[str, Any] = {"env": task.env, "env_args": env_args}
    if task.prey_obs and prey != "none":
        environment["simulator"] = {"prey": prey_checksum(env_args)}
    if task.env == "mamujoco":
        environment = {"env": task.env, "env_args": {"key": task.key}, "versions": {"mujoco": "2.0"}}
    return {
        "environment": {"env": None} if prey == "none" else environment,
        "action_space": "continuous",
        "action_low": [-1.0] * task.action,
        "action_high": [1.0] * task.action,
        "behaviour": f"OMAR's {'/'.join(parts[-3:])}",
        "quality": quality,
        "made_by": {"format": "omar"},
    }


def _episodes(folders: list[Folder], length: int) -> Iterator[Episode]:
    for folder in folders:
        task = folder.task
        step = length * max(1, _BLOCK // (8 * task.n_agents * task.obs * length))
        for start in range(0, folder.n_rows, step):
            rows = slice(start, min(start + step, folder.n_rows))
            yield from _cut(folder, _block(folder, rows, length), start, length)


def _block(folder: Folder, rows: slice, length: int) -> dict[str, np.ndarray]:
    """Whole episodes (E, L + 1, ...), the last row of each from the files of what a step led to."""
    obs, following = folder.joint("obs", rows), folder.joint("next_obs", rows)  # (R, N, O)
    check_ends(folder, rows, obs, following, length)

    def episodes(array: np.ndarray) -> np.ndarray:
        return array.reshape(-1, length, *array.shape[1:])  # (E, L, ...)

    def behind(array: np.ndarray, last: np.ndarray | None = None) -> np.ndarray:
        whole = episodes(array)
        final = np.zeros_like(whole[:, :1]) if last is None else last.reshape(len(whole), -1, *array.shape[1:])[:, -1:]
        return np.concatenate([whole, final], axis=1)  # (E, L+1, ...)

    block = {
        "obs": behind(obs, following),
        "actions": behind(folder.joint("acs", rows), _final_actions(folder, rows, length)),
        "reward": behind(folder.joint("rews", rows)[..., 0]),
    }
    if folder.has_state:
        states = [check_finite(folder.files[name][rows], folder.files[name].path, rows.start)
                  for name in ("states_0", "next_states_0")]  # fmt: skip
        check_states(folder, rows.start, states[0], states[1], length)
        block["state"] = behind(*states)
    block["terminated"] = np.zeros(block["obs"].shape[:2], np.uint8)
    return block


def _final_actions(folder: Folder, rows: slice, length: int) -> np.ndarray | None:
    """The final rows' actions (E, N, A) of a folder that our exporter wrote; None in all others."""
    return folder.joint(FINAL, slice(rows.start // length, rows.stop // length)) if folder.exported else None


def _cut(folder: Folder, block: Mapping[str, np.ndarray], start: int, length: int) -> Iterator[Episode]:
    for number in range(len(block["obs"])):
        first = start + number * length
        origin = f"{folder.path}, rows {first} to {first + length - 1}"
        at = start // length + number  # of the folder's episodes
        known = folder.exported and bool(folder.files[KNOWN][at : at + 1][0])
        yield Episode({key: array[number] for key, array in block.items()}, known, origin)
