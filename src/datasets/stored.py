"""From the arrays of a file to those of a dataset: columns that were left out are decoded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from datasets.columns import MAX_COLUMNS, decode, episode_numbers
from datasets.validate import check_offsets
from utils.errors import DatasetError

Entries = Mapping[str, "np.ndarray | h5py.Dataset"]
_EPISODES = ("episode_offsets", "last_action_known")


def stored_names(key: str) -> tuple[str, str, str]:
    """Names in a file of an encoded array's columns (K, R), episode values (P, E) and coefficients (M, K + P)."""
    return f"{key}_columns", f"{key}_episode_values", f"{key}_coefficients"


def pop_episodes(entries: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Take episode_offsets (E + 1,) and last_action_known (E,) bool out of a file's arrays.

    Raises DatasetError where one is missing or the offsets are not those of episodes.
    """
    for name in _EPISODES:
        if name not in entries:
            raise DatasetError(f"the file lacks '{name}'; fetch or collect it anew")
    offsets, known = entries.pop("episode_offsets")[...], entries.pop("last_action_known")[...].astype(bool)
    check_offsets(offsets)
    return offsets, known


def coded_keys(entries: Entries) -> list[str]:
    """Names of encoded arrays. Raises DatasetError where the parts of one do not fit together."""
    keys = [key for key in ("obs", "state") if stored_names(key)[0] in entries]
    for key in keys:
        missing = [name for name in stored_names(key) if name not in entries]
        if missing or key in entries:
            raise DatasetError(f"the parts of '{key}' do not fit together; fetch or collect the file anew")
        columns, values, coefficients = (entries[name] for name in stored_names(key))
        flat = any(len(part.shape) != 2 for part in (columns, values, coefficients))
        if flat or coefficients.shape[1] != columns.shape[0] + values.shape[0] or max(coefficients.shape) > MAX_COLUMNS:
            raise DatasetError(f"the parts of '{key}' do not fit together; fetch or collect the file anew")
    return keys


@dataclass(frozen=True)
class Declared:
    """Shape and type of an array that is not in memory."""

    shape: tuple[int, ...]
    dtype: np.dtype


def declared(entries: Entries) -> dict[str, Declared]:
    """Shape and type of every decoded array of a file, the episodes' own apart; nothing is read."""
    keys = coded_keys(entries)
    parts = {name for key in keys for name in stored_names(key)} | set(_EPISODES)
    found = {name: Declared(entry.shape, entry.dtype) for name, entry in entries.items() if name not in parts}
    for key in keys:
        n_rows = entries[stored_names(key)[0]].shape[1]
        found[key] = Declared((n_rows, *row_shape(entries, key)), np.dtype(np.float32))
    return found


def row_shape(entries: Entries, key: str) -> tuple[int, ...]:
    """Shape of one row of an encoded array; observations have the number of agents of `actions`."""
    size = entries[stored_names(key)[2]].shape[0]
    if key != "obs":
        return (size,)
    n_agents = entries["actions"].shape[1] if "actions" in entries and len(entries["actions"].shape) == 3 else 0
    if n_agents == 0 or size % n_agents:
        raise DatasetError(
            f"{size} observation columns cannot be divided among {n_agents} agents; fetch or collect the file anew"
        )
    return n_agents, size // n_agents


def decode_rows(
    entries: Entries, offsets: np.ndarray, start: int = 0, stop: int | None = None
) -> dict[str, np.ndarray]:
    """Rows [start, stop) of every array, decoded and in memory."""
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
