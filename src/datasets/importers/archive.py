"""NumPy's `.npz` archives from elsewhere, read array by array from front to back; no pickle is read."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from datasets.declared import check_expansion
from datasets.faults import check_plain_file, input_error, own_words
from datasets.importers.npy import read_header
from utils.errors import DatasetError, printable

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, LookupError, ValueError)
_MOST_MEMBERS = 10_000


class ArchivedArray:
    """An array of an archive. Its rows are read in ascending order, or all at once where they lie by columns."""

    def __init__(self, file: BinaryIO, name: str, path: Path) -> None:
        self._file, self._path, self._place = file, path, f"'{name}' in {path}"
        try:
            self.shape, by_columns, self.dtype = read_header(file)
        except _BROKEN as error:
            raise self._damage(own_words(error)) from error
        if self.dtype.kind not in "biuf" or self.dtype.hasobject:
            raise DatasetError(
                f"{self._place} is of type {printable(str(self.dtype))[:40]}; arrays of numbers are read, and no "
                "pickle: save it as numbers"
            )
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize  # of Python's integers, which do not overflow
        self._by_columns, self._next = by_columns, 0
        self._whole: np.ndarray | None = None

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Read the rows that follow those read before."""
        start, stop, _ = rows.indices(self.shape[0])
        if self._by_columns:
            if self._whole is None:
                self._whole = self._read(self.shape[0]).reshape(self.shape, order="F")
            return self._whole[start:stop]
        if start != self._next:
            raise ValueError("an archive's rows are read in ascending order")
        self._next = stop
        return self._read(stop - start).reshape(stop - start, *self.shape[1:])

    def whole(self) -> np.ndarray:
        """All of it, instead of rows; it may have no axis."""
        found = self._read(self.shape[0] if self.shape else 1)
        return found.reshape(self.shape, order="F") if self._by_columns else found.reshape(self.shape)

    def _read(self, n_rows: int) -> np.ndarray:
        size = n_rows * math.prod(self.shape[1:]) * self.dtype.itemsize
        try:
            content = self._file.read(size)
        except OSError as error:
            raise input_error(self._path, error) from error
        except _BROKEN as error:
            raise self._damage(own_words(error)) from error
        if len(content) < size:
            raise self._damage("it ends before its rows do")
        return np.frombuffer(content, self.dtype)

    def _damage(self, words: str) -> DatasetError:
        return DatasetError(f"{self._place} is truncated, damaged or no array ({words}); fetch it anew")


@contextmanager
def open_npz(path: Path) -> Iterator[dict[str, ArchivedArray]]:
    """Yield the arrays of an archive by their names, none of them read yet.

    Raises DatasetError for a file that is missing or no such archive, and for one that declares far more than it holds.
    """
    check_plain_file(path)
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        except OSError as error:
            raise input_error(path, error) from error
        except _BROKEN as error:
            raise DatasetError(
                f"{path} is no npz archive, or a truncated one ({own_words(error)}); fetch it anew"
            ) from error
        if len(members) > _MOST_MEMBERS:
            raise DatasetError(f"{path} has {len(members)} members, more than such an archive can have")
        found: dict[str, ArchivedArray] = {}
        for info in members:
            name = printable(info.filename.removesuffix(".npy"))[:80]
            try:
                file = stack.enter_context(archive.open(info))
            except _BROKEN as error:
                raise DatasetError(
                    f"'{name}' in {path} cannot be read ({own_words(error)}); fetch the file anew"
                ) from error
            found[name] = ArchivedArray(cast(BinaryIO, file), name, path)
        held = min(path.stat().st_size, sum(info.compress_size for info in members))
        check_expansion(path, sum(array.nbytes for array in found.values()), held)
        yield found


def is_npz(path: Path) -> bool:
    """Whether a file is a zip archive by its end, as NumPy's are."""
    return path.suffix == ".npz" and path.is_file() and zipfile.is_zipfile(path)
