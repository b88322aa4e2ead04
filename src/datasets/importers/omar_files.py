"""The files of OMAR's datasets: which there must be, and of which shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.importers.npy import NpyFile
from utils.errors import DatasetError

_KINDS = ("obs", "acs", "rews", "next_obs", "dones")
FINAL, KNOWN = "final_acs", "last_action_known"  # files that only our exporter writes: a row an episode


@dataclass(frozen=True)
class Task:
    """A published task: its agents that learn and their sizes; prey_obs: of the agent that is left out, 0 for none."""

    name: str
    env: str
    key: str
    n_agents: int
    obs: int
    action: int
    length: int
    prey_obs: int = 0
    state: int = 0


TASKS = (
    Task("Cooperative Navigation", "mpe", "simple_spread", 3, 18, 2, 25),
    Task("Predator-Prey", "mpe", "simple_tag", 3, 16, 2, 25, prey_obs=14),
    Task("World", "mpe", "simple_world", 3, 24, 2, 25, prey_obs=22),
    Task("HalfCheetah", "mamujoco", "HalfCheetah-2x3", 2, 6, 3, 1000, state=17),
)


@dataclass(frozen=True)
class Folder:
    """The files of one behaviour's data, all of `n_rows` rows. prey: whether those of the prey are there."""

    path: Path
    files: Mapping[str, NpyFile]
    task: Task
    n_rows: int
    prey: bool
    has_state: bool

    @property
    def exported(self) -> bool:
        """Whether our exporter wrote the folder and noted final actions."""
        return KNOWN in self.files

    def joint(self, kind: str, rows: slice) -> np.ndarray:
        """Rows of all learning agents' files of one kind, (R, N, ...). Raises DatasetError for NaN or inf."""
        parts = []
        for agent in range(self.task.n_agents):
            name = f"{kind}_{agent}"
            parts.append(check_finite(self.files[name][rows], self.files[name].path, rows.start))
        return np.stack([part.reshape(len(part), -1) for part in parts], axis=1)


def check_finite(rows: np.ndarray, path: Path, start: int) -> np.ndarray:
    """The rows. Raises DatasetError, naming file and row, for NaN and inf."""
    good = np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    if not good.all():
        raise DatasetError(f"{path} holds a value that is not finite on row {start + int(np.argmin(good))}")
    return rows


def folders_of(path: Path) -> list[Path]:
    """The folder itself where it holds an agent's files, else its seed_K_data in the order of K."""
    if not path.is_dir():
        return []
    if (path / "obs_0.npy").exists() or (path / "acs_0.npy").exists():
        return [path]
    seeds = {int(name): folder for folder in path.glob("seed_*_data") if (name := folder.name[5:-5]).isdecimal()}
    return [seeds[number] for number in sorted(seeds)]


def task_of(folder: Path, row: tuple[int, ...]) -> Task:
    """The task that has such observations. Raises DatasetError where none does."""
    for task in TASKS:
        if row == (task.obs,):
            return task
    sizes = ", ".join(f"{task.obs} in {task.name}" for task in TASKS)
    raise DatasetError(f"{folder / 'obs_0.npy'} has rows of shape {row}, where OMAR's tasks have {sizes}")


def open_folder(folder: Path) -> Folder:
    """Open a folder's files. Raises DatasetError where one is missing or does not fit the others."""
    first = _need(folder, "obs_0")
    task = task_of(folder, first.shape[1:])
    if not len(first):
        raise DatasetError(f"{first.path} has no row; fetch the folder anew")
    files: dict[str, NpyFile] = {}
    shapes = {"obs": (task.obs,), "next_obs": (task.obs,), "acs": (task.action,), "rews": (), "dones": ()}
    for agent in range(task.n_agents):
        for kind in _KINDS:
            file = files[f"{kind}_{agent}"] = _need(folder, f"{kind}_{agent}")
            _check(file, len(first), shapes[kind])
    if (folder / f"obs_{task.n_agents}.npy").exists() and not task.prey_obs:
        raise DatasetError(f"{folder} has files of agent {task.n_agents}, and {task.name} only {task.n_agents} agents")
    prey = task.prey_obs > 0 and (folder / f"acs_{task.n_agents}.npy").exists()
    if prey:
        file = files["prey"] = _need(folder, f"acs_{task.n_agents}")
        _check(file, len(first), (task.action,))
    has_state = task.state > 0 and (folder / "states_0.npy").exists()
    if has_state:
        for name in ("states_0", "next_states_0"):
            files[name] = _need(folder, name)
            _check(files[name], len(first), (task.state,))
    if (folder / f"{KNOWN}.npy").is_file():
        files[KNOWN] = _need(folder, KNOWN)
        for agent in range(task.n_agents):
            file = files[f"{FINAL}_{agent}"] = _need(folder, f"{FINAL}_{agent}")
            _check(file, len(files[KNOWN]), (task.action,), f"{KNOWN}.npy")
    return Folder(folder, files, task, len(first), prey, has_state)


def _need(folder: Path, name: str) -> NpyFile:
    path = folder / f"{name}.npy"
    if not path.is_file():
        raise DatasetError(f"{path} is missing; such a folder holds {', '.join(_KINDS)} of every agent, each as .npy")
    return NpyFile(path)


def _check(file: NpyFile, n_rows: int, row: tuple[int, ...], beside: str = "obs_0.npy") -> None:
    """Raise DatasetError unless a file has this number of rows, of this shape."""
    column = row == () and file.shape[1:] == (1,)
    if len(file) != n_rows:
        raise DatasetError(f"{file.path} has {len(file)} rows and {beside} {n_rows}; fetch the folder anew")
    if file.shape[1:] != row and not column:
        raise DatasetError(f"{file.path} has rows of shape {file.shape[1:]}; they must be {row}")
    if file.dtype.kind != "f" and "dones" not in file.path.name:
        raise DatasetError(f"{file.path} is of type {file.dtype}; it must hold floats")
