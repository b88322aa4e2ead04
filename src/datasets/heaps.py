"""A check of an HDF5 file's global heaps, where its texts are, before the library reads them.

The library walks a heap's objects by the sizes that they state. A size of 0 would keep it in place for ever, in C code
that no signal and no time limit of ours can end. Format: HDF5 File Format Specification 3.0, III.E.
"""

import mmap
import os
import struct
from pathlib import Path

from utils.errors import DatasetError

_SIGNATURE = b"GCOL\x01\0\0\0"
_HEADER = 16  # bytes of a heap's header, and of an object's


def check_heaps(path: Path) -> None:
    """Raise DatasetError where a heap of the file cannot be walked to its end. Raises OSError as opening does."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = content.find(_SIGNATURE)
            while start >= 0:
                if not _ends(content, start, size):
                    raise DatasetError(f"{path} has a damaged heap at byte {start}; fetch or collect it anew")
                start = content.find(_SIGNATURE, start + 1)


def _ends(content: mmap.mmap, start: int, file_size: int) -> bool:
    """Whether every object of the heap leads to a later one, up to the heap's end."""
    if start + _HEADER > file_size:
        return True  # too short for a heap: the library refuses it, as it does one that is longer than the file
    end = start + int.from_bytes(content[start + 8 : start + _HEADER], "little")
    place = start + _HEADER
    while place + _HEADER <= min(end, file_size):
        index, size = struct.unpack_from("<H6xQ", content, place)
        if size > file_size or (index == 0 and size == 0):  # object 0 is the free space, with its header
            return False
        place += size if index == 0 else _HEADER + (size + 7) // 8 * 8
    return True
