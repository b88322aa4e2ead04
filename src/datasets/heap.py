"""Heaps of an HDF5 file, in which texts lie: damaged ones make the HDF5 library loop for ever, so they are refused."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from utils.errors import DatasetError

_START = b"GCOL\x01"  # signature and version of a global heap collection
_BLOCK = 1 << 20
_HEADER = struct.Struct("<4sB3xQ")  # signature, version, size of the collection
_OBJECT = struct.Struct("<HHxxxxQ")  # index, reference count, size


def check_heaps(path: Path) -> None:
    """Raise DatasetError where a global heap of the file at `path` has an object that ends nowhere.

    Format: HDF5 File Format Specification 3.0, III.E. What looks like a heap by chance and is longer than the file is
    passed over, as HDF5 does not read it either.
    """
    with open(path, "rb") as file:
        total = os.fstat(file.fileno()).st_size
        start, kept = 0, b""  # of the file position of `kept`, the end of the block before
        while block := file.read(_BLOCK):
            content = kept + block
            found = content.find(_START)
            while found >= 0:
                if not _is_whole(file, start + found, total):
                    raise DatasetError(f"{path} is damaged: a text in it has no end; fetch or collect it anew")
                found = content.find(_START, found + 1)
            kept = content[-len(_START) + 1 :]
            start += len(content) - len(kept)
            file.seek(start + len(kept))


def _is_whole(file: BinaryIO, at: int, total: int) -> bool:
    """Whether the objects of the heap at this place lead from one to the next until its end."""
    file.seek(at)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or (size := _HEADER.unpack(header)[2]) > total - at:
        return True
    place, end = at + _HEADER.size, at + size
    while place + _OBJECT.size <= end:
        file.seek(place)
        index, _, length = _OBJECT.unpack(file.read(_OBJECT.size))
        need = _OBJECT.size + (length + 7) // 8 * 8 if index else length  # the free space counts its own header
        if need < _OBJECT.size or place + need > end:
            return False
        place += need
    return True
