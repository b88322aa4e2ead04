"""The HDF5 file: named plain arrays and the dataset card as JSON, with a checksum, written whole or not at all."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from datasets.declared import FORMAT, declared_arrays, read_card
from utils.errors import DatasetError
from utils.files import flush_to_disk

_BLOCK_BYTES = 1 << 24
Stored = Mapping[str, "np.ndarray | h5py.Dataset"]


def write_container(path: Path, stored: Mapping[str, np.ndarray], card: dict[str, Any], compression: int) -> None:
    """Write arrays and dataset card to `path`; the card's `checksum` is computed here.

    The file gets its name once it is complete and on disk. A killed writer leaves a hidden `.tmp` file beside it, which
    the next attempt overwrites. compression: gzip level, 0 (none) to 9.
    Raises DatasetError where the folder cannot be written.
    """
    card["checksum"] = checksum(stored, card)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # object headers of format 1.8 hold attributes above 64 KiB, which the card of wide observations needs
            with h5py.File(temporary, "w", libver=("v108", "v110")) as file:
                for name, array in stored.items():
                    _create(file, name, array, compression)
                file.attrs["format"] = FORMAT
                file.attrs["format_version"] = card["format_version"]
                file.attrs["card"] = json.dumps(card, allow_nan=False)
                file.flush()
                declared_arrays(file, path)  # what readers refuse is not written
            flush_to_disk(temporary)
            os.replace(temporary, path)
            flush_to_disk(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DatasetError(
            f"cannot write {path}: {error}; choose a folder with free space and write permission"
        ) from error


@contextmanager
def open_container(path: Path) -> Iterator[tuple[dict[str, h5py.Dataset], dict[str, Any]]]:
    """Open the file at `path`; yield its arrays, which are not read yet, and its dataset card.

    Raises DatasetError for a file that is missing, truncated, of another format or version, and where reading an array
    inside the `with` block fails on damaged data.
    """
    if not path.is_file():
        raise DatasetError(f"there is no dataset file {path}; give the name or path of an existing one")
    try:
        with h5py.File(path, "r") as file:
            card = read_card(file, path)
            yield declared_arrays(file, path), card
    except (OSError, RuntimeError, KeyError) as error:
        raise DatasetError(
            f"{path} cannot be read as HDF5, so it is truncated, damaged or of another kind; fetch or collect it anew"
            f" ({error})"
        ) from error


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


def row_blocks(array: "np.ndarray | h5py.Dataset") -> Iterator[tuple[int, int]]:
    """Row ranges of about 16 MiB, so that arrays larger than memory can be walked."""
    row_bytes = max(1, array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64)))
    step = max(1, _BLOCK_BYTES // row_bytes)
    for start in range(0, array.shape[0], step):
        yield start, min(start + step, array.shape[0])


def _create(file: h5py.File, name: str, array: np.ndarray, compression: int) -> None:
    if array.size == 0:
        file.create_dataset(name, data=array)
        return
    if name.endswith("_columns"):  # (K, R): a chunk holds one column
        chunks = (1, min(array.shape[1], 1 << 18))
    else:
        row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:]))
        chunks = (min(array.shape[0], max(1, (1 << 17) // row_bytes)), *array.shape[1:])
    options = {"compression": "gzip", "compression_opts": compression, "shuffle": True} if compression else {}
    file.create_dataset(name, data=array, chunks=chunks, **options)
