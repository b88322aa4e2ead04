"""Where runs are looked for: directories of Sacred runs, at any depth, and files that `--to json` has written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from reporting.runs import ReportError, Run, text_of
from reporting.sacred_runs import NotCountedError, read_sacred
from reporting.stored import FORMAT, NOT_STORED, read_stored
from utils.errors import cause
from utils.paths import user_path

_OF_SACRED = frozenset({"config.json", "metrics.json", "cout.txt", "info.json"})
_HEAD = 200  # characters in which a file of ours names its format


@dataclass
class Reading:
    """What was found: the runs, and of everything else that was one, what it is."""

    runs: list[Run] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)  # what of `without` named runs or files


def read_places(places: Iterable[str], without: Iterable[str] = ()) -> Reading:
    """All runs at these places but those in `without`, each once. Raises ReportError where there are none.

    without: directories of runs, files, or what a stored run says it was read from.
    """
    found = Reading()
    places, paths = list(places), {text: user_path(text, "--without", folder=True) for text in without}
    excluded = {path.resolve() for path in paths.values()}
    for text in places:
        path = user_path(text, "the place of runs", folder=True)
        if path.is_file():
            found.runs += [] if path.resolve() in excluded else read_stored(path)
        elif path.is_dir():
            _search(path, excluded, found)
        else:
            raise ReportError(f"{text}: there is no such file or directory; give one that holds runs")
    sources = {run.source for run in found.runs}
    found.dropped = {text for text, path in paths.items() if text in sources or path.exists()}
    found.runs = [run for run in found.runs if run.source not in found.dropped]
    found.runs = _once(found)
    if not found.runs:
        seen = f"; found there: {', '.join(found.left_out[:5])}" if found.left_out else ""
        raise ReportError(f"{', '.join(places)}: no completed training run with scores is there{seen}")
    return found


def _search(top: Path, excluded: set[Path], found: Reading) -> None:
    for folder, folders, files in os.walk(top, onerror=_refuse):
        folders[:] = sorted(name for name in folders if name != "_sources")
        path = Path(folder)
        if path.resolve() in excluded:
            folders.clear()
            continue
        if "run.json" in files and not _OF_SACRED.isdisjoint(files) or "metrics.json" in files:
            folders.clear()
            try:
                found.runs.append(read_sacred(path))
            except NotCountedError as reason:
                found.left_out.append(str(reason))
            continue
        for name in sorted(files):
            file = path / name
            if name.endswith(".json") and file.resolve() not in excluded and _is_ours(file):
                found.runs += read_stored(file)


def _refuse(error: OSError) -> None:
    raise ReportError(f"{error.filename} cannot be looked into ({cause(error)}); change its permissions") from error


def _is_ours(file: Path) -> bool:
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            return f'"{FORMAT}"' in opened.read(_HEAD)
    except OSError:
        return False


def _once(found: Reading) -> list[Run]:
    """The runs without second copies of one run, such as a directory and the file that was made of it."""
    kept: dict[object, Run] = {}
    for run in found.runs:
        config = {key: value for key, value in run.config.items() if key not in NOT_STORED}
        same = text_of([config, run.seed, run.started, run.final]) if run.started else id(run)
        if same in kept:
            found.left_out.append(f"read twice, counted once: {run.source} and {kept[same].source}")
        else:
            kept[same] = run
    return list(kept.values())
