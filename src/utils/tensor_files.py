"""Files of tensors, as torch saves them: looked over before they are loaded, so that none costs more than its size."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch as th

from utils.manifest import Damage, regular_file

# Of what torch builds without unpickling, this alone fills memory with what is not in the file.
_FILLS_MEMORY = b"\nbytearray\n"
UNREADABLE = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, EOFError, ArithmeticError,
               AssertionError, zipfile.BadZipFile, pickle.UnpicklingError)  # fmt: skip


def look_over(path: Path) -> Any:
    """The content of a file of tensors without their numbers: every tensor is on torch's `meta` device.

    Nothing is unpickled, and nothing is allocated for tensors. Raises Damage for a file of another kind and for one
    that declares more than it holds, OSError where it cannot be read.
    """
    with regular_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            _check_archive(path, zipfile.ZipFile(file), size)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, LookupError, EOFError) as error:
            raise Damage(path, "is damaged or no file of tensors in torch's zip format") from error
    try:
        content = th.load(path, map_location="meta", weights_only=True)
    except UNREADABLE as error:
        raise Damage(path, "is damaged or holds more than tensors, numbers, texts and containers") from error
    _check_sizes(path, content, size)
    return content


def load_tensors(path: Path, mapped: bool = False) -> Any:
    """The content of a file that `look_over` has accepted, on the CPU.

    mapped: leave tensors in the file until they are read. Raises Damage and OSError as `look_over` does.
    """
    try:
        return th.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except UNREADABLE as error:
        raise Damage(path, "is damaged") from error


def _check_archive(path: Path, archive: zipfile.ZipFile, size: int) -> None:
    """Raise Damage where an archive is compressed or its parts are together larger than it, as in a bomb."""
    parts = archive.infolist()
    packed = any(part.compress_type != zipfile.ZIP_STORED or part.flag_bits & 1 for part in parts)
    if packed or sum(part.file_size for part in parts) > size:
        raise Damage(path, f"declares more than the {size} bytes it holds")
    for part in parts:
        if part.filename.endswith("data.pkl") and _FILLS_MEMORY in archive.read(part):
            raise Damage(path, "holds more than tensors, numbers, texts and containers")


def _check_sizes(path: Path, content: Any, size: int) -> None:
    """Raise Damage where the content is of other kinds, or is together larger than the file of `size` bytes.

    Containers that hold one another, or one many times, would else be a bomb for whoever walks through them.
    """
    waiting, seen, stored = [content], 0, {}
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list | tuple):
            seen += len(value)
            if seen > size:
                raise Damage(path, f"declares more than the {size} bytes it holds")
            waiting.extend(value)
            if isinstance(value, dict):
                waiting.extend(value.values())
        elif isinstance(value, th.Tensor):
            if value.layout is not th.strided or value.is_quantized or value.numel() * value.element_size() > size:
                raise Damage(path, f"holds a tensor that {size} bytes cannot hold, or one of another layout")
            stored[value.untyped_storage()._cdata] = value.untyped_storage().nbytes()
        elif value is not None and not isinstance(value, int | float | str):
            raise Damage(path, f"holds a {type(value).__name__}, which no checkpoint does")
    if sum(stored.values()) > size:
        raise Damage(path, f"declares more than the {size} bytes it holds")
