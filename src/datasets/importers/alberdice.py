"""AlberDICE's published buffers (Matsunaga et al. 2023), folders of `.npy` files, as datasets.

The arrays hold E padded episodes of T = time limit + 1 rows; `filled` marks an episode's steps and the row after them.
Their `terminated` is 1 on every episode's last step, even where the time limit cut it. The rules of the game decide
here which of these ends are terminal states.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from datasets.importers.ends import check_flags
from datasets.importers.npy import NpyFile
from datasets.importers.source import Episode, Source
from datasets.stream import write_source
from envs.bridge import GOALS, STARTS
from envs.matrix_game import PAYOFFS, STATE
from utils.errors import DatasetError

_FILES = ("obs", "state", "actions", "avail_actions", "reward", "terminated", "filled")
_ADVICE = "fetch the folder anew"
_BLOCK = 1 << 24  # bytes that are read at a time
_GOAL_COLUMNS, _PLACE_COLUMNS = (2, 3, 6, 7), (0, 1, 4, 5)  # of Bridge's state


@dataclass(frozen=True)
class _Buffer:
    """Some episodes of the folder. arrays: (E, T, ...); lengths: (E,) their steps; first: the number of the first."""

    folder: Path
    arrays: Mapping[str, np.ndarray]
    lengths: np.ndarray
    first: int

    @property
    def filled(self) -> np.ndarray:
        """(E, T) bool."""
        filled: np.ndarray = self.arrays["filled"][..., 0] == 1
        return filled

    def fault(self, name: str, complaint: str, advice: str = _ADVICE) -> DatasetError:
        return DatasetError(f"{self.folder / name}.npy {complaint}; {advice}")

    def refuse(self, name: str, wrong: np.ndarray, complaint: str, advice: str = _ADVICE) -> None:
        """Raise DatasetError where a row is `wrong`, (E, T) bool."""
        if wrong.any():
            episode, row = (int(index) for index in np.argwhere(wrong)[0])
            raise self.fault(name, f"{complaint} (row {row} of episode {self.first + episode})", advice)


class AlberDICE:
    """The importer."""

    def recognise(self, path: Path) -> str | None:
        missing = [name for name in _FILES if not (path / f"{name}.npy").is_file()]
        return None if missing else "a folder of AlberDICE's npy buffers"

    def open(self, path: Path, options: Mapping[str, Any]) -> Source:
        """Check the shapes, and the first episodes, which tell the XOR game from Bridge.

        Ends that a time limit made and that are flagged as terminals are none: all of the XOR game's, and those of
        Bridge at the limit with an agent off its goal. The team's reward is written once per agent.
        `environment.env_args` leaves out `episode_limit`, so that policies may be evaluated with another limit.
        Raises DatasetError for a folder that lacks a file, holds another game or has arrays that do not fit together;
        of its rows while they are read.
        """
        files = _open(path)
        environment, _ = _judge(next(_blocks(path, files)))
        made_by: dict[str, Any] = {}
        card = {
            "environment": environment,
            "action_space": "discrete",
            "n_actions": files["avail_actions"].shape[3],
            "behaviour": f"AlberDICE's {path.resolve().parent.name}/{path.resolve().name}",
            "made_by": made_by,
        }
        notes = ["time limits that are flagged as terminals are none"]
        return Source(card, _episodes(path, files, environment, made_by, notes), notes)


IMPORTER = AlberDICE()


def import_alberdice(folder: Path, out: Path, command: str = "", replace: bool = True) -> dict[str, Any]:
    """Write the buffer in `folder` as a dataset to `out`; return its dataset card.

    The card's `made_by.time_limits_corrected` counts episodes whose time limit was flagged as a terminal. replace:
    whether a file at `out` is replaced. Raises DatasetError as `AlberDICE.open` does.
    """
    return write_source(out, IMPORTER.open(folder, {}), command, compression=9, replace=replace)


def _episodes(
    path: Path, files: Mapping[str, NpyFile], environment: Mapping[str, Any], made_by: dict[str, Any], notes: list[str]
) -> Iterator[Episode]:
    """The episodes; made_by and notes get what was counted once all are read."""
    flagged = terminals = 0
    for buffer in _blocks(path, files):
        found, terminal = _judge(buffer)
        if found != environment:
            raise buffer.fault("state", f"has another first place from episode {buffer.first} on than before", _ADVICE)
        flagged, terminals = flagged + int(buffer.arrays["terminated"].sum()), terminals + int(terminal.sum())
        arrays, offsets = _flat(buffer, terminal)
        for number, (start, stop) in enumerate(pairwise(offsets.tolist()), buffer.first):
            rows = {key: array[start:stop] for key, array in arrays.items()}
            yield Episode(rows, last_action_known=True, origin=f"episode {number} of {path}")
    made_by["time_limits_corrected"] = flagged - terminals
    notes[:] = [f"{flagged - terminals} time limits were flagged as terminals and are none now; {terminals} terminals"]


def _open(folder: Path) -> dict[str, NpyFile]:
    """Open the folder's files and check their shapes."""
    if not folder.is_dir():
        raise DatasetError(f"{folder} is no folder; give one that holds {', '.join(f'{name}.npy' for name in _FILES)}")
    files: dict[str, NpyFile] = {}
    for name in _FILES:
        path = folder / f"{name}.npy"
        if not path.is_file():
            raise DatasetError(f"{path} does not exist; an AlberDICE buffer holds {', '.join(_FILES)}, each as .npy")
        files[name] = NpyFile(path)
    available = files["avail_actions"].shape
    if len(available) != 4 or available[2] != 2 or 0 in available:
        raise DatasetError(
            f"{folder / 'avail_actions.npy'} has shape {available}; it must be (episodes, rows, 2, actions)"
        )
    rows, width = available[:2], files["state"].shape[-1]
    expected = {"obs": (2, width), "state": (width,), "actions": (2, 1), "avail_actions": available[2:]}
    for name in _FILES:
        shape = rows + expected.get(name, (1,))
        if files[name].shape != shape:
            raise DatasetError(
                f"{folder / name}.npy has shape {files[name].shape}; beside avail_actions.npy's {available} it must be "
                f"{shape}; {_ADVICE}"
            )
    return files


def _blocks(folder: Path, files: Mapping[str, NpyFile]) -> Iterator[_Buffer]:
    """Episodes some at a time, with their flags and actions checked."""
    n_episodes, n_rows = files["filled"].shape[:2]
    per_episode = n_rows * sum(int(np.prod(file.shape[2:])) * file.dtype.itemsize for file in files.values())
    step = max(1, _BLOCK // max(1, per_episode))
    for first in range(0, n_episodes, step):
        arrays = {name: file[first : first + step] for name, file in files.items()}
        filled = arrays["filled"][..., 0]
        if not np.isin(filled, (0, 1)).all():
            raise DatasetError(f"{folder / 'filled'}.npy must be 0 or 1 everywhere; {_ADVICE}")
        lengths = filled.sum(1).astype(np.int64) - 1  # (E,)
        buffer = _Buffer(folder, arrays, lengths, first)
        if lengths.min() < 1 or not np.array_equal(filled, np.arange(n_rows) <= lengths[:, None]):
            raise buffer.fault(
                "filled", "must be ones from each episode's first row on, for two rows at least, then zeros"
            )
        _check_actions(buffer)
        _check_flags(buffer)
        yield buffer


def _check_actions(buffer: _Buffer) -> None:
    actions, n_actions = buffer.arrays["actions"], buffer.arrays["avail_actions"].shape[3]
    complaint = f"must hold whole numbers from 0 to {n_actions - 1}"
    if actions.dtype.kind not in "iu":
        raise buffer.fault("actions", complaint)
    wrong = ((actions < 0) | (actions >= n_actions)).any(axis=(2, 3))  # (E, T)
    buffer.refuse("actions", wrong & buffer.filled, complaint)


def _check_flags(buffer: _Buffer) -> None:
    """Raise DatasetError for flags that are neither 0 nor 1, and where `terminated` is 1 before the last step."""
    n_rows = buffer.filled.shape[1]
    for name in ("terminated", "avail_actions"):
        used = buffer.arrays[name] * buffer.arrays["filled"].reshape(-1, n_rows, *[1] * (buffer.arrays[name].ndim - 2))
        for number, rows in enumerate(used, buffer.first):
            check_flags(rows, name, f"episode {number} of {buffer.folder / name}.npy")
    terminated = buffer.arrays["terminated"][..., 0] != 0  # (E, T)
    misplaced = terminated & (np.arange(n_rows) != buffer.lengths[:, None] - 1)
    if misplaced.any():
        episode, row = np.argwhere(misplaced)[0]
        last = buffer.lengths[episode] - 1
        raise buffer.fault(
            "terminated", f"is 1 at row {row} of episode {buffer.first + episode}, whose last step is row {last}"
        )


def _judge(buffer: _Buffer) -> tuple[dict[str, Any], np.ndarray]:
    """Environment of the buffer, as its dataset card states it, and which episodes end in terminals, (E,) bool."""
    shape = (buffer.arrays["avail_actions"].shape[3], buffer.arrays["state"].shape[2])
    if shape == (2, 4):
        return {"env": "matrix_game", "env_args": {"key": "xor"}}, _xor_terminals(buffer)
    if shape == (5, 8):
        return _bridge_environment(buffer), _bridge_terminals(buffer)
    raise DatasetError(
        f"{buffer.folder} has {shape[0]} actions and states of {shape[1]} numbers, the XOR game 2 and 4, Bridge 5 and "
        "8; buffers of other games cannot be imported: write them with write_dataset (docs/reference/dataset-format.md)"
    )


def _xor_terminals(buffer: _Buffer) -> np.ndarray:
    """All False, (E,). Raises DatasetError for states or rewards of another game (`mmdp_game_1` has a second)."""
    advice = "the XOR game is mmdp_game_1 with matrix_game=True"
    filled = buffer.filled
    complaint = f"has other states than {STATE.astype(int).tolist()}, the XOR game's only one"
    buffer.refuse("state", (buffer.arrays["state"] != STATE).any(2) & filled, complaint, advice)
    steps = filled[:, 1:]
    first, second = np.where(steps, np.moveaxis(buffer.arrays["actions"][:, :-1, :, 0], -1, 0), 0)  # (E, T - 1) each
    wrong = (buffer.arrays["reward"][:, :-1, 0] != PAYOFFS["xor"][first, second]) & steps
    buffer.refuse("reward", wrong, "has other rewards than the XOR game pays for these actions", advice)
    return np.zeros(len(buffer.lengths), bool)


def _bridge_environment(buffer: _Buffer) -> dict[str, Any]:
    wrong = (buffer.arrays["state"][..., _GOAL_COLUMNS] != np.concatenate(GOALS)).any(2)  # (E, T)
    complaint = f"has other goals than {GOALS}, those of Bridge's map"
    buffer.refuse("state", wrong & buffer.filled, complaint, "only this map can be imported")
    starts = buffer.arrays["state"][:, 0][:, _PLACE_COLUMNS]
    for adjacent, places in STARTS.items():
        if (starts == np.concatenate(places)).all():
            return {"env": "bridge", "env_args": {"start_adjacent": adjacent}}
    raise buffer.fault(
        "state", f"has other first places than {STARTS[True]} or {STARTS[False]}", "import a *_from_start buffer"
    )


def _bridge_terminals(buffer: _Buffer) -> np.ndarray:
    """Whether both agents are on their goals after the last step, (E,) bool. Raises DatasetError for other flags."""
    episodes = np.arange(len(buffer.lengths))
    final = buffer.arrays["state"][episodes, buffer.lengths]  # (E, 8)
    home: np.ndarray = (final[:, _PLACE_COLUMNS] == final[:, _GOAL_COLUMNS]).all(1)
    flagged = buffer.arrays["terminated"][episodes, buffer.lengths - 1, 0] != 0
    cut_at_limit = buffer.lengths == buffer.arrays["state"].shape[1] - 1
    wrong = np.flatnonzero((home & ~flagged) | (flagged & ~home & ~cut_at_limit))
    if len(wrong):
        episode = int(wrong[0])
        where = "both agents on their goals" if home[episode] else "an agent off its goal before the time limit"
        raise buffer.fault(
            "terminated",
            f"is {int(flagged[episode])} at the end of episode {buffer.first + episode}, which has {where}",
        )
    return home


def _flat(buffer: _Buffer, terminal: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The filled rows as a dataset's arrays (R, ...), and the episode offsets (E + 1,)."""
    filled = buffer.filled
    offsets = np.concatenate([[0], np.cumsum(buffer.lengths + 1)])
    rows = {name: buffer.arrays[name][filled] for name in ("obs", "state", "actions", "avail_actions")}
    reward = np.repeat(buffer.arrays["reward"][filled], 2, axis=1)  # (R, N)
    reward[offsets[1:] - 1] = 0  # no step starts from a final row
    terminated = np.zeros(len(reward), np.uint8)
    terminated[offsets[1:][terminal] - 2] = 1
    return rows | {"reward": reward, "terminated": terminated}, offsets
