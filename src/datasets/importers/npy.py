"""NumPy's `.npy` files from elsewhere: what the header says is checked against the file before memory is taken."""

import math
import os
from pathlib import Path
from tokenize import TokenError

import numpy as np


def read_npy(path: Path) -> np.ndarray:
    """The array of booleans, integers or floats in a file of format 1.0, which `np.save` writes. No pickle is read.

    Raises OSError where the file cannot be read, and ValueError where it holds no such array.
    """
    with open(path, "rb") as file:
        try:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("its format is not 1.0")
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        except (SyntaxError, TokenError, TypeError, MemoryError, RecursionError) as error:  # of Python's parser
            raise ValueError(f"its header cannot be understood: {type(error).__name__}") from error
        if dtype.kind not in "biuf":
            raise ValueError(f"it is of type {dtype}")
        if any(isinstance(size, bool) or size < 0 for size in shape):
            raise ValueError(f"its shape is {shape}")
        size = math.prod(shape)  # of Python's integers, which do not overflow
        held = os.fstat(file.fileno()).st_size - file.tell()
        if size * dtype.itemsize != held:
            few = "few" if size * dtype.itemsize > held else "many"  # rows that the header leaves out are lost as well
            raise ValueError(f"its header says shape {shape} and type {dtype}, for which {held} bytes are too {few}")
        flat = np.fromfile(file, dtype, size)
    array: np.ndarray = flat.reshape(shape, order="F" if fortran_order else "C")
    return array
