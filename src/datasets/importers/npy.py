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


def read_npy(path: Path) -> np.ndarray:
    """The array of booleans, integers or floats in a file of format 1.0, which `np.save` writes. No pickle is read.

    Raises OSError where the file cannot be read, and ValueError where it holds no such array.
    """
    with open(path, "rb") as file:
        shape, fortran_order, dtype = read_header(file, os.fstat(file.fileno()).st_size)
        flat = np.fromfile(file, dtype, math.prod(shape))
    array: np.ndarray = flat.reshape(shape, order="F" if fortran_order else "C")
    return array


def read_header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran's order, and type of the array that begins here in a file of `size` bytes.

    Raises ValueError where there is none, and where the file is too short or too long for it.
    """
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("its format is not 1.0")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    except (SyntaxError, TokenError, TypeError, MemoryError, RecursionError) as error:  # of Python's parser
        raise ValueError(f"its header cannot be understood: {type(error).__name__}") from error
    if dtype.kind not in "biuf":
        raise ValueError(f"it is of type {dtype}")
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise ValueError(f"its shape is {shape}")
    held = size - file.tell()
    need = math.prod(shape) * dtype.itemsize  # of Python's integers, which do not overflow
    if need != held:
        few = "few" if need > held else "many"  # rows that the header leaves out would be lost
        raise ValueError(f"its header says shape {shape} and type {dtype}, for which {held} bytes are too {few}")
    return shape, fortran_order, dtype


class NpyFile:
    """An array in a `.npy` file, of which ranges of rows are read when they are asked for.

    It is read by calls and not through a mapping: a file that is shortened meanwhile is an error then, and no signal.
    Raises DatasetError, naming the file, where it cannot be read or holds no array of numbers with rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (open as long as this is)
            self.shape, fortran, self.dtype = read_header(self._file, os.fstat(self._file.fileno()).st_size)
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
