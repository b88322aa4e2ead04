"""Rows that wait on disk and not in memory, to be read like an array."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import numpy as np

from utils.files import output_error


class SpilledArray:
    """An array in an unnamed file, which is gone when this process ends. It grows by rows.

    folder: where the file lies. row: shape of one row. Raises OutputError where the disk refuses.
    """

    def __init__(self, folder: Path, row: tuple[int, ...], dtype: np.dtype) -> None:
        self.dtype = np.dtype(dtype)
        self._folder, self._row, self._n_rows = folder, row, 0
        self._row_bytes = int(np.prod(row, dtype=np.int64)) * self.dtype.itemsize
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (closed by `close`)
        except OSError as error:
            raise output_error(folder, error) from error

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._n_rows, *self._row)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self._n_rows * self._row_bytes

    def __len__(self) -> int:
        return self._n_rows

    def append(self, rows: np.ndarray) -> None:
        """Add rows of this array's shape and type."""
        rest = np.ascontiguousarray(rows, self.dtype).data.cast("B")
        try:
            self._file.seek(0, 2)
            while len(rest):
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise output_error(self._folder, error) from error
        self._n_rows += len(rows)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Read a range of rows without gaps into memory."""
        start, stop, _ = rows.indices(self._n_rows)
        found = np.empty((max(0, stop - start), *self._row), self.dtype)
        rest = found.reshape(-1).view(np.uint8).data
        try:
            self._file.seek(start * self._row_bytes)
            while len(rest):
                count = self._file.readinto(rest)
                if not count:
                    raise OSError(errno.EIO, "a temporary file ended before its rows did")
                rest = rest[count:]
        except OSError as error:
            raise output_error(self._folder, error) from error
        return found

    def close(self) -> None:
        """Give the disk's room back."""
        self._file.close()
