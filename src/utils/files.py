"""Writes that are whole or absent, that replace nothing by accident, and that survive a power cut."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from utils import signals
from utils.errors import ConfigError, OutputError, cause

WRITING = ".writing"  # suffix of what is not complete yet; its writer holds a lock on it
_own: set[Path] = set()  # what this process is writing


def flush_to_disk(path: Path) -> None:
    """Make the kernel write a file or directory to disk now, before it is renamed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(folder: Path, key: str, make: bool = True) -> None:
    """Make `folder` and test that it can be written to, before work whose result goes there.

    make: False tests the nearest folder that exists instead, and makes none. Raises ConfigError, naming the
    configuration's `key`, where it cannot be written to.
    """
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=next(each for each in (folder, *folder.parents) if each.exists())):
            pass
    except OSError as error:
        raise ConfigError(
            f"{key}: nothing can be written to {folder} ({cause(error)}); choose another place"
        ) from error


def output_error(path: Path, error: OSError) -> OutputError:
    """The sentence for an operating system's refusal to write `path`; raise it from `error`."""
    return OutputError(
        f"cannot write {path} ({cause(error)}); free space, or choose a folder with space and write permission"
    )


@contextmanager
def writing_file(path: Path, replace: bool = True) -> Iterator[Path]:
    """Yield the name of a new, empty file beside `path`; it becomes `path` when the block ends without an exception.

    A killed writer leaves a hidden `.writing` file, which `clear_remains` removes. No other writer's file is touched.
    replace: whether an existing file at `path` is replaced; otherwise FileExistsError is raised and it stays.
    Raises OSError where the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, lock = _begin(path, folder=False)
    try:
        yield temporary
        flush_to_disk(temporary)
        if replace:
            os.replace(temporary, path)
        else:
            _create(temporary, path)
        flush_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        _own.discard(temporary)
        os.close(lock)


@contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Yield the name of a new, empty folder beside `path`; it becomes `path` when the block ends without an exception.

    Raises OSError where the parent cannot be written or `path` is a folder that is not empty: nothing is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, lock = _begin(path, folder=True)
    try:
        yield temporary
        for file in temporary.iterdir():
            flush_to_disk(file)
        flush_to_disk(temporary)
        os.rename(temporary, path)
        flush_to_disk(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _own.discard(temporary)
        os.close(lock)


def clear_remains(folder: Path) -> list[Path]:
    """Remove what killed writers left in `folder`; returns what was removed. A living writer's lock protects its own.

    Links are never followed. What cannot be removed stays, as it is no concern of the run that starts.
    """
    removed: list[Path] = []
    try:
        entries = list(folder.iterdir())
    except OSError:  # no folder, or one that may not be read
        return removed
    for entry in entries:
        if not (entry.name.startswith(".") and entry.name.endswith(WRITING)):
            continue
        with suppress(OSError):
            lock = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stat.S_ISDIR(os.fstat(lock).st_mode):
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
                removed.append(entry)
            finally:
                os.close(lock)
    return removed


def reserve(path: Path, size: int) -> None:
    """Make `path` a file of `size` bytes whose room on the disk is taken, so that a later write cannot fail for space.

    A sparse file that is written through a mapping would end the process by SIGBUS on a full disk.
    Raises OSError where there is too little room.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        if size:
            os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def _create(temporary: Path, path: Path) -> None:
    """Give a complete file its name. Raises FileExistsError where the name is taken, in whatever moment."""
    try:
        os.link(temporary, path, follow_symlinks=False)
        return
    except FileExistsError:
        raise
    except OSError:
        # a file system without hard links: an empty file takes the name, and only its maker replaces it
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
    try:
        os.replace(temporary, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _begin(path: Path, folder: bool) -> tuple[Path, int]:
    """A new temporary beside `path` with a name that nobody can predict, and the locked descriptor that keeps it."""
    while True:
        # a part of the name suffices: with the whole, a long one would be too long
        temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}{WRITING}")
        try:
            _own.add(temporary)  # before it exists, so that there is no moment in which a signal would leave it
            if folder:
                temporary.mkdir()
                lock = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            else:
                lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        except FileExistsError:
            continue
        with suppress(OSError):  # a file system without locks: `clear_remains` gets none either, and removes nothing
            fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.lexists(temporary):  # `clear_remains` may have come between creation and lock
            return temporary, lock
        os.close(lock)


def _remove_own() -> None:
    """Remove what this process is writing; for a process that ends at once."""
    for temporary in tuple(_own):
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


signals.when_ending.append(_remove_own)
os.register_at_fork(after_in_child=_own.clear)  # what its parent writes is no concern of a forked process
