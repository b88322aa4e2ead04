"""The list of datasets: those that are here, and those that a command makes."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator

from datasets.hdf5 import open_container
from datasets.names import BUNDLED, DATA_ROOT, dataset_names, recipes
from utils.errors import DatasetError, printable

FALLBACK = (100, 24)  # columns and lines where there is no terminal
_INDENT = "    "


def terminal_width() -> int:
    """Columns of the terminal, 100 where there is none."""
    return max(20, shutil.get_terminal_size(FALLBACK).columns)


def fitted(lines: Iterable[str], width: int) -> Iterator[str]:
    """Lines of at most `width` columns: longer ones go on, indented, in the next line."""
    for line in lines:
        if len(line) <= width:
            yield line
            continue
        indent = min(len(line) - len(line.lstrip()) + 4, width // 2)
        yield from textwrap.wrap(line, width, subsequent_indent=" " * indent, break_on_hyphens=False)


def listing(width: int) -> Iterator[str]:
    """Every dataset by name: size, episodes, transitions and returns, or the command that makes it.

    Commands are broken by backslashes, so that they can be pasted. A file that cannot be read says why.
    """
    here, commands = dataset_names(), recipes()
    for name in sorted({*here, *commands}):
        yield printable(name)
        if name not in here:
            yield f"{_INDENT}not made yet; make it with:"
            yield from command_lines(commands[name], width)
            continue
        yield from fitted([f"{_INDENT}{_told(name)}"], width)


def command_lines(command: str, width: int) -> list[str]:
    """A command over several lines of at most `width` columns, where its words allow."""
    lines = textwrap.wrap(
        command, width - 2, initial_indent=_INDENT * 2, subsequent_indent=_INDENT * 3,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def _told(name: str) -> str:
    file = DATA_ROOT / f"{name}.h5"
    origin = "bundled" if name in BUNDLED else "made here"
    try:
        with open_container(file) as (_, card):
            counts, returns = card["counts"], card["returns"]
            return (
                f"{origin}, {file.stat().st_size / 1e6:.2f} MB: {counts['episodes']} episodes, "
                f"{counts['transitions']} transitions, return per agent {returns['mean']:.2f} +- {returns['std']:.2f}"
            )
    except (DatasetError, KeyError, TypeError, ValueError) as error:
        return printable(f"cannot be read: {error}")
