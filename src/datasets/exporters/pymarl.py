"""PyMARL's padded episodes in one `.h5` file: `datasets.importers.pymarl` reads it, and so do OffPyMARL and others.

Beside PyMARL's keys the file has two attributes, which other readers pass over: the card's stated entries, and of which
episodes the final action is known.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from datasets.dataset import OfflineDataset
from datasets.importers.padded_files import CARD, KNOWN, card_text
from datasets.output import check_target, new_hdf5
from utils import signals
from utils.errors import DatasetError
from utils.files import output_error, writing_file

_BLOCK = 1 << 24  # bytes of padded episodes at once
_TYPES = {"obs": "f4", "state": "f4", "avail_actions": "i4", "reward": "f4", "terminated": "u1", "filled": "i8"}


@signals.StopSignals()
def export(dataset: OfflineDataset, out: Path, replace: bool) -> list[str]:
    """Write `dataset` to the file `out`; see `exporters.export_dataset`."""
    if out.suffix not in (".h5", ".hdf5"):
        raise DatasetError(f"{out} must end in .h5, as PyMARL's programs look for that")
    check_target(out, replace)
    team = equal_rewards(dataset.arrays["reward"])
    rows = dataset.max_length + 1
    try:
        with writing_file(out, replace) as temporary, new_hdf5(temporary) as file:
            for start, stop, block in _blocks(dataset, rows, team):
                for key, array in block.items():
                    if key not in file:
                        _create(file, key, (dataset.n_episodes, *array.shape[1:]), array.dtype)
                    file[key][start:stop] = array
            file["actions"].attrs[KNOWN] = dataset.last_action_known.astype(np.uint8)
            file.attrs[CARD] = card_text(dataset.card)
    except OSError as error:
        if isinstance(error, FileExistsError):
            check_target(out, replace)
        raise output_error(out, error) from error
    notes = [f"episodes are padded to {rows} rows; `filled` marks their own"]
    if not team:
        notes.append(
            "`reward` has a number for each agent, which PyMARL and OffPyMARL do not expect: they have one for the team"
        )
    if dataset.card["action_space"] == "continuous":
        notes.append("`actions` are continuous, which PyMARL and OffPyMARL do not expect")
    return notes


def equal_rewards(reward: np.ndarray) -> bool:
    """Whether all agents have the same rewards (R, N), bit by bit."""
    bits = np.ascontiguousarray(reward).view(np.uint32)
    return bool((bits == bits[:, :1]).all())


def whole_arrays(dataset: OfflineDataset, start: int, stop: int) -> dict[str, np.ndarray]:
    """Rows of all arrays, a state and available actions among them where the dataset leaves them out."""
    arrays = {key: np.asarray(array[start:stop]) for key, array in dataset.arrays.items()}
    obs = arrays["obs"]
    arrays.setdefault("state", obs.reshape(len(obs), -1))
    arrays.setdefault("avail_actions", np.ones((*obs.shape[:2], int(dataset.card["n_actions"])), np.uint8))
    return arrays


def _blocks(dataset: OfflineDataset, rows: int, team: bool) -> Iterator[tuple[int, int, dict[str, np.ndarray]]]:
    """Ranges of episodes and their padded arrays (episodes, T, ...)."""
    one = whole_arrays(dataset, 0, 1)
    per_episode = 4 * rows * sum(array.size for array in one.values())
    step, offsets = max(1, _BLOCK // per_episode), dataset.episode_offsets
    for start in range(0, dataset.n_episodes, step):
        signals.check("between two blocks of an export; what was not complete is not kept")
        stop = min(start + step, dataset.n_episodes)
        first = int(offsets[start])
        flat = whole_arrays(dataset, first, int(offsets[stop])) | {
            "filled": np.ones(int(offsets[stop]) - first, np.int64)
        }
        if dataset.card["action_space"] == "discrete":
            flat["actions_onehot"] = np.eye(int(dataset.card["n_actions"]), dtype=np.float32)[flat["actions"][..., 0]]
        if team:
            flat["reward"] = flat["reward"][:, :1]
        lengths = np.diff(offsets[start : stop + 1])
        places = np.arange(rows) < lengths[:, None]  # (episodes, T)
        block: dict[str, np.ndarray] = {}
        for key, array in flat.items():
            array = array[:, None] if array.ndim == 1 else array
            block[key] = np.zeros((stop - start, rows, *array.shape[1:]), _TYPES.get(key, array.dtype))
            block[key][places] = array
        yield start, stop, block


def _create(file: h5py.File, key: str, shape: tuple[int, ...], dtype: Any) -> None:
    row_bytes = int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
    chunks = (min(shape[0], max(1, (1 << 18) // row_bytes)), *shape[1:])
    file.create_dataset(key, shape, dtype, chunks=chunks, compression="gzip", compression_opts=4, shuffle=True)
