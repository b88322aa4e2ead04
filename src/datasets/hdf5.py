"""The HDF5 file: named plain arrays and the dataset card as JSON, with a checksum, written whole or not at all."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from datasets.declared import FORMAT, declared_arrays, read_card
from datasets.faults import HDF5_NEEDS, check_plain_file, container_error, has_memory, memory_error
from datasets.output import check_target, clear_datasets, new_hdf5
from datasets.spill import SpilledArray
from utils import signals
from utils.files import output_error, writing_file

BLOCK_BYTES = 1 << 24
Stored = Mapping[str, "np.ndarray | h5py.Dataset | SpilledArray"]
Rows = TypeVar("Rows", np.ndarray, SpilledArray)  # arrays that a writer takes: in memory, or on disk


@signals.StopSignals()
def write_container(path: Path, stored: Stored, card: dict[str, Any], compression: int, replace: bool = True) -> None:
    """Write arrays and dataset card to `path`; the card's `checksum` is computed here.

    The file gets its name once it is complete and on disk. A killed writer leaves a hidden `.writing` file beside it,
    which the next write in that folder removes. compression: gzip level, 0 (none) to 9. replace: whether a dataset at
    `path` is replaced. Raises NameTakenError where it is not to be and there is one, at whatever moment it came;
    OutputError where the folder cannot be written or its disk is full.
    """
    card["checksum"] = checksum(stored, card)
    check_target(path, replace)
    try:
        clear_datasets(path)
        with writing_file(path, replace) as temporary, new_hdf5(temporary) as file:
            for name, array in stored.items():
                _create(file, name, array, compression)
            file.attrs["format"] = FORMAT
            file.attrs["format_version"] = card["format_version"]
            file.attrs["card"] = json.dumps(card, allow_nan=False)
            file.flush()
            declared_arrays(file, path)  # what readers refuse is not written
    except OSError as error:
        if isinstance(error, FileExistsError):
            check_target(path, replace)
        raise output_error(path, error) from error


@contextmanager
def open_container(path: Path) -> Iterator[tuple[dict[str, h5py.Dataset], dict[str, Any]]]:
    """Open the file at `path`; yield its arrays, which are not read yet, and its dataset card.

    Raises DatasetError for a file that is missing, truncated, of another format or version, and where reading an array
    inside the `with` block fails: on damaged data, by the operating system's refusal, or for lack of memory.
    """
    check_plain_file(path)
    if not has_memory(HDF5_NEEDS):
        raise memory_error(path)
    try:
        with h5py.File(path, "r") as file:
            card = read_card(file, path)
            yield declared_arrays(file, path), card
    except (OSError, RuntimeError, KeyError, MemoryError) as error:
        raise container_error(path, error) from error


def checksum(stored: Stored, card: Mapping[str, Any]) -> str:
    """SHA-256 over the card without its checksum, and over every array's name, type, shape and bytes."""
    content = {key: value for key, value in card.items() if key != "checksum"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode())
    for name in sorted(stored):
        array = stored[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        for start, stop in row_blocks(array):
            digest.update(np.ascontiguousarray(array[start:stop]).data)
    return digest.hexdigest()


def row_blocks(array: "np.ndarray | h5py.Dataset | SpilledArray") -> Iterator[tuple[int, int]]:
    """Row ranges of about 16 MiB, so that arrays larger than memory can be walked; a signal ends the walk."""
    row_bytes = max(1, array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64)))
    step = max(1, BLOCK_BYTES // row_bytes)
    for start in range(0, array.shape[0], step):
        signals.check("between two blocks of a dataset; what was not complete is not kept")
        yield start, min(start + step, array.shape[0])


def any_row(array: "np.ndarray | h5py.Dataset | SpilledArray") -> np.ndarray:
    """Which values of a row are not 0 in some row, (...) bool for an array (R, ...), which may be on disk."""
    found = np.zeros(array.shape[1:], bool)
    for start, stop in row_blocks(array):
        found |= array[start:stop].any(0)
    return found


def _create(file: h5py.File, name: str, array: "np.ndarray | SpilledArray", compression: int) -> None:
    if array.size == 0:
        file.create_dataset(name, data=array[:])
        return
    if name.endswith("_columns"):  # (K, R): a chunk holds one column
        chunks = (1, min(array.shape[1], 1 << 18))
    else:
        row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:]))
        chunks = (min(array.shape[0], max(1, (1 << 17) // row_bytes)), *array.shape[1:])
    options = {"compression": "gzip", "compression_opts": compression, "shuffle": True} if compression else {}
    stored = file.create_dataset(name, array.shape, array.dtype, chunks=chunks, **options)
    for start, stop in row_blocks(array):
        stored[start:stop] = array[start:stop]
