"""Where runs are looked for: directories of Sacred runs, at any depth, and files that `--to json` has written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    by_data: dict[Run, str] = field(default_factory=dict)  # runs without scores of which data tell, with what they are
    left_out: list[str] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)  # what of `without` left something out
    seen: set[Path] = field(default_factory=set)  # files and directories of runs that were read, resolved


def read_places(places: Iterable[str], without: Iterable[str] = ()) -> Reading:
    """All runs at these places but those in `without`, each once.

    Raises ReportError where there are none with scores and none of which their data tell something.

    without: directories of runs, files, or what a stored run says it was read from.
    """
    found = Reading()
    places, paths = list(places), {text: user_path(text, "--without", folder=True) for text in without}
    excluded = {path.resolve(): text for text, path in paths.items()}
    for text in places:
        path = user_path(text, "the place of runs", folder=True)
        if path.is_file():
            if not _leaves_out(path, excluded, found) and _is_new(path, found):
                found.runs += read_stored(path)
        elif path.is_dir():
            _search(path, excluded, found)
        else:
            raise ReportError(f"{text}: there is no such file or directory; give one that holds runs")
    found.runs = _once(found)
    _drop_sources(found, paths)
    if not found.runs and not found.by_data:
        raise ReportError(nothing_at(places, found))
    return found


def nothing_at(places: Iterable[str], found: Reading) -> str:
    """That no run with scores is at these places, and what is there."""
    seen = f"; found there: {', '.join(found.left_out[:5])}" if found.left_out else ""
    way = ""
    if any(reason.startswith("training without scores") for reason in found.left_out):
        way = "; without a simulator, --config=fqe and validation_share judge from data (docs/your-data.md)"
    return f"{', '.join(places)}: no completed training run with scores is there{seen}{way}"


def _leaves_out(path: Path, excluded: Mapping[Path, str], found: Reading) -> bool:
    """Whether a file or directory is one of those to leave out, which is noted."""
    text = excluded.get(path.resolve())
    if text is not None:
        found.dropped.add(text)
    return text is not None


def _is_new(path: Path, found: Reading) -> bool:
    """Whether a file or directory was not read before, under this name or another; it counts as read from now on."""
    resolved = path.resolve()
    new = resolved not in found.seen
    found.seen.add(resolved)
    return new


def _drop_sources(found: Reading, texts: Iterable[str]) -> None:
    """Leave out stored runs by where they were read from. Raises ReportError where a text names several."""
    for text in texts:
        named = [run for run in found.runs if run.source == text]
        if len(named) > 1:
            raise ReportError(f"--without {text}: {len(named)} runs say that they were read from there; use --where")
        if named:
            found.dropped.add(text)
            found.runs.remove(named[0])


def _search(top: Path, excluded: Mapping[Path, str], found: Reading) -> None:
    for folder, folders, files in os.walk(top, onerror=_refuse):
        folders[:] = sorted(name for name in folders if name != "_sources")
        path = Path(folder)
        if _leaves_out(path, excluded, found):
            folders.clear()
            continue
        if "run.json" in files and not _OF_SACRED.isdisjoint(files) or "metrics.json" in files:
            folders.clear()
            if not _is_new(path, found):
                continue
            try:
                found.runs.append(read_sacred(path))
            except NotCountedError as reason:
                if reason.by_data is not None:
                    found.by_data[reason.by_data] = str(reason)
                else:
                    found.left_out.append(str(reason))
            continue
        for name in sorted(files):
            file = path / name
            if not name.endswith(".json") or _leaves_out(file, excluded, found) or not _is_ours(file):
                continue
            if _is_new(file, found):
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
    kept: dict[str, Run] = {}
    for run in found.runs:
        config = {key: value for key, value in run.config.items() if key not in NOT_STORED}
        facts: list[Any] = [config, run.seed, run.started, run.final]
        if run.started is None:  # of earlier releases: these may have ended alike, but not lie at one place too
            facts += [run.source, {name: (curve.steps, curve.values) for name, curve in run.curves.items()}]
        same = text_of(facts)
        if same in kept:
            found.left_out.append(f"read twice, counted once: {run.source} and {kept[same].source}")
        else:
            kept[same] = run
    return list(kept.values())
