"""From the arrays of a file to those of a dataset: columns that were left out are computed again."""

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from datasets.columns import decode, episode_numbers
from datasets.validate import check_offsets
from utils.errors import DatasetError

Entries = Mapping[str, "np.ndarray | h5py.Dataset"]


def stored_names(key: str) -> tuple[str, str, str]:
    """Names in the file of a coded array's columns (K, R), values an episode (P, E) and coefficients (M, K + P)."""
    return f"{key}_columns", f"{key}_episode_values", f"{key}_coefficients"


def pop_episodes(entries: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Take episode_offsets (E + 1,) and last_action_known (E,) bool out of a file's arrays.

    Raises DatasetError where one is missing or the offsets are none.
    """
    for name in ("episode_offsets", "last_action_known"):
        if name not in entries:
            raise DatasetError(f"the file lacks '{name}'; fetch or collect it anew")
    offsets, known = entries.pop("episode_offsets")[...], entries.pop("last_action_known")[...].astype(bool)
    check_offsets(offsets)
    return offsets, known


def coded_keys(entries: Entries) -> list[str]:
    """The arrays of which columns were left out. Raises DatasetError where their parts do not fit together."""
    keys = [key for key in ("obs", "state") if stored_names(key)[0] in entries]
    for key in keys:
        missing = [name for name in stored_names(key) if name not in entries]
        if missing or key in entries:
            raise DatasetError(f"the parts of '{key}' do not fit together; fetch or collect the file anew")
        columns, values, coefficients = (entries[name] for name in stored_names(key))
        flat = any(len(part.shape) != 2 for part in (columns, values, coefficients))
        if flat or coefficients.shape[1] != columns.shape[0] + values.shape[0]:
            raise DatasetError(f"the parts of '{key}' do not fit together; fetch or collect the file anew")
    return keys


def row_shape(entries: Entries, key: str) -> tuple[int, ...]:
    """Shape of one row of an array that was coded; observations are divided among the agents of `actions`."""
    size = entries[stored_names(key)[2]].shape[0]
    if key != "obs":
        return (size,)
    n_agents = entries["actions"].shape[1] if "actions" in entries and len(entries["actions"].shape) == 3 else 0
    if n_agents == 0 or size % n_agents:
        raise DatasetError(f"{size} observation columns cannot be divided among {n_agents} agents")
    return n_agents, size // n_agents


def decode_rows(
    entries: Entries, offsets: np.ndarray, start: int = 0, stop: int | None = None
) -> dict[str, np.ndarray]:
    """Every array's rows [start, stop), in memory."""
    keys = coded_keys(entries)
    parts = {name for key in keys for name in stored_names(key)}
    rows = {name: entry[start:stop] for name, entry in entries.items() if name not in parts}
    if not keys:
        return rows
    stop = int(offsets[-1]) if stop is None else stop
    episodes = episode_numbers(offsets, start, stop)
    for key in keys:
        columns, values, coefficients = (entries[name] for name in stored_names(key))
        if columns.shape[1] != offsets[-1] or values.shape[1] != len(offsets) - 1:
            raise DatasetError(f"the parts of '{key}' do not fit the episodes; fetch or collect the file anew")
        flat = decode(columns[:, start:stop], values[...], coefficients[...], episodes)
        rows[key] = flat.reshape(len(flat), *row_shape(entries, key))
    return rows
