"""Manifests: size and SHA-256 of every file of a folder, by which damage is noticed and the damaged file is named."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from utils.files import flush_to_disk

MANIFEST = "manifest.json"
_LARGEST = 2**20  # bytes of a manifest, which has about 100 per file
_FORMAT = 1
Fingerprints = dict[str, dict[str, Any]]


class Damage(Exception):
    """A file that is not what its writer left. reason: what is wrong, to follow the file's name in a sentence."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file} {reason}")
        self.file, self.reason = file, reason


@contextmanager
def regular_file(path: Path) -> Iterator[BufferedReader]:
    """Open a file for reading; a pipe, a device or a folder is refused and never waited for.

    Raises Damage for what is no regular file, OSError where the operating system refuses.
    """
    descriptor = -1
    if stat.S_ISREG(os.stat(path).st_mode):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # it may be a pipe by now
    if descriptor < 0 or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        if descriptor >= 0:
            os.close(descriptor)
        raise Damage(path, "is no regular file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def fingerprint(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file, read in blocks. Raises Damage and OSError as `regular_file` does."""
    with regular_file(path) as file:
        return {"size": os.fstat(file.fileno()).st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


class ManifestWriter:
    """Makes a folder's manifest and flushes its files to disk, in the background while further files are written.

    Checksums are computed while the disk writes. A file that was taken must not change any more.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pool = ThreadPoolExecutor(2)
        self._pending: dict[str, tuple[Future[dict[str, Any]], Future[None]]] = {}

    def __enter__(self) -> ManifestWriter:
        return self

    def take_files(self) -> None:
        """Begin with the files that are in the folder and have not been taken."""
        for path in sorted(self.folder.iterdir()):
            if path.is_file() and path.name not in (MANIFEST, *self._pending):
                jobs = self._pool.submit(fingerprint, path), self._pool.submit(flush_to_disk, path)
                self._pending[path.name] = jobs

    def write(self) -> None:
        """Write the manifest of all files in the folder. Raises Damage and OSError as `regular_file` does."""
        self.take_files()
        for _, flushed in self._pending.values():
            flushed.result()
        text = _render({name: found.result() for name, (found, _) in sorted(self._pending.items())})
        (self.folder / MANIFEST).write_text(text, encoding="ascii")

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def write_manifest(folder: Path) -> None:
    """Write the manifest of the files that are in `folder`."""
    with ManifestWriter(folder) as manifest:
        manifest.write()


def check_manifest(folder: Path, suffix: str) -> bool:
    """Compare a folder with its manifest; False where it has none.

    suffix: of files that may not be there without being listed. Raises Damage for the first file that is not as it was
    written, and OSError where one cannot be read.
    """
    if not os.path.lexists(folder / MANIFEST):
        return False
    listed = _read(folder / MANIFEST)
    for name, expected in listed.items():
        file = folder / name
        if not os.path.lexists(file):
            raise Damage(file, f"is missing ({MANIFEST} lists it)")
        size = os.stat(file).st_size
        if stat.S_ISREG(os.stat(file).st_mode) and size != expected["size"]:
            raise Damage(file, f"is damaged ({size} bytes, {expected['size']} were written)")
        if fingerprint(file) != expected:
            raise Damage(file, f"is damaged (its content does not match {MANIFEST})")
    for file in sorted(folder.iterdir()):
        if file.name.endswith(suffix) and file.name not in listed:
            raise Damage(file, f"is no part of this checkpoint ({MANIFEST} does not list it)")
    return True


def _read(file: Path) -> Fingerprints:
    """The files that a manifest lists. Raises Damage where one bit of it is not as written."""
    with regular_file(file) as content:
        raw = content.read(_LARGEST + 1)
    try:
        files: Fingerprints = json.loads(raw.decode("ascii"))["files"] if len(raw) <= _LARGEST else {}
        if not all(_is_entry(name, entry) for name, entry in files.items()) or _render(files).encode("ascii") != raw:
            raise Damage(file, "is damaged")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damage(file, "is damaged") from error
    return files


def _is_entry(name: Any, entry: Any) -> bool:
    """Whether a manifest may list this: a plain file name with a size and a checksum, which nothing outside bears."""
    return (
        isinstance(entry, dict)
        and set(entry) == {"size", "sha256"}
        and type(entry["size"]) is int
        and re.fullmatch("[0-9a-f]{64}", str(entry["sha256"])) is not None
        and name not in ("", ".", "..", MANIFEST)
        and re.search(r"[/\0]", name) is None
    )


def _render(files: Fingerprints) -> str:
    """The manifest's text, with a checksum of its own list."""
    checksum = hashlib.sha256(json.dumps(files, sort_keys=True).encode("ascii")).hexdigest()
    content = {"format": _FORMAT, "files": files, "checksum": checksum}
    return json.dumps(content, sort_keys=True, indent=1) + "\n"
