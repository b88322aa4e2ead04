"""Padded episodes in PyMARL's layout, as tests write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.datasets.importers.foreign import discrete_episodes
from tests.datasets.samples import Arrays

LENGTHS, TERMINAL = [3, 5, 1], [False, True, False]
T = 7


def batch(final_actions: bool = True) -> Arrays:
    """An EpisodeBatch's transition data: what PyMARL's runners fill in, zeros behind; `filled` counts the final row."""
    arrays, offsets, card = discrete_episodes(LENGTHS, TERMINAL)
    n_actions = card["n_actions"]
    found: dict[str, list[np.ndarray]] = {}
    for start, stop in zip(offsets[:-1], offsets[1:], strict=True):
        own = {key: array[start:stop].copy() for key, array in arrays.items()}
        onehot = np.eye(n_actions, dtype=np.float32)[own["actions"][..., 0]]
        if not final_actions:  # as parallel runners leave them
            own["actions"][-1], onehot[-1] = 0, 0
        own |= {
            "avail_actions": own["avail_actions"].astype(np.int32),
            "actions_onehot": onehot,
            "reward": own["reward"][:, :1],
            "terminated": own["terminated"][:, None],
            "filled": np.ones((stop - start, 1), np.int64),
        }
        for key, array in own.items():
            padding = np.zeros((T - len(array), *array.shape[1:]), array.dtype)
            found.setdefault(key, []).append(np.concatenate([array, padding]))
    return {key: np.stack(parts) for key, parts in found.items()}


def write_h5(path: Path, arrays: dict[str, Any], **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array, **how)
    return path


def icq(path: Path) -> Path:
    """ICQ's single file."""
    return write_h5(path / "3m.h5", batch())


def npz(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path / "episodes.npz", **batch())
    return path / "episodes.npz"
