"""NumPy's `.npy` files from elsewhere: what the header says is checked against the file before memory is taken."""

import math
import os
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np

from datasets.disk_array import read_at
from datasets.faults import input_error
from utils.errors import DatasetError

_VERSIONS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it lies by columns, and type of the array that begins here. No pickle is read.

    Raises ValueError where there is none of the formats 1.0 and 2.0, which NumPy writes for arrays of numbers.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version not in _VERSIONS:
            raise ValueError("its format is neither 1.0 nor 2.0")
        shape, by_columns, dtype = _VERSIONS[version](file)
    except (SyntaxError, TokenError, TypeError, MemoryError, RecursionError) as error:  # of Python's parser
        raise ValueError(f"its header cannot be understood: {type(error).__name__}") from error
    lengths = [max(1, length) for length in shape]  # an array without rows may say anything of them
    too_large = math.prod(lengths) * max(1, dtype.itemsize) >= 1 << 63
    if too_large or any(isinstance(length, bool) or length < 0 for length in shape):
        raise ValueError(f"its shape is {shape}")
    return shape, by_columns, dtype


def _sized_header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """What `read_header` returns of a file of `size` bytes. Raises ValueError unless it holds just that, of numbers."""
    shape, by_columns, dtype = read_header(file)
    if dtype.kind not in "biuf":
        raise ValueError(f"it is of type {dtype}")
    held = size - file.tell()
    need = math.prod(shape) * dtype.itemsize  # of Python's integers, which do not overflow
    if need != held:
        few = "few" if need > held else "many"  # rows that the header leaves out would be lost
        raise ValueError(f"its header says shape {shape} and type {dtype}, for which {held} bytes are too {few}")
    return shape, by_columns, dtype


class NpyFile:
    """An array in a `.npy` file, of which ranges of rows are read when they are asked for.

    It is read by calls and not through a mapping: a file that is shortened meanwhile is an error then, and no signal.
    Raises DatasetError, naming the file, where it cannot be read or holds no array of numbers with rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (open as long as this is)
            self.shape, fortran, self.dtype = _sized_header(self._file, os.fstat(self._file.fileno()).st_size)
        except OSError as error:
            raise input_error(path, error) from error
        except ValueError as error:
            raise DatasetError(f"{path} is no array of numbers in NumPy's format ({error}); fetch it anew") from error
        if not self.shape or (fortran and len(self.shape) > 1):
            order = "Fortran's" if fortran else "C's"
            raise DatasetError(f"{path} has shape {self.shape} in {order} order; its rows must lie one after another")
        self._start = self._file.tell()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Read a range of rows without gaps into memory."""
        start, stop, _ = rows.indices(len(self))
        found = np.empty((max(0, stop - start), *self.shape[1:]), self.dtype)
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        content = found.reshape(-1).view(np.uint8).data
        read_at(self.path, self._file.fileno(), content, self._start + start * row_bytes)
        return found

    def close(self) -> None:
        self._file.close()
