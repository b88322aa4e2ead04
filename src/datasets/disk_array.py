"""Arrays that stay on disk: their rows are read when they are asked for, by calls and not through a mapping."""

from __future__ import annotations

import math
import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from datasets.faults import input_error
from utils.errors import DatasetError


def read_at(path: Path, descriptor: int, content: memoryview, place: int) -> None:
    """Fill `content`, bytes, from this place of the open file. Raises DatasetError where that cannot be done."""
    while len(content):
        try:
            count = os.preadv(descriptor, [content], place)
        except OSError as error:
            raise input_error(path, error) from error
        if not count:
            raise DatasetError(f"{path} ended before its rows did; another program is changing it")
        content, place = content[count:], place + count


class DiskArray:
    """An array whose content lies in a file, row by row, for where memory has no room for it, not even for a mapping.

    It is read like a NumPy array by its first axis: ranges, row numbers, masks. Each answer is a copy in memory. A file
    that is shortened meanwhile is an error, and no signal as it would be in a mapping.

    descriptor: of the file at `path`; it is closed with this array. start: byte of the first row.
    """

    def __init__(self, path: Path, descriptor: int, start: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype
        self._descriptor, self._start = descriptor, start
        self._row_bytes = math.prod(shape[1:]) * dtype.itemsize
        weakref.finalize(self, os.close, descriptor)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """All rows in memory."""
        rows = self._rows(slice(None))
        return rows if dtype is None else rows.astype(dtype)

    def __getitem__(self, key: Any) -> Any:
        """Rows by a range, a number, row numbers or a mask; what follows in a tuple chooses among their values."""
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        rows = self._rows(first)
        return rows[(0, *rest)] if isinstance(first, int | np.integer) else rows[(slice(None), *rest)]

    def _rows(self, key: Any) -> np.ndarray:
        if isinstance(key, slice) and key.step in (None, 1):
            start, stop, _ = key.indices(len(self))
            found = np.empty((max(0, stop - start), *self.shape[1:]), self.dtype)
            self._fill(found, start)
            return found
        return self.take(np.atleast_1d(np.arange(len(self))[key]))

    def take(self, index: np.ndarray) -> np.ndarray:
        """Rows of these numbers, (n, ...) for index (n,). Neighbours are read together, and repeats once."""
        if len(index) and (index.min() < 0 or index.max() >= len(self)):
            raise IndexError(f"rows {index.min()} to {index.max()} of {len(self)}")
        new = np.ones(len(index), bool)
        new[1:] = index[1:] != index[:-1]
        rows = index if new.all() else index[new]
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        edges = [0, *breaks.tolist(), len(rows)] if len(rows) else [0]
        places = rows[edges[:-1]].tolist()
        self._announce(edges, places)
        for first, last, row in zip(edges[:-1], edges[1:], places, strict=True):
            self._fill(found[first:last], row)
        return found if rows is index else found[np.cumsum(new) - 1]

    def _announce(self, edges: list[int], places: list[int]) -> None:
        """Tell the system what will be read, so that a disk works on all of it at once, not piece by piece."""
        if len(places) < 2:
            return
        for first, last, row in zip(edges[:-1], edges[1:], places, strict=True):
            place, size = self._start + row * self._row_bytes, (last - first) * self._row_bytes
            with suppress(OSError):  # of a system that takes no advice; what is wrong with the file, reading says
                os.posix_fadvise(self._descriptor, place, size, os.POSIX_FADV_WILLNEED)

    def _fill(self, rows: np.ndarray, first: int) -> None:
        """Read rows from number `first` on into an array."""
        content = rows.reshape(-1).view(np.uint8).data
        read_at(self.path, self._descriptor, content, self._start + first * self._row_bytes)
