"""OMIGA's datasets of multi-agent MuJoCo (Wang et al. 2023), which ComaDICE uses too: one hdf5 file each.

`s`, `o` (N, n, ob), `a` (N, n, act), `r` (N, ...) and `d` (N, ...) hold all episodes one after the other, each with its
final observation. The flag `d` is one row late: it marks that final row, from which no step starts. It is also 1 where
a time limit of 1000 steps ended the episode.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from datasets.importers.foreign_hdf5 import array, check_sizes, is_hdf5, open_hdf5
from datasets.importers.leftovers import left_out_note
from datasets.importers.source import Episode, Source
from utils.errors import DatasetError

_NAME = re.compile(r"(Ant|HalfCheetah|Hopper)-v2-(\dx\d)-(expert|medium-expert|medium-replay|medium)\.(hdf5|h5)")
_KEYS = ("s", "o", "a", "r", "d")
_LIMIT = 1000  # steps: an end after as many is no terminal
_BLOCK = 1 << 23  # bytes of observations that are read at a time
_SAME_STATE = {("HalfCheetah", "6x1"): 23, ("Hopper", "3x1"): 14}  # sizes of observations that ours have too


@dataclass
class _Data:
    """An open file: its arrays and sizes, and what its rows turned out to hold."""

    path: Path
    arrays: Mapping[str, h5py.Dataset]
    n_rows: int
    limits: int = 0
    clipped: int = 0
    paid: int = 0
    reward: float = 0.0
    left_out: list[str] = field(default_factory=list)

    def fault(self, key: str, row: int, words: str) -> DatasetError:
        return DatasetError(f"{self.path}: {key} {words} on row {row}; fetch the file anew")


class OmigaMujoco:
    """The importer."""

    def recognise(self, path: Path) -> str | None:
        if not is_hdf5(path):
            return None
        with open_hdf5(path) as file:
            if any(key not in file for key in _KEYS):
                return None
            shape = _arrays(file, path)["o"].shape
        return f"OMIGA's hdf5 of multi-agent MuJoCo: {shape[0]} rows of {shape[1]} agents"

    def open(self, path: Path, options: Mapping[str, Any]) -> Source:
        """Check the arrays' shapes; rows are checked while they are read."""
        notes = [
            "the flag d stands on each episode's final row, whose action is left out; a terminal is marked on the step "
            "that led there",
            "actions outside [-1, 1] are clipped, as MuJoCo executes them; rewards hold the cost of the unclipped ones",
        ]
        with open_hdf5(path) as file:
            arrays = _arrays(file, path)
            size, n_actions = arrays["o"].shape[2], arrays["a"].shape[2]
            notes.extend(left_out_note(file, _KEYS, _KEYS))
        environment, quality = _environment(path, size, notes)
        card = {
            "environment": environment,
            "action_space": "continuous",
            "action_low": [-1.0] * n_actions,
            "action_high": [1.0] * n_actions,
            "behaviour": f"OMIGA's {path.name}",
            "quality": quality,
            "reward": "the team's, the same number for each agent",
            "made_by": {"format": "omiga-mujoco", "source": path.name},
        }
        return Source(card, _episodes(path, notes), notes)


IMPORTER = OmigaMujoco()


def _arrays(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """The five arrays. Raises DatasetError where one is missing or their shapes do not fit."""
    arrays = {key: array(file, key, path) for key in _KEYS}
    check_sizes(file, arrays.values(), path)
    shape = arrays["o"].shape
    if len(shape) != 3 or 0 in shape:
        raise DatasetError(f"{path}: o has shape {shape}; it must be (rows, agents, size)")
    n_rows, n_agents = shape[:2]
    fits = {
        "s": arrays["s"].shape[:2] == shape[:2] and len(arrays["s"].shape) == 3,
        "a": arrays["a"].shape[:2] == shape[:2] and len(arrays["a"].shape) == 3,
        "r": arrays["r"].shape in _per_row(n_rows, n_agents),
        "d": arrays["d"].shape in _per_row(n_rows, n_agents),
    }
    for key, good in fits.items():
        if not good:
            raise DatasetError(
                f"{path}: {key} has shape {arrays[key].shape}; beside o of shape {shape} it must have {n_rows} rows of "
                f"{n_agents} agents"
            )
    for key in ("s", "o", "a", "r"):
        if arrays[key].dtype.kind != "f":
            raise DatasetError(f"{path}: {key} is of type {arrays[key].dtype}; it must hold floats")
    return arrays


def _per_row(n_rows: int, n_agents: int) -> tuple[tuple[int, ...], ...]:
    return ((n_rows,), (n_rows, 1), (n_rows, n_agents), (n_rows, n_agents, 1))


def _environment(path: Path, size: int, notes: list[str]) -> tuple[dict[str, Any], str]:
    """The environment and the quality that the file's name states; None where ours has other observations."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        notes.append("the file's name does not tell the robot, so the card has no environment; state it with --env")
        return {"env": None}, "unknown"
    key, partition, quality = found[1], found[2], found[3]
    if _SAME_STATE.get((key, partition)) != size:
        notes.append(
            f"observations of {key}-v2 {partition} have {size} numbers here and others in Gymnasium's {key}-v5, so the "
            "card has no environment"
        )
        return {"env": None}, quality
    notes.append("MuJoCo 2.0 made these data and newer versions score policies, so returns may differ a little")
    env_args = {"key": key, "partition": partition, "observations": "full"}
    return {"env": "mamujoco", "env_args": env_args, "versions": {"mujoco": "2.0"}}, quality


def _episodes(path: Path, notes: list[str]) -> Iterator[Episode]:
    """Episodes between flags; the notes get what was counted once all are read."""
    with open_hdf5(path) as file:
        arrays = _arrays(file, path)
        data = _Data(path, arrays, arrays["o"].shape[0])
        waiting: list[dict[str, np.ndarray]] = []  # blocks of an episode whose end has not come yet
        first = 0  # row of its start
        for rows in _blocks(data):
            ends = np.flatnonzero(rows.pop("d"))
            start = 0
            for end in ends.tolist():
                waiting.append({key: part[start : end + 1] for key, part in rows.items()})
                episode, first = _joined(data, waiting, first, ended=True)
                yield from episode
                waiting, start = [], end + 1
            if start < len(rows["obs"]):
                waiting.append({key: part[start:] for key, part in rows.items()})
        if waiting:
            yield from _joined(data, waiting, first, ended=False)[0]
    notes.append(f"{data.limits} ends after {_LIMIT} steps were flagged as terminals and are time limits")
    notes.append(f"{data.clipped} actions were outside [-1, 1]")
    if data.paid:
        notes.append(
            f"{data.paid} final rows, from which no step starts, have rewards, which are left out: {data.reward:g} in "
            "all"
        )
    notes.extend(data.left_out)


def _blocks(data: _Data) -> Iterator[dict[str, np.ndarray]]:
    """Rows in blocks, checked: obs, state, actions, reward (R, N) and d (R,)."""
    arrays, (n_rows, n_agents, size) = data.arrays, data.arrays["o"].shape
    step = max(2, _BLOCK // (8 * n_agents * size))
    for start in range(0, n_rows, step):
        rows = slice(start, min(start + step, n_rows))
        read = {key: arrays[key][rows] for key in _KEYS}
        for key, part in read.items():
            flat = part.reshape(len(part), -1)
            good = np.isfinite(flat).all(axis=1)
            if not good.all():
                raise data.fault(key, start + int(np.argmin(good)), "holds a value that is not finite")
            if key in ("r", "d") and (flat != flat[:, :1]).any():
                raise data.fault(key, start + int(np.argmax((flat != flat[:, :1]).any(axis=1))), "differs over agents")
        flags = read["d"].reshape(len(read["d"]), -1)[:, 0]
        if not np.isin(flags, (0, 1)).all():
            raise data.fault("d", start + int(np.argmin(np.isin(flags, (0, 1)))), "is neither 0 nor 1")
        team = read["r"].reshape(len(flags), -1)[:, :1]  # (R, 1)
        yield {
            "obs": read["o"],
            "state": read["s"].reshape(len(flags), -1),
            "actions": read["a"],
            "reward": np.repeat(team, n_agents, axis=1),
            "d": flags != 0,
        }


def _joined(data: _Data, parts: list[dict[str, np.ndarray]], first: int, ended: bool) -> tuple[list[Episode], int]:
    """The episode that these rows are, in a list that is empty where they hold no step, and the next one's first row.

    ended: whether its last row is flagged; else the file ended before.
    """
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    n_rows = len(arrays["obs"])
    steps, following = n_rows - 1, first + n_rows
    if steps < 1:
        if ended:
            raise data.fault("d", first, "ends an episode that has no step")
        data.left_out.append("the file's last row begins an episode without a step and is left out")
        return [], following
    if steps > _LIMIT:
        raise DatasetError(
            f"{data.path}: rows {first} to {following - 1} have no d before their last one, and episodes end after "
            f"{_LIMIT} steps at the latest, so a flag is missing; fetch the file anew"
        )
    outside = np.abs(arrays["actions"][:-1]) > 1
    data.clipped += int(outside.any(axis=2).sum())
    actions = np.clip(arrays["actions"], -1, 1)
    data.paid += bool(arrays["reward"][-1, 0])
    data.reward += float(arrays["reward"][-1, 0])
    actions[-1], arrays["reward"][-1] = 0, 0  # no step starts from a final row
    terminated = np.zeros(n_rows, np.uint8)
    at_limit = steps == _LIMIT
    data.limits += ended and at_limit
    terminated[-2] = ended and not at_limit
    origin = f"{data.path}, rows {first} to {following - 1}"
    return [Episode(arrays | {"actions": actions, "terminated": terminated}, origin=origin)], following
