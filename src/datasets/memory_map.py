"""A cache of plain `.npy` files beside a dataset, for data larger than memory: mapped, never loaded."""

import fcntl
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from datasets.hdf5 import row_blocks
from datasets.stored import coded_keys, decode_rows, row_shape, stored_names
from utils.errors import DatasetError

_MEMORY_SHARE = 0.5  # of the memory that is free: the buffer scalarises, encodes and may copy


def fits_in_memory(entries: Mapping[str, h5py.Dataset]) -> bool:
    """Whether the decoded arrays leave room in the memory that is free now."""
    size = sum(entry.dtype.itemsize * entry.size for entry in entries.values())
    for key in coded_keys(entries):
        columns, _, coefficients = (entries[name] for name in stored_names(key))
        size += 4 * columns.shape[1] * (coefficients.shape[0] - columns.shape[0])
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return size <= _MEMORY_SHARE * free


def open_cache(path: Path, card: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """The mapped arrays of the file with this card's checksum, or None where they were not made yet."""
    folder = _folder(path, card)
    if not folder.is_dir():
        return None
    # copy-on-write: torch wants writable memory, and the files stay as they are
    return {file.stem: np.load(file, mmap_mode="c", allow_pickle=False) for file in sorted(folder.glob("*.npy"))}


def build_cache(
    path: Path, card: Mapping[str, Any], entries: Mapping[str, h5py.Dataset], offsets: np.ndarray
) -> dict[str, np.ndarray]:
    """Decode the arrays block by block into the cache, remove caches of earlier contents, and map the new one.

    Raises DatasetError where the folder cannot be written.
    """
    folder = _folder(path, card)
    try:
        folder.parent.mkdir(exist_ok=True)
        with open(folder.parent / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # runs that start together: one builds, the others wait and find it
            if not folder.is_dir():
                _build(folder, entries, offsets)
    except OSError as error:
        raise DatasetError(
            f"cannot write the memory-mapped cache {folder}: {error}; free space or move the file"
        ) from error
    arrays = open_cache(path, card)
    assert arrays is not None
    return arrays


def _build(folder: Path, entries: Mapping[str, h5py.Dataset], offsets: np.ndarray) -> None:
    for other in folder.parent.iterdir():
        if other.is_dir():  # an earlier content, or what a killed builder left
            shutil.rmtree(other)
    building = folder.with_name("building")
    building.mkdir()
    _write_arrays(building, entries, offsets)
    os.replace(building, folder)


def _write_arrays(folder: Path, entries: Mapping[str, h5py.Dataset], offsets: np.ndarray) -> None:
    coded = coded_keys(entries)
    parts = {name for key in coded for name in stored_names(key)}
    layout = {name: (entry.shape[1:], entry.dtype) for name, entry in entries.items() if name not in parts}
    layout |= {key: (row_shape(entries, key), np.dtype(np.float32)) for key in coded}
    n_rows = int(offsets[-1])
    files = {
        key: np.lib.format.open_memmap(folder / f"{key}.npy", "w+", dtype, (n_rows, *shape))
        for key, (shape, dtype) in layout.items()
    }
    widest = max(files.values(), key=lambda file: file[:1].nbytes)
    for start, stop in row_blocks(widest):
        for key, rows in decode_rows(entries, offsets, start, stop).items():
            files[key][start:stop] = rows
    for file in files.values():
        file.flush()


def _folder(path: Path, card: Mapping[str, Any]) -> Path:
    return path.with_name(f"{path.name}.cache") / str(card.get("checksum", ""))[:16]
