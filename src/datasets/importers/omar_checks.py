"""Whether the columns of OMAR's files fit together: rows that follow one another, and a replay in the simulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from datasets.importers.ends import check_flags
from datasets.importers.omar_files import Folder
from datasets.importers.replay import (
    NEXT_START,
    Transitions,
    prey_is,
    replayed,
    too_many,
    wrong_observations,
    wrong_rewards,
)
from envs.mpe.tasks import TASKS
from utils.errors import DatasetError

_SAMPLE = 500
_PREY_REMEDY = (
    "name its file with --prey FILE, which python src/policy.py prey SOURCE --task TASK -o FILE makes, or say --prey "
    "none for a set without an environment"
)


def check_ends(folder: Folder, rows: slice, obs: np.ndarray, following: np.ndarray, length: int) -> None:
    """Raise DatasetError unless `next_obs` is the next row's `obs` within episodes and only there, and `dones` fit.

    obs, following: (R, N, O) of whole episodes from row `rows.start` on.
    """
    last = np.arange(1, len(obs)) % length == 0  # (R - 1,): whether the next row begins an episode
    same = (following[:-1] == obs[1:]).all(axis=2)  # (R - 1, N)
    broken = ~same & ~last[:, None]
    if broken.any():
        row, agent = (int(index) for index in np.argwhere(broken)[0])
        raise DatasetError(
            f"{folder.path / f'next_obs_{agent}.npy'} on row {rows.start + row} is not obs_{agent}.npy on the next "
            f"row, though episodes of {length} steps hold both; state their length with --length, or fetch it anew"
        )
    joined = same.all(axis=1) & last
    if joined.any():
        row = rows.start + int(np.argmax(joined))
        raise DatasetError(
            f"{folder.path / 'next_obs_0.npy'} on row {row}, the last of an episode of {length} steps, is obs_0.npy on "
            "the next row, so episodes are longer; state their length with --length"
        )
    for agent in range(folder.task.n_agents):
        file = folder.files[f"dones_{agent}"]
        check_flags(file[rows], f"dones_{agent}", str(file.path), rows.start)
        done = file[rows].reshape(-1) != 0  # (R,)
        early = done & (np.arange(1, len(done) + 1) % length != 0)
        if early.any():
            raise DatasetError(
                f"{file.path} is not 0 on row {rows.start + int(np.argmax(early))}, which is not the last of an "
                f"episode of {length} steps; {folder.task.name} has no terminals, so the column is shifted or foreign"
            )


def check_states(folder: Folder, start: int, states: np.ndarray, following: np.ndarray, length: int) -> None:
    """Raise DatasetError unless `next_states` is the next row's `states` within episodes.

    states, following: (R, S) of whole episodes from row `start` on.
    """
    inner = np.arange(1, len(states)) % length != 0  # (R - 1,)
    broken = inner & (following[:-1] != states[1:]).any(axis=1)
    if broken.any():
        raise DatasetError(
            f"{folder.path / 'next_states_0.npy'} on row {start + int(np.argmax(broken))} is not states_0.npy on the "
            "next row, so one of the two is shifted or of other data; fetch it anew"
        )


def check_physics(folder: Folder, prey: str | None, length: int) -> list[str]:
    """Replay a sample of the folder's transitions; return what was found, one sentence each.

    prey: its file, None for the bundled one, "none" where it is not known. Raises DatasetError, naming the file, where
    next observations or rewards are not what observations and actions lead to, and where another prey was chased.
    """
    key, task = folder.task.key, TASKS[folder.task.key]
    sample = _sample(folder, length)
    file = None if prey == "none" else prey
    notes = []
    if folder.task.prey_obs:
        if sample.prey_actions is None and prey == "none":
            return ["nothing was replayed, as neither the prey nor its actions are known"]
        if sample.prey_actions is not None and prey != "none" and not prey_is(key, sample, file):
            raise DatasetError(
                f"{folder.files['prey'].path} does not hold the actions of the prey "
                f"{prey or 'that comes with this project'}; {_PREY_REMEDY}"
            )
    found, paid = replayed(key, sample, file)
    wrong = wrong_observations(found, sample.next_obs, len(task.forests))
    if too_many(wrong):
        raise DatasetError(_blamed(folder, sample, wrong, file, length))
    unpaid = wrong_rewards(paid, sample.reward)
    if too_many(unpaid):
        row = int(sample.rows[np.argmax(unpaid)])
        agent = int(np.argmax(np.abs(paid - sample.reward)[np.argmax(unpaid)]))
        raise DatasetError(
            f"{folder.path / f'rews_{agent}.npy'} on row {row} is {sample.reward[np.argmax(unpaid), agent]:g}, and "
            f"{folder.task.name} pays {paid[np.argmax(unpaid), agent]:g} there ({int(unpaid.sum())} of "
            f"{len(unpaid)} rows differ), so the column is shifted or of other data"
        )
    last = _drawn(folder, np.arange(length - 1, folder.n_rows, length))
    wrong_last = wrong_observations(replayed(key, last, file)[0], last.next_obs, len(task.forests))
    if too_many(wrong_last):
        row = int(last.rows[np.argmax(wrong_last)])
        raise DatasetError(
            f"{folder.path / 'next_obs_0.npy'} on row {row}, the last of an episode, is not what obs and acs lead to "
            f"in {folder.task.name} ({int(wrong_last.sum())} of {len(wrong_last)} such rows differ); {NEXT_START}"
        )
    count = len(wrong) + len(wrong_last)
    notes.append(f"{count} transitions were replayed in the simulator and lead to the logged ones")
    return notes


def _sample(folder: Folder, length: int) -> Transitions:
    """Transitions from all over the folder; not an episode's first or last, so that their neighbours may be tried."""
    steps = np.arange(folder.n_rows)
    return _drawn(folder, steps[(steps % length > 0) & (steps % length < length - 1)] if length > 2 else steps)


def _drawn(folder: Folder, steps: np.ndarray) -> Transitions:
    rng = np.random.default_rng(0)
    return _transitions(folder, np.sort(rng.choice(steps, min(_SAMPLE, len(steps)), replace=False)))


def _transitions(folder: Folder, rows: np.ndarray) -> Transitions:
    def read(kind: str) -> np.ndarray:
        return np.concatenate([folder.joint(kind, slice(row, row + 1)) for row in rows.tolist()])

    prey = folder.files.get("prey")
    led = None if prey is None else np.concatenate([prey[row : row + 1] for row in rows.tolist()])
    return Transitions(read("obs"), read("acs"), read("rews")[..., 0], read("next_obs"), rows, led)


def _blamed(folder: Folder, sample: Transitions, wrong: np.ndarray, prey: str | None, length: int) -> str:
    """Which file is at fault where a replay leads elsewhere: the actions where those of a neighbour row fit."""
    row = int(sample.rows[np.argmax(wrong)])
    share = f"{int(wrong.sum())} of {len(wrong)} replayed rows"
    for shift in (1, -1):
        near = _transitions(folder, sample.rows + shift) if length > 2 else sample
        moved = replace(sample, actions=near.actions)
        found, _ = replayed(folder.task.key, moved, prey)
        if not too_many(wrong_observations(found, sample.next_obs, len(TASKS[folder.task.key].forests))):
            how = "late" if shift > 0 else "early"
            return (
                f"{folder.path / 'acs_0.npy'} and the other actions stand one row too {how}: on row {row} those of row "
                f"{row + shift} lead to next_obs ({share} differ)"
            )
    remedy = f"; if another prey was chased, {_PREY_REMEDY}" if folder.task.prey_obs and not folder.prey else ""
    return (
        f"{folder.path / 'next_obs_0.npy'} on row {row} is not what obs and acs lead to in {folder.task.name} ({share} "
        f"differ), so a column is shifted or of other data{remedy}"
    )
