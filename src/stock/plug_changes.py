"""Changes that `plug_into.py` makes to a checkout: inside it, through no link, and each file whole or as it was."""

import fcntl
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from stock.plug import PlugError
from utils.errors import cause
from utils.files import WRITING, writing_file

Changes = dict[str, bytes | None]  # path under the checkout's src -> the file's new content, None to delete it
LARGEST = 1 << 22  # bytes of a file that is read there; ours and stock's are far smaller


@contextmanager
def alone(source: Path) -> Iterator[None]:
    """Keep other processes of this script out of the checkout. Raises PlugError where one is at work."""
    descriptor = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PlugError(f"another plug_into.py is at work in {source.parent}: wait until it is done") from error
        except OSError:  # some network disks lock no folders; every single write is still whole
            pass
        yield
    finally:
        os.close(descriptor)


def confined(source: Path, name: str) -> Path:
    """Return the path of a file under `source`. Raises PlugError where a folder on the way is a link or no folder."""
    path = source
    for part in PurePosixPath(name).parts[:-1]:
        path /= part
        mode = mode_of(path)
        if mode is not None and not stat.S_ISDIR(mode):  # a link may lead out of the checkout
            raise PlugError(f"{path} is no folder, and our files go into one of that name: rename it first")
    return path / PurePosixPath(name).name


def mode_of(path: Path) -> int | None:
    """Return type and permissions of what has this name, a link's own included; None where there is nothing."""
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def content_of(source: Path, name: str) -> bytes | None:
    """Return what a file holds, None where there is none. Raises PlugError for anything but a plain file of our size.

    Links are not followed, and devices and pipes not opened, which could wait for ever.
    """
    path = confined(source, name)
    mode = mode_of(path)
    if mode is None:
        return None
    if not stat.S_ISREG(mode):
        raise PlugError(f"{path} is no plain file: move what is there elsewhere first")
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise PlugError(f"{path} is larger than any file of ours or of EPyMARL: move it elsewhere first")
    return content


def apply(source: Path, changes: Changes) -> None:
    """Make the changes in their order or, where one fails, none of them (PlugError)."""
    before = {name: content_of(source, name) for name in changes}
    made = {parent for name in changes for parent in confined(source, name).parents if not parent.exists()}
    done: Changes = {}
    for name, content in changes.items():
        done = {name: before[name], **done}  # the last one comes first
        try:
            write(source, name, content)
        except (OSError, PlugError) as error:
            reason = cause(error) if isinstance(error, OSError) else str(error)
            rest = undo(source, done, made)
            raise PlugError(f"{source / name} cannot be written ({reason}){rest}") from error


def undo(source: Path, before: Mapping[str, bytes | None], made: Iterable[Path]) -> str:
    """Put back what was there and delete the folders that were made.

    Returns "", or the end of a sentence where something cannot be put back. The record, which was written first, is
    then left as it is: it knows the files and blocks of both states.
    """
    try:
        for name, content in before.items():
            write(source, name, content)
        for folder in sorted(made, reverse=True):  # inner folders first
            drop_empty(folder)
    except (OSError, PlugError):
        return ", nor could everything be put back: make room there, then run this again, or with --remove"
    return ""


def write(source: Path, name: str, content: bytes | None) -> None:
    """Write a file whole, with the permissions that it had, or delete it where `content` is None."""
    path = confined(source, name)
    mode = mode_of(path)
    if content is None:
        if mode is not None:
            path.unlink()
    elif mode is not None and not stat.S_ISREG(mode):
        raise PlugError(f"{path} is no plain file any more")
    elif content_of(source, name) != content:
        with writing_file(path) as temporary:
            temporary.write_bytes(content)
            if mode is not None:
                keep_owner(path.lstat(), temporary)


def keep_owner(before: os.stat_result, temporary: Path) -> None:
    """Give a file the owner and the permissions of the one that it replaces."""
    with suppress(PermissionError):  # only root may give files away; whoever may write here owns the new one else
        os.chown(temporary, before.st_uid, before.st_gid)
    temporary.chmod(stat.S_IMODE(before.st_mode))


def clear_remains(source: Path, names: Iterable[str]) -> int:
    """Delete what killed runs left unfinished beside the files of these names; returns how many there were."""
    endings = rf"\.[0-9a-f]{{8}}{re.escape(WRITING)}"
    cleared = 0
    for folder, files in by_folder(names).items():
        path = confined(source, f"{folder}/x").parent
        pattern = re.compile(rf"\.(?:{'|'.join(map(re.escape, files))}){endings}")
        for entry in os.scandir(path) if path.is_dir() else ():
            if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)
                cleared += 1
    return cleared


def by_folder(names: Iterable[str]) -> dict[str, set[str]]:
    """Return the files' own names, by folder."""
    folders: dict[str, set[str]] = {}
    for path in map(PurePosixPath, names):
        folders.setdefault(path.parent.as_posix(), set()).add(path.name)
    return folders


def sweep(source: Path, files: Iterable[str], folders: Iterable[str]) -> str:
    """Delete the byte code of deleted files, then those of our folders that are empty.

    Returns "", or the end of a sentence that names what could not be deleted.
    """
    try:
        for name in files:
            path = confined(source, name)
            compiled = path.parent / "__pycache__"
            if compiled.is_dir() and not compiled.is_symlink():
                for file in compiled.glob(f"{path.stem}.*.pyc"):
                    file.unlink()
                drop_empty(compiled)
        for name in sorted(folders, reverse=True):  # inner folders first
            drop_empty(confined(source, name))
    except OSError as error:
        return f"; {error.filename} is left behind ({cause(error)})"
    except PlugError as error:
        return f"; a folder is left behind ({error})"
    return ""


def drop_empty(folder: Path) -> None:
    """Delete a folder that holds nothing."""
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()
