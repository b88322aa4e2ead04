"""New dataset files: the place they go to, what killed writers left there, and disks that refuse."""

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

import h5py

from datasets.faults import other_kind
from utils.errors import DatasetError
from utils.files import clear_remains, output_error


class NameTakenError(DatasetError):
    """There is a dataset of this name, which may not be replaced."""


def check_target(path: Path, replace: bool) -> None:
    """Raise NameTakenError where something is at `path` and may not be replaced; a link that leads nowhere counts.

    Raises DatasetError where no dataset can ever be: on a folder, a device, a named pipe. Raises OutputError where the
    operating system refuses to look.
    """
    try:
        here = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise output_error(path, error) from error
    if stat.S_ISLNK(here):
        with suppress(OSError):  # a link that leads nowhere
            here = path.stat().st_mode
    kind = None if stat.S_ISLNK(here) else other_kind(here)
    if kind is not None:
        raise DatasetError(f"{path} is {kind}, so no dataset can be written there; choose another name")
    if not replace:
        raise NameTakenError(f"{path} exists already; choose another name, or delete it")


def clear_datasets(path: Path) -> None:
    """Remove what killed writers left in the folder of the dataset `path`, that of earlier releases among it.

    Those wrote to `.NAME.h5.tmp`, on which HDF5 holds a lock while it writes.
    """
    clear_remains(path.parent)
    old = {path.with_name(f".{path.name}.tmp"), *path.parent.glob(".*.h5.tmp"), *path.parent.glob(".*.hdf5.tmp")}
    for file in old:
        with suppress(OSError):  # a living writer's, another user's, or none
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    file.unlink()
            finally:
                os.close(descriptor)


def free_name(path: Path) -> Path:
    """The first of `path`, NAME-2, NAME-3, ... beside it that nothing has."""
    other, number = path, 2
    while os.path.lexists(other):
        other, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return other


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yield a new HDF5 file in the existing, empty file at `path`; raise the disk's OSError once HDF5 has closed it."""
    with open(path, "r+b", buffering=0) as raw:
        sink = _Sink(raw)
        try:
            # object headers of format 1.8 hold attributes above 64 KiB, which the card of wide observations needs
            with h5py.File(sink, "w", libver=("v108", "v110")) as file:
                yield file
        finally:
            if sink.error is not None:
                raise sink.error


class _Sink:
    """A file for HDF5 that keeps the first error of the disk to itself, and does nothing from then on.

    HDF5 itself does not survive a full disk: it cannot close the file then, and ends the process by a segmentation
    fault.
    """

    def __init__(self, raw: FileIO) -> None:
        self.raw = raw
        self.error: BaseException | None = None

    def write(self, content: Any) -> int:
        rest = memoryview(content).cast("B")
        size = len(rest)
        while len(rest) and self.error is None:
            written = self._tried(self.raw.write, rest)
            rest = rest[written or 0 :]
        return size

    def readinto(self, content: Any) -> int:
        """Fill `content`; with zeros where the file ends before it."""
        rest = memoryview(content).cast("B")
        size = len(rest)
        while len(rest):
            count = self._tried(self.raw.readinto, rest)
            if not count:
                rest[:] = bytes(len(rest))
                break
            rest = rest[count:]
        return size

    def read(self, size: int = -1) -> bytes:
        """Read as a file does; h5py tells a file by this method, and calls `readinto`."""
        return self._tried(self.raw.read, size) or b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._tried(self.raw.seek, offset, whence) or 0

    def tell(self) -> int:
        return self._tried(self.raw.tell) or 0

    def truncate(self, size: int | None = None) -> int:
        return self._tried(self.raw.truncate, size) or 0

    def flush(self) -> None:
        """Do nothing: the file is not buffered."""

    def _tried(self, call: Callable[..., Any], *arguments: Any) -> Any:
        if self.error is not None:
            return None
        try:
            return call(*arguments)
        except BaseException as error:  # an interrupt too: h5py would print it and go on
            self.error = error
            return None
