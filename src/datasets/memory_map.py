"""A cache of memory-mapped `.npy` files beside a dataset, for data larger than memory."""

import fcntl
import itertools
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from datasets.cache_files import CacheDamage, Layout, clear_caches, open_cache, remove_cache, write_cache
from datasets.faults import input_error, reading_error
from datasets.hdf5 import BLOCK_BYTES
from datasets.stored import coded_keys, decode_rows, row_shape, stored_names
from datasets.validate import OPTIONAL, REQUIRED
from utils.errors import DatasetError, OutputError, cause, printable
from utils.memory import free_addresses, free_memory

_LOG = logging.getLogger(__name__)
_MEMORY_SHARE = 0.5  # of the free memory, because the buffer makes further arrays from these


def fits_in_memory(entries: Mapping[str, h5py.Dataset]) -> bool:
    """Whether the decoded arrays take at most half of the memory that is free now."""
    size = sum(entry.dtype.itemsize * entry.size for entry in entries.values())
    for key in coded_keys(entries):
        columns, _, coefficients = (entries[name] for name in stored_names(key))
        size += 4 * columns.shape[1] * (coefficients.shape[0] - columns.shape[0])
    return bool(size <= _MEMORY_SHARE * free_memory())


def forget(path: Path, card: Mapping[str, Any]) -> None:
    """Remove the cache of the file's content, if there is one. The card's checksum must be the content's."""
    remove_cache(path.with_name(f"{path.name}.cache") / _name(card))


def _name(card: Mapping[str, Any]) -> str:
    """Name of the folder of a content's cache."""
    return str(card.get("checksum", ""))[:16]


def cached_arrays(
    path: Path, card: Mapping[str, Any], entries: Mapping[str, h5py.Dataset], offsets: np.ndarray
) -> dict[str, np.ndarray]:
    """The arrays of the file at `path`, whose content must have been checked against its card's checksum, on disk.

    They are mapped, or where that would take more than half of the address space that the process's limits leave,
    `DiskArray`s, which are read by rows.

    An existing cache is used where every file in it has the size and checksum of its manifest. Otherwise the arrays are
    decoded block by block into a new cache, with a warning where a check found the old one damaged.
    Raises DatasetError where a cache cannot be read, and OutputError where none can be written.
    """
    parent, layout = path.with_name(f"{path.name}.cache"), _layout(entries, offsets)
    name, mapped = _name(card), _mappable(layout)
    if not mapped:
        _LOG.info(f"the limit of this process leaves no room to map {parent}: its rows are read as they are needed")
    arrays, _ = _find(parent, name, layout, mapped)
    if arrays is not None:
        return arrays
    # tried again below under the lock, as another run may be making the cache now
    try:
        parent.mkdir(exist_ok=True)
        with _lock(parent / "lock"):  # of runs that start together, one makes the cache and the others wait
            arrays, damage = _find(parent, name, layout, mapped)
            if arrays is None:
                folder = _new_folder(parent, name, damage, path)
                write_cache(folder, layout, _blocks(path, entries, offsets, layout))
                arrays, damage = _find(parent, name, layout, mapped)
    except OSError as error:
        remedy = f"it takes {_size(layout) / 1e6:.0f} MB; free space or move the dataset"
        if parent.is_symlink() and not parent.is_dir():
            remedy = "it is a link that leads to no folder; make that folder, or delete the link"
        raise OutputError(f"cannot write the memory-mapped cache {parent} ({cause(error)}): {remedy}") from error
    if arrays is None:
        raise DatasetError(
            f"the memory-mapped cache {parent} was damaged while it was written ({'; '.join(damage.values())}); use "
            "another disk"
        )
    return arrays


def _mappable(layout: Layout) -> bool:
    left = free_addresses()
    return left is None or _size(layout) <= _MEMORY_SHARE * left


def _size(layout: Layout) -> int:
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in layout.values())


def _find(
    parent: Path, name: str, layout: Layout, mapped: bool
) -> tuple[dict[str, np.ndarray] | None, dict[Path, str]]:
    """The arrays of the first sound cache among NAME, NAME-2, ..., and what is wrong with the others.

    Raises DatasetError where the operating system refuses to read one.
    """
    damage: dict[Path, str] = {}
    for folder in _folders(parent, name):
        if not os.path.lexists(folder):
            return None, damage
        try:
            return open_cache(folder, layout, mapped), damage
        except CacheDamage as error:
            damage[folder] = str(error)
        except OSError as error:
            raise DatasetError(f"{input_error(folder, error)}; or delete this memory-mapped cache") from error
    raise AssertionError


def _folders(parent: Path, name: str) -> Iterator[Path]:
    yield parent / name
    for number in itertools.count(2):
        yield parent / f"{name}-{number}"


def _new_folder(parent: Path, name: str, damage: Mapping[Path, str], path: Path) -> Path:
    """Where to make a cache, once those of other content and the damaged ones are removed."""
    clear_caches(parent, damage)
    for folder, fault in damage.items():
        left = "; what is in it cannot be told to be ours, so delete it yourself" if os.path.lexists(folder) else ""
        _LOG.warning(f"the memory-mapped cache {folder} is damaged ({fault}); making it anew from {path}{left}")
    return next(folder for folder in _folders(parent, name) if not os.path.lexists(folder))


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock of this name. Raises OSError where it cannot be had, as through a link, which is not followed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _LOG.info(f"waiting for another run, which makes the memory-mapped cache {path.parent}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _blocks(
    path: Path, entries: Mapping[str, h5py.Dataset], offsets: np.ndarray, layout: Layout
) -> Iterator[dict[str, np.ndarray]]:
    """All rows, decoded, in blocks of which each array has about 16 MiB at most. Raises DatasetError on reading."""
    n_rows = int(offsets[-1])
    widest = max(int(np.prod(shape[1:])) * dtype.itemsize for shape, dtype in layout.values())
    step = max(1, BLOCK_BYTES // max(1, widest))
    for start in range(0, n_rows, step):
        try:
            rows = decode_rows(entries, offsets, start, min(start + step, n_rows))
        except (OSError, RuntimeError, KeyError) as error:  # the dataset's fault, not the cache's
            raise reading_error(path, error) from error
        yield rows


def _layout(entries: Mapping[str, h5py.Dataset], offsets: np.ndarray) -> Layout:
    """Shape and dtype of every decoded array, by its name, which becomes a file's.

    Raises DatasetError for an unknown name, and where an array has not the episodes' number of rows.
    """
    coded, n_rows = coded_keys(entries), int(offsets[-1])
    parts = {name for key in coded for name in stored_names(key)}
    layout: Layout = {name: (entry.shape, entry.dtype) for name, entry in entries.items() if name not in parts}
    for name, (shape, _) in layout.items():
        if name not in REQUIRED + OPTIONAL:
            raise DatasetError(f"'{printable(name)}' is not an array of a dataset; fetch or collect the file anew")
        if shape[0] != n_rows:
            raise DatasetError(
                f"{name} has shape {shape}, and its episodes have {n_rows} rows; fetch or collect the file anew"
            )
    return layout | {key: ((n_rows, *row_shape(entries, key)), np.dtype(np.float32)) for key in coded}
