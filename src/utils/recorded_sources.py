"""Source files that a Sacred run keeps a copy of, beside those that the command's own file imports."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from sacred.dependencies import Source, get_digest


def imported_sources(main: Source, packages: Iterable[str]) -> set[Source]:
    """The imported files of these packages, with the commit that Sacred has found for the file `main`.

    Asking git about every file, as Sacred does for the files that it finds itself, would take seconds.
    """
    beginnings = tuple(f"{package}." for package in packages)
    modules = [module for name, module in list(sys.modules.items()) if f"{name}.".startswith(beginnings)]
    files = {Path(file).resolve() for module in modules if (file := getattr(module, "__file__", None))}
    return {
        Source(str(file), get_digest(str(file)), main.repo, main.commit, main.is_dirty)
        for file in files
        if file.suffix == ".py" and file.is_file()
    }
