"""Why a file cannot be read: the operating system's refusals are told apart from damage."""

import errno
import os
import re
import shlex
import stat
from pathlib import Path

from utils.errors import DatasetError, cause, printable

_REMEDIES = {
    errno.EACCES: "give yourself permission to read it",
    errno.EPERM: "give yourself permission to read it",
    errno.EMFILE: "close other files, or raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs, as the machine's limit of open files is reached",
    errno.ENOMEM: "free memory, or raise the limit of memory (ulimit -v)",
    errno.EIO: "check the disk, or copy the file from elsewhere",
}
_OTHER_REMEDY = "this says nothing of its content: check the disk and the path"
# What reading at a place beyond the file gives: the addresses in the file are wrong, not the disk.
_WRONG_ADDRESS = {errno.EINVAL, errno.EFBIG, errno.EOVERFLOW, errno.ESPIPE}
_NUMBER = re.compile(r"errno = (\d+)")  # HDF5 names the error of a system call in its text only
_ALLOCATION = re.compile(r"memory allocation failed|no space available|(can't|unable to) allocate", re.IGNORECASE)
HDF5_NEEDS = 1 << 21  # bytes of memory without which HDF5 ends the process while it opens a file
_ENOUGH = 1 << 25  # bytes of memory with which no filter of HDF5 fails for lack of it
_COMMAND = Path(__file__).resolve().parents[1] / "dataset.py"  # not in a checkout of stock EPyMARL
OWN_ARRAYS = "docs/your-data.md#your-own-arrays"
SIGNATURE = b"\x89HDF\r\n\x1a\n"  # the first bytes of an HDF5 file
_MARKED = re.compile("file is already open for write")  # by a mark in the file, not by a lock
_LONGEST = 200  # characters of a library's own words
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NoDamageError(DatasetError):
    """A file that cannot be used, for another reason than that it is surely damaged."""


def input_error(path: Path, error: OSError) -> DatasetError:
    """The sentence for an operating system's refusal to read `path`; raise it from `error`."""
    if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK):
        return NoDamageError(
            f"{path} is held open by another program, which may be writing it; wait until it is closed"
        )
    return NoDamageError(f"cannot read {path} ({cause(error)}); {_REMEDIES.get(error.errno or 0, _OTHER_REMEDY)}")


def memory_error(path: Path) -> DatasetError:
    """The sentence for memory that does not suffice to read `path`."""
    return NoDamageError(f"there is too little memory to read {path}; free memory, or raise its limit (ulimit -v)")


def reading_error(path: Path, error: Exception) -> DatasetError:
    """The sentence for an exception of h5py: the operating system's error, too little memory, or else damage."""
    refusal = system_error(error)
    if refusal is not None:
        return input_error(path, refusal)
    words = own_words(error)
    if _MARKED.search(words):
        return NoDamageError(
            f"{path} is marked as being written by another program; wait until it is closed or, where that program was "
            "killed, run h5clear -s on a copy and verify that"
        )
    # a filter that finds no memory fails as it does on damaged data
    if isinstance(error, MemoryError) or _ALLOCATION.search(words) or not has_memory(_ENOUGH):
        return memory_error(path)
    return DatasetError(
        f"{path} cannot be read as HDF5, so it is truncated, damaged or of another kind; fetch or collect it anew"
        f" ({words})"
    )


def container_error(path: Path, error: Exception) -> DatasetError:
    """The sentence for an exception of h5py on what should be a dataset; a file of another kind may be convertible."""
    try:
        with open(path, "rb") as file:
            begins = file.read(len(SIGNATURE))
    except OSError:
        begins = b""
    if SIGNATURE.startswith(begins):  # also a file that was cut that early
        return reading_error(path, error)
    return NoDamageError(f"{path} cannot be read as HDF5, as it is of another kind or damaged; {convertible(path)}")


def convertible(path: Path) -> str:
    """What to do with a file that is no dataset of this project."""
    if not _COMMAND.is_file():
        return "give a dataset that epymarl-offline has collected or imported"
    probe = f"python src/dataset.py import --probe {shlex.quote(str(path))}"
    return f"'{probe}' says whether it can be converted, else see {OWN_ARRAYS}"


def has_memory(size: int) -> bool:
    """Whether this process may take `size` more bytes."""
    try:
        bytearray(size)
    except MemoryError:
        return False
    return True


def system_error(error: Exception) -> OSError | None:
    """The operating system's error behind an exception of h5py, which may hold it in its text only; None: none."""
    number = error.errno if isinstance(error, OSError) else None
    found = None if number else _NUMBER.search(str(error))
    number = number or (int(found.group(1)) if found else None)
    return None if number is None or number in _WRONG_ADDRESS else OSError(number, os.strerror(number))


def own_words(error: BaseException) -> str:
    """What a library says of an error, in one short line."""
    text = printable(str(error.args[0] if error.args else error))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def other_kind(mode: int) -> str | None:
    """What a path leads to, where that is no plain file: "a folder", "a named pipe"; None for a plain file."""
    if stat.S_ISREG(mode):
        return None
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "no plain file")


def check_plain_file(path: Path) -> None:
    """Raise DatasetError unless a plain file is at `path`, links followed; a named pipe would never end to be read."""
    try:
        kind = other_kind(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL in the name
        raise DatasetError(
            f"there is no dataset file {printable(str(path))}; give the name or path of an existing one"
        ) from error
    except OSError as error:
        raise input_error(path, error) from error
    if kind is not None:
        raise DatasetError(f"{path} is {kind}, not a dataset file; give the name or path of an existing one")


def open_plain_file(path: Path) -> int:
    """A descriptor of the plain file at `path`, for reading. Links are not followed, and a named pipe does not block.

    Raises OSError where it cannot be opened or is of another kind.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    kind = other_kind(os.fstat(descriptor).st_mode)
    if kind is not None:
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"it is {kind}", str(path))
    return descriptor
