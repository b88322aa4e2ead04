"""A cache of memory-mapped `.npy` files beside a dataset, for data larger than memory."""

import fcntl
import hashlib
import json
import logging
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
from utils.memory import free_memory

_LOG = logging.getLogger(__name__)
_MANIFEST = "manifest.json"
Layout = dict[str, tuple[tuple[int, ...], np.dtype]]
_MEMORY_SHARE = 0.5  # of the free memory, because the buffer makes further arrays from these


def fits_in_memory(entries: Mapping[str, h5py.Dataset]) -> bool:
    """Whether the decoded arrays take at most half of the memory that is free now."""
    size = sum(entry.dtype.itemsize * entry.size for entry in entries.values())
    for key in coded_keys(entries):
        columns, _, coefficients = (entries[name] for name in stored_names(key))
        size += 4 * columns.shape[1] * (coefficients.shape[0] - columns.shape[0])
    return bool(size <= _MEMORY_SHARE * free_memory())


def cached_arrays(
    path: Path, card: Mapping[str, Any], entries: Mapping[str, h5py.Dataset], offsets: np.ndarray
) -> dict[str, np.ndarray]:
    """The mapped arrays of the file at `path`, whose content must have been checked against its card's checksum.

    An existing cache is used where every file in it has the size and checksum of its manifest. Otherwise the arrays are
    decoded block by block into a new cache, with a warning where the old one was damaged.
    Raises DatasetError where the folder cannot be written.
    """
    folder, layout = _folder(path, card), _layout(entries, offsets)
    try:
        return _open(folder, layout)
    except (OSError, ValueError):
        pass  # tried again below under the lock, as another run may be building the cache now
    try:
        folder.parent.mkdir(exist_ok=True)
        with open(folder.parent / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of runs that start together, one builds the cache and the others wait
            try:
                return _open(folder, layout)
            except (OSError, ValueError) as error:
                if folder.exists():
                    _LOG.warning(f"the memory-mapped cache {folder} is damaged ({error}); making it anew from {path}")
            _build(folder, entries, offsets, layout)
            return _open(folder, layout)
    except OSError as error:
        raise DatasetError(
            f"cannot write the memory-mapped cache {folder}: {error}; free space or move the file"
        ) from error
    except ValueError as error:
        raise DatasetError(
            f"the memory-mapped cache {folder} was damaged while it was written ({error}); use another disk"
        ) from error


def _open(folder: Path, layout: Layout) -> dict[str, np.ndarray]:
    """Map the arrays of a cache. Raises OSError or ValueError where a file is missing or was changed."""
    manifest = json.loads((folder / _MANIFEST).read_text())
    arrays: dict[str, np.ndarray] = {}
    for key, (shape, dtype) in layout.items():
        file = folder / f"{key}.npy"
        if not isinstance(manifest, dict) or manifest.get(file.name) != _fingerprint(file):
            raise ValueError(f"{file.name} was changed after it was written")
        # copy-on-write: torch needs writable memory, and the files must not change
        arrays[key] = np.load(file, mmap_mode="c", allow_pickle=False)
        if arrays[key].shape != shape or arrays[key].dtype != dtype:
            raise ValueError(f"{file.name} holds another array")
    return arrays


def _fingerprint(file: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file, read in blocks."""
    with open(file, "rb") as content:
        return {"size": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def _build(folder: Path, entries: Mapping[str, h5py.Dataset], offsets: np.ndarray, layout: Layout) -> None:
    for other in folder.parent.iterdir():
        if other.is_dir():  # an outdated or damaged cache, or one whose builder was killed
            shutil.rmtree(other)
    building = folder.with_name("building")
    building.mkdir()
    _write_arrays(building, entries, offsets, layout)
    manifest = {f"{key}.npy": _fingerprint(building / f"{key}.npy") for key in layout}
    (building / _MANIFEST).write_text(json.dumps(manifest, indent=1))
    os.replace(building, folder)


def _write_arrays(folder: Path, entries: Mapping[str, h5py.Dataset], offsets: np.ndarray, layout: Layout) -> None:
    files = {
        key: np.lib.format.open_memmap(folder / f"{key}.npy", "w+", dtype, shape)
        for key, (shape, dtype) in layout.items()
    }
    widest = max(files.values(), key=lambda file: file[:1].nbytes)
    for start, stop in row_blocks(widest):
        for key, rows in decode_rows(entries, offsets, start, stop).items():
            files[key][start:stop] = rows
    for file in files.values():
        file.flush()


def _layout(entries: Mapping[str, h5py.Dataset], offsets: np.ndarray) -> Layout:
    """Shape and dtype of every decoded array."""
    coded, n_rows = coded_keys(entries), int(offsets[-1])
    parts = {name for key in coded for name in stored_names(key)}
    layout: Layout = {name: (entry.shape, entry.dtype) for name, entry in entries.items() if name not in parts}
    return layout | {key: ((n_rows, *row_shape(entries, key)), np.dtype(np.float32)) for key in coded}


def _folder(path: Path, card: Mapping[str, Any]) -> Path:
    return path.with_name(f"{path.name}.cache") / str(card.get("checksum", ""))[:16]
