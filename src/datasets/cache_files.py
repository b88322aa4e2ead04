"""The folders of a memory-mapped cache: `.npy` files, and a manifest with their sizes and checksums.

Only what such a manifest names is ever removed, as the place may be shared with files of others.
"""

import hashlib
import io
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from datasets.disk_array import DiskArray
from datasets.faults import open_plain_file
from datasets.validate import OPTIONAL, REQUIRED
from utils.files import clear_remains, reserve, writing_folder

MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 1 << 20
_FOLDER = re.compile(r"[0-9a-f]{16}(-\d+)?")
_NAME = re.compile(r"[a-z_]+\.npy")
_IN_MEMORY = ("reward", "terminated")
_OLD_BUILDING = "building"  # where releases before 0.2 made a cache
Layout = dict[str, tuple[tuple[int, ...], np.dtype]]
Rows = Mapping[str, np.ndarray]


class CacheDamage(Exception):
    """What a check of a cache found wrong."""


def open_cache(folder: Path, layout: Layout, mapped: bool = True) -> dict[str, np.ndarray]:
    """Map the arrays of a cache. mapped: False to leave them on disk, to be read by rows.

    What has one number per agent and row, or fewer, is in memory then: learners need all of it at once.

    Raises CacheDamage where a check finds a file that is missing or was changed, and OSError where the operating system
    refuses to read one, which says nothing of its content.
    """
    manifest = _read_manifest(folder)
    arrays: dict[str, Any] = {}
    for key, expected in layout.items():
        array = _opened(folder / f"{key}.npy", manifest, *expected, mapped)
        arrays[key] = array[:] if not mapped and key in _IN_MEMORY else array
    return arrays


def write_cache(folder: Path, layout: Layout, blocks: Iterator[Rows]) -> None:
    """Make the cache `folder` from blocks of consecutive rows; it appears there once it is complete.

    The room for it is taken first. Raises OSError where there is too little, or where the folder cannot be written.
    """
    with writing_folder(folder) as building:
        headers = {key: _header(*expected) for key, expected in layout.items()}
        for key, (shape, dtype) in layout.items():
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            reserve(building / f"{key}.npy", len(headers[key]) + size)
        with ExitStack() as stack:
            # written by calls, not through a mapping, where an error of the disk would end the process
            files = {key: stack.enter_context(open(building / f"{key}.npy", "r+b")) for key in layout}
            digests = {key: hashlib.sha256(headers[key]) for key in layout}
            for key, file in files.items():
                file.write(headers[key])
            for block in blocks:
                for key, rows in block.items():
                    content = np.ascontiguousarray(rows).data
                    files[key].write(content)
                    digests[key].update(content)
            sizes = {key: file.tell() for key, file in files.items()}
        manifest = {f"{key}.npy": {"size": sizes[key], "sha256": digests[key].hexdigest()} for key in layout}
        (building / MANIFEST).write_text(json.dumps(manifest, indent=1))


def remove_cache(folder: Path) -> bool:
    """Remove what the manifest in `folder` names, and the folder where that leaves it empty.

    Returns whether the folder is gone. A link to a folder, and a folder without a sound manifest, stay as they are.
    """
    with suppress(CacheDamage, OSError):
        if stat.S_ISDIR(folder.lstat().st_mode):
            for name in (*_read_manifest(folder), MANIFEST):
                (folder / name).unlink(missing_ok=True)
            folder.rmdir()
    return not os.path.lexists(folder)


def clear_caches(parent: Path, damaged: Iterable[Path]) -> None:
    """Remove the damaged caches, those of the dataset's earlier content, and what killed makers left in `parent`.

    Where `parent` is a link, its target may hold caches of other datasets: there only the damaged ones are removed.
    Arrays that other runs have mapped stay valid.
    """
    clear_remains(parent)
    own = not parent.is_symlink()
    for folder in (entry for entry in parent.iterdir() if _FOLDER.fullmatch(entry.name)) if own else damaged:
        remove_cache(folder)
    building = parent / _OLD_BUILDING
    if own and os.path.lexists(building) and stat.S_ISDIR(building.lstat().st_mode):
        with suppress(OSError):  # it has no manifest: only arrays of these names can be ours
            for name in (*(f"{key}.npy" for key in (*REQUIRED, *OPTIONAL)), MANIFEST):
                (building / name).unlink(missing_ok=True)
            building.rmdir()


def _read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file, by name."""
    try:
        with os.fdopen(open_plain_file(folder / MANIFEST), "rb") as file:
            manifest = json.loads(file.read(_LARGEST_MANIFEST))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CacheDamage(f"{MANIFEST} is missing") from error
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or no text
        raise CacheDamage(f"{MANIFEST} cannot be understood") from error
    if not isinstance(manifest, dict) or not all(map(_is_entry, manifest.items())):
        raise CacheDamage(f"{MANIFEST} is none of ours")
    return manifest


def _is_entry(item: tuple[str, Any]) -> bool:
    name, entry = item
    return bool(_NAME.fullmatch(name)) and isinstance(entry, dict) and set(entry) == {"size", "sha256"}


def _opened(
    path: Path, manifest: Mapping[str, Mapping[str, Any]], shape: tuple[int, ...], dtype: np.dtype, mapped: bool
) -> np.ndarray | DiskArray:
    """One array. A mapped one is copy-on-write: torch needs writable memory, and the files must not change."""
    expected = manifest.get(path.name)
    if expected is None:
        raise CacheDamage(f"{MANIFEST} does not name {path.name}")
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise CacheDamage(f"{path.name} is no plain file")
        descriptor = open_plain_file(path)
    except FileNotFoundError as error:
        raise CacheDamage(f"{path.name} is missing") from error
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if size != expected["size"] or hashlib.file_digest(file, "sha256").hexdigest() != expected["sha256"]:
            raise CacheDamage(f"{path.name} was changed after it was written")
        header = _header(shape, dtype)
        file.seek(0)
        if file.read(len(header)) != header or size != len(header) + int(np.prod(shape)) * dtype.itemsize:
            raise CacheDamage(f"{path.name} holds another array")
        if not mapped:
            return DiskArray(path, os.dup(descriptor), len(header), shape, dtype)
        array: np.ndarray = np.memmap(file, dtype, "c", len(header), shape)
        return array


def _header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """The bytes before an array's content in NumPy's format."""
    header = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()
