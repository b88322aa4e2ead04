"""Output of commands: it reaches stdout, or the command says in one sentence that it did not."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NoReturn

from utils.errors import OutputError, cause, printable
from utils.redact import redacted


def open_closed_streams() -> None:
    """Open stdin, stdout and stderr on the null device where the caller closed them; for scripts, as a first act.

    The first files that a process opens would else get their numbers, and what is printed would land in them.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def put(text: str) -> None:
    """Print on stdout and flush it, with `printing`'s errors."""
    with printing():
        print(text)


@contextmanager
def printing() -> Iterator[None]:
    """A context for what prints on stdout, which is flushed at the end.

    Raises OutputError where stdout is closed or full. Where its reader has gone, as in `dataset.py list | head -1`, the
    process ends quietly with status 1.
    """
    if sys.stdout is None:  # Python's sign of a stream that was closed at the start
        raise OutputError("standard output is closed; open it, or redirect it to a file")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        sys.exit(1)
    except OSError as error:
        if error.filename is not None:  # of another file
            raise
        discard(sys.stdout)
        raise OutputError(
            f"standard output cannot be written ({cause(error)}); files that this command made are whole, redirect "
            "its output to a disk with space"
        ) from error


def counted(number: int, thing: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


class Parser(argparse.ArgumentParser):
    """A parser that refuses in one line, without the usage and without a password that a word holds.

    Its help is printed by `put`; argparse itself ignores a full disk.
    """

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with status 2."""
        self.exit(2, f"error: {redacted(printable(message))}; `{self.prog} --help` lists what there is\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        if message and file is sys.stdout:
            put(message.removesuffix("\n"))
        else:
            super()._print_message(message, file)


def discard(stream: IO[str]) -> None:
    """Send what is left in a stream's buffer nowhere, as Python tries to write it once more when it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
