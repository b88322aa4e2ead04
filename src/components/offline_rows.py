"""A dataset's rows as tensors, and the table of windows that the offline buffer samples from."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch as th
from torch import Tensor

from components.scheme import Scheme
from modules.layers.sizes import field_size, shape_of
from utils.errors import DatasetError


class DiskRows:
    """Rows (R, ...) that stay on disk, with what the buffer asks of a tensor; those chosen are read into memory.

    array: a `datasets.disk_array.DiskArray`.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype = th.from_numpy(np.zeros(0, array.dtype)).dtype

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Rows of these numbers, (n, ...) for index (n,) on the CPU. dim: 0."""
        assert dim == 0
        return th.from_numpy(self._array.take(index.numpy()))

    def to(self, device: str) -> "DiskRows":
        """Stay where they are: such a buffer's home is the CPU."""
        return self


Rows = dict[str, Tensor | DiskRows]


def on_disk(array: Any) -> bool:
    """Whether a dataset's array is mapped from a file or read from one by rows."""
    return isinstance(array, np.memmap) or not isinstance(array, np.ndarray)


def flat_tensors(
    arrays: Mapping[str, np.ndarray], scheme: Scheme, n_agents: int, reward_scalarisation: str | None
) -> Rows:
    """The dataset's rows as tensors (R, ...), rewards reduced; arrays that are no NumPy arrays stay on disk.

    Raises DatasetError where they do not fit the scheme.
    """
    rows: Rows = {key: _rows(arrays[key]) for key in ("obs", "state", "actions", "avail_actions") if key in arrays}
    rows["reward"] = _scalarise(arrays["reward"], reward_scalarisation)
    rows["terminated"] = th.from_numpy(arrays["terminated"]).unsqueeze(-1)
    for key, value in rows.items():
        group = (n_agents,) if "group" in scheme[key] else ()
        wanted = (*group, *shape_of(scheme[key]["vshape"]))
        if tuple(value.shape[1:]) != wanted:
            raise DatasetError(
                f"the dataset's {key} has shape {tuple(value.shape[1:])} per step, the environment's is {wanted}; "
                "choose the environment (or its env_args) that the dataset card names"
            )
    if rows["actions"].dtype != scheme["actions"]["dtype"]:
        raise DatasetError(
            f"the dataset's actions are {rows['actions'].dtype}, the environment's {scheme['actions']['dtype']}; "
            "choose the environment that the dataset card names"
        )
    obs_values = math.prod(rows["obs"].shape[1:])
    if "state" not in rows and shape_of(scheme["state"]["vshape"]) != (obs_values,):
        raise DatasetError(
            f"the dataset holds no state, so the state is the joined observations ({obs_values} values), but the "
            f"environment's has {field_size(scheme, 'state')}; choose the environment that the dataset card names"
        )
    return rows


def _rows(array: Any) -> Tensor | DiskRows:
    return th.from_numpy(array) if isinstance(array, np.ndarray) else DiskRows(array)


def _scalarise(reward: np.ndarray, how: str | None) -> Tensor:
    """Reduce rewards (R, N) over agents to (R, 1) float32; None leaves them unchanged."""
    if how is None:
        return th.from_numpy(reward)
    if how == "agent0":
        reduced = reward[:, :1]
    elif how in ("sum", "mean"):
        reduced = getattr(np, how)(reward, axis=1, keepdims=True, dtype=np.float64)
    else:
        raise DatasetError(
            f"reward_scalarisation is '{how}'; it must be sum, mean or agent0, or null for rewards per agent"
        )
    return th.from_numpy(np.ascontiguousarray(reduced, np.float32))


def next_action_valid(offsets: Tensor, last_action_known: np.ndarray) -> Tensor:
    valid = th.ones(int(offsets[-1]), 1)
    valid[offsets[1:] - 1] = 0.0
    valid[offsets[1:] - 2] = th.from_numpy(last_action_known).float().unsqueeze(-1)
    return valid


def discounted_to_go(reward: Tensor, offsets: Tensor, gamma: float) -> Tensor:
    """Discounted returns to go within episodes, G_t = r_t + gamma G_{t+1}, (R, ...); final rows hold no step."""
    to_go = reward.clone()
    ends = offsets[1:] - 1  # the final rows
    for back in range(1, int(offsets.diff().max())):
        rows = (ends - back)[ends - back >= offsets[:-1]]
        to_go[rows] += gamma * to_go[rows + 1]
    return to_go


def window_table(offsets: Tensor, terminated: Tensor, window: int | None, burn_in: int) -> dict[str, Tensor]:
    """Tables of all windows, (W,) each.

    start: first row; length: rows; before: burn-in rows; cut: whether the last step is no terminal; first: the first
    row of its episode.
    """
    n_rows, ends = offsets.diff(), offsets[1:]
    counts = th.ones_like(n_rows) if window is None else (n_rows - window).clamp(min=1)
    episode = th.arange(len(n_rows)).repeat_interleave(counts)
    first = offsets[:-1][episode]
    learned = first + th.arange(len(episode)) - (counts.cumsum(0) - counts)[episode]  # the first row to learn from
    stop = ends[episode] if window is None else th.minimum(ends[episode], learned + window + 1)
    before = (learned - first).clamp(max=burn_in)
    start = learned - before
    cut = terminated[stop - 2, 0] == 0
    return {"start": start, "length": stop - start, "before": before, "cut": cut, "first": first}
