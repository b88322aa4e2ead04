"""HDF5 files from elsewhere: only plain arrays that lie in the file itself, of the size that it holds."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from datasets.declared import check_stored, size_in_memory
from datasets.faults import HDF5_NEEDS, SIGNATURE, check_plain_file, has_memory, memory_error, reading_error
from datasets.heap import check_heaps
from utils.errors import DatasetError, printable

_NUMBERS = (h5py.h5t.INTEGER, h5py.h5t.FLOAT)


def is_hdf5(path: Path) -> bool:
    """Whether a plain file begins as HDF5 does."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading.

    Raises DatasetError where it is missing, truncated or damaged, also while the `with` block reads it.
    """
    check_plain_file(path)
    if not has_memory(HDF5_NEEDS):
        raise memory_error(path)
    check_heaps(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, MemoryError) as error:
        raise reading_error(path, error) from error


def member(group: h5py.Group, name: str, path: Path) -> h5py.Group | h5py.Dataset | None:
    """An entry of a group, None where there is none. Raises DatasetError for a link that leads elsewhere.

    path: the file, for messages. An array must hold numbers or booleans, in this file.
    """
    place = f"'{printable(f'{group.name}/{name}'.lstrip('/'))[:80]}' in {path}"
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise DatasetError(f"{place} is a link, and links are not followed; copy what it leads to into the file")
    try:
        entry = group[name]
        if isinstance(entry, h5py.Group) or (isinstance(entry, h5py.Dataset) and _is_plain(entry)):
            return entry
    except (TypeError, ValueError):  # types of data that h5py lacks
        pass
    raise DatasetError(
        f"{place} is no array of numbers that lies in this file; texts, objects and data in other files are not read"
    )


def array(group: h5py.Group, name: str, path: Path) -> h5py.Dataset:
    """An array of a group. Raises DatasetError where it is missing or no array."""
    entry = member(group, name, path)
    place = printable(f"{group.name}/{name}".lstrip("/"))[:80]
    if entry is None:
        raise DatasetError(f"{path} lacks '{place}'; fetch the file anew, or make it with that array")
    if not isinstance(entry, h5py.Dataset):
        raise DatasetError(f"'{place}' in {path} is a group; it must be an array")
    return entry


def check_sizes(file: h5py.File, entries: Iterable[h5py.Dataset], path: Path) -> tuple[int, int]:
    """Bytes of the arrays in memory, and those that the file holds of them.

    Raises DatasetError where the file lacks a part of one.
    """
    named = {printable(entry.name.lstrip("/")): entry for entry in entries}
    held = check_stored(file, named, path)
    return sum(size_in_memory(entry) for entry in named.values()), held


def numbers(values: np.ndarray) -> np.ndarray:
    """Booleans, which h5py reads as such, as numbers; other arrays as they are."""
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def _is_plain(entry: h5py.Dataset) -> bool:
    simple = entry.id.get_space().get_simple_extent_type() == h5py.h5s.SIMPLE
    here = not entry.external and not entry.is_virtual
    kind = entry.id.get_type().get_class()
    return bool(simple and here and (kind in _NUMBERS or (kind == h5py.h5t.ENUM and entry.dtype == np.bool_)))
