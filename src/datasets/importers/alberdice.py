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

from datasets.faults import input_error
from datasets.importers.npy import read_npy
from datasets.importers.source import Episode, Source
from datasets.stream import write_source
from envs.bridge import GOALS, STARTS
from envs.matrix_game import PAYOFFS, STATE
from utils.errors import DatasetError
from utils.memory import require_memory

_FILES = ("obs", "state", "actions", "avail_actions", "reward", "terminated", "filled")
_ADVICE = "fetch the folder anew"
_COPIES = 2  # the arrays as they are and as a dataset's
_GOAL_COLUMNS, _PLACE_COLUMNS = (2, 3, 6, 7), (0, 1, 4, 5)  # of Bridge's state


@dataclass(frozen=True)
class _Buffer:
    """The arrays of the folder, (E, T, ...), and the number of steps of each episode, (E,)."""

    folder: Path
    arrays: Mapping[str, np.ndarray]
    lengths: np.ndarray

    def fault(self, name: str, complaint: str, advice: str = _ADVICE) -> DatasetError:
        return DatasetError(f"{self.folder / name}.npy {complaint}; {advice}")


class AlberDICE:
    """The importer."""

    def recognise(self, path: Path) -> str | None:
        missing = [name for name in _FILES if not (path / f"{name}.npy").is_file()]
        return None if missing else "a folder of AlberDICE's npy buffers"

    def open(self, path: Path, options: Mapping[str, Any]) -> Source:
        """Read the whole buffer, of the XOR game or of Bridge.

        Ends that a time limit made and that are flagged as terminals are none: all of the XOR game's, and those of
        Bridge at the limit with an agent off its goal. The team's reward is written once per agent.
        `environment.env_args` leaves out `episode_limit`, so that policies may be evaluated with another limit.
        Raises DatasetError for a folder that lacks a file, holds another game or has arrays that do not fit together.
        """
        buffer = _read(path)
        environment, terminal = _judge(buffer)
        arrays, offsets = _flat(buffer, terminal)
        corrected = int((buffer.arrays["terminated"] == 1).sum()) - int(terminal.sum())
        card = {
            "environment": environment,
            "action_space": "discrete",
            "n_actions": buffer.arrays["avail_actions"].shape[3],
            "behaviour": f"AlberDICE's {path.resolve().parent.name}/{path.resolve().name}",
            "made_by": {"time_limits_corrected": corrected},
        }
        notes = [f"{corrected} time limits were flagged as terminals and are none now; {int(terminal.sum())} terminals"]
        return Source(card, _episodes(arrays, offsets), notes)


IMPORTER = AlberDICE()


def import_alberdice(folder: Path, out: Path, command: str = "", replace: bool = True) -> dict[str, Any]:
    """Write the buffer in `folder` as a dataset to `out`; return its dataset card.

    The card's `made_by.time_limits_corrected` counts episodes whose time limit was flagged as a terminal. replace:
    whether a file at `out` is replaced. Raises DatasetError as `AlberDICE.open` does.
    """
    return write_source(out, IMPORTER.open(folder, {}), command, compression=9, replace=replace)


def _episodes(arrays: Mapping[str, np.ndarray], offsets: np.ndarray) -> Iterator[Episode]:
    for start, stop in pairwise(offsets.tolist()):
        yield Episode({key: array[start:stop] for key, array in arrays.items()}, last_action_known=True)


def _read(folder: Path) -> _Buffer:
    """Read the folder's arrays and check their shapes, flags and actions."""
    if not folder.is_dir():
        raise DatasetError(f"{folder} is no folder; give one that holds {', '.join(f'{name}.npy' for name in _FILES)}")
    files = [folder / f"{name}.npy" for name in _FILES]
    try:
        size = sum(file.stat().st_size for file in files if file.is_file())
    except OSError as error:  # a folder that may be listed but not entered
        raise input_error(folder, error) from error
    require_memory(_COPIES * size, f"importing {folder}", "import it where there is more memory")
    arrays = {name: _load(file) for name, file in zip(_FILES, files, strict=True)}
    available = arrays["avail_actions"]
    if available.ndim != 4 or available.shape[2] != 2 or 0 in available.shape:
        raise DatasetError(
            f"{folder / 'avail_actions.npy'} has shape {available.shape}; it must be (episodes, rows, 2, actions)"
        )
    rows, width = available.shape[:2], arrays["state"].shape[-1] if arrays["state"].ndim else 0
    expected = {"obs": (2, width), "state": (width,), "actions": (2, 1)}
    for name in _FILES:
        shape = rows + expected.get(name, available.shape[2:] if name == "avail_actions" else (1,))
        if arrays[name].shape != shape:
            raise DatasetError(
                f"{folder / name}.npy has shape {arrays[name].shape}; beside avail_actions.npy's {available.shape} it "
                f"must be {shape}; {_ADVICE}"
            )
    filled = arrays["filled"][..., 0]
    if not np.isin(filled, (0, 1)).all():
        raise DatasetError(f"{folder / 'filled'}.npy must be 0 or 1 everywhere; {_ADVICE}")
    lengths = filled.sum(1).astype(np.int64) - 1  # (E,)
    buffer = _Buffer(folder, arrays, lengths)
    if not np.array_equal(filled, np.arange(rows[1]) <= lengths[:, None]) or lengths.min() < 1:
        raise buffer.fault("filled", "must be ones from each episode's first row on, for two rows at least, then zeros")
    _check_actions(buffer)
    _check_flags(buffer)
    return buffer


def _load(path: Path) -> np.ndarray:
    """Read one array without unpickling. Raises DatasetError where there is none."""
    if not path.is_file():
        raise DatasetError(f"{path} does not exist; an AlberDICE buffer holds {', '.join(_FILES)}, each as .npy")
    try:
        return read_npy(path)
    except OSError as error:
        raise input_error(path, error) from error
    except ValueError as error:
        raise DatasetError(f"{path} is no array of numbers in NumPy's format ({error}); {_ADVICE}") from error


def _check_actions(buffer: _Buffer) -> None:
    filled = buffer.arrays["filled"][..., 0] == 1
    actions, n_actions = buffer.arrays["actions"], buffer.arrays["avail_actions"].shape[3]
    if actions.dtype.kind not in "iu" or actions[filled].min() < 0 or actions[filled].max() >= n_actions:
        raise buffer.fault("actions", f"must hold whole numbers from 0 to {n_actions - 1}")


def _check_flags(buffer: _Buffer) -> None:
    """Raise DatasetError where `terminated` is 1 before an episode's last step."""
    terminated = buffer.arrays["terminated"][..., 0] != 0  # (E, T)
    misplaced = terminated & (np.arange(terminated.shape[1]) != buffer.lengths[:, None] - 1)
    if misplaced.any():
        episode, row = np.argwhere(misplaced)[0]
        last = buffer.lengths[episode] - 1
        raise buffer.fault("terminated", f"is 1 at row {row} of episode {episode}, whose last step is row {last}")


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
    filled = buffer.arrays["filled"][..., 0] == 1
    if (buffer.arrays["state"][filled] != STATE).any():
        raise buffer.fault(
            "state", f"has other states than {STATE.astype(int).tolist()}, the XOR game's only one", advice
        )
    steps = filled[:, 1:]
    first, second = np.moveaxis(buffer.arrays["actions"][:, :-1, :, 0][steps], -1, 0)
    if (buffer.arrays["reward"][:, :-1, 0][steps] != PAYOFFS["xor"][first, second]).any():
        raise buffer.fault("reward", "has other rewards than the XOR game pays for these actions", advice)
    return np.zeros(len(buffer.lengths), bool)


def _bridge_environment(buffer: _Buffer) -> dict[str, Any]:
    states = buffer.arrays["state"][buffer.arrays["filled"][..., 0] == 1]  # (R, 8)
    if (states[:, _GOAL_COLUMNS] != np.concatenate(GOALS)).any():
        raise buffer.fault(
            "state", f"has other goals than {GOALS}, those of Bridge's map", "only this map can be imported"
        )
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
            "terminated", f"is {int(flagged[episode])} at the end of episode {episode}, which has {where}"
        )
    return home


def _flat(buffer: _Buffer, terminal: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The filled rows as a dataset's arrays (R, ...), and the episode offsets (E + 1,)."""
    filled = buffer.arrays["filled"][..., 0] == 1
    offsets = np.concatenate([[0], np.cumsum(buffer.lengths + 1)])
    rows = {name: buffer.arrays[name][filled] for name in ("obs", "state", "actions", "avail_actions")}
    reward = np.repeat(buffer.arrays["reward"][filled], 2, axis=1)  # (R, N)
    reward[offsets[1:] - 1] = 0  # no step starts from a final row
    terminated = np.zeros(len(reward), np.uint8)
    terminated[offsets[1:][terminal] - 2] = 1
    return rows | {"reward": reward, "terminated": terminated}, offsets
