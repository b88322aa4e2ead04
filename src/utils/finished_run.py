"""A finished run, read from its Sacred directory without trust: whole, or refused in one sentence."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from utils.description import FORMAT
from utils.errors import UserError, cause, printable
from utils.manifest import Damage, regular_file
from utils.memory import size_text

FINISHED = ("COMPLETED", "INTERRUPTED", "FAILED")
# Entries of run.json that are read, with their types.
_ENTRIES: dict[str, type] = {
    "experiment": dict, "host": dict, "command": str, "start_time": str, "meta": dict, "artifacts": list, "status": str,
}  # fmt: skip
_LARGEST = 1 << 26  # bytes of one text or document, of which a database takes 16 MB
_LISTS = ("steps", "values", "timestamps")


class RunError(UserError):
    """A directory that holds no finished, undamaged run."""


@dataclass(frozen=True)
class FinishedRun:
    """What a run's directory holds.

    entry: run.json. metrics: by name, the lists steps, values and timestamps. artifacts: files by their names.
    sources: source files by their paths in the checkout.
    """

    folder: Path
    entry: dict[str, Any]
    config: dict[str, Any]
    info: dict[str, Any]
    metrics: dict[str, dict[str, list[Any]]]
    output: str
    artifacts: dict[str, Path]
    sources: dict[str, Path]


def read_finished(folder: Path) -> FinishedRun:
    """The run in a directory such as results/sacred/spacql/simple_spread/1.

    Raises RunError for a directory of none, for a run that has not ended, and where a file is damaged or missing.
    """
    if not _is_there(folder / "run.json"):
        raise RunError(f"{folder} is no run; give a directory such as results/sacred/spacql/simple_spread/1")
    entry = _mapping(folder, "run.json")
    if entry.get("format") == FORMAT:
        raise RunError(f"{folder} holds a run's checkpoints; {_record(entry.get('sacred'))}")
    for key, kind in _ENTRIES.items():
        if not isinstance(entry.get(key), kind):
            raise RunError(f"{folder}/run.json is damaged: its entry '{key}' is missing or no {kind.__name__}")
    if entry["status"] not in FINISHED:
        raise RunError(
            f"{folder} has not ended (status {printable(entry['status'][:20])}); push it when it is COMPLETED, "
            "INTERRUPTED or FAILED"
        )
    for key in ("start_time", "stop_time", "heartbeat"):
        if entry.get(key) is not None:
            entry[key] = _time(folder, "run.json", entry[key])
    info = _mapping(folder, "info.json", {})
    metrics = _metrics(folder, info)
    return FinishedRun(folder, entry, _mapping(folder, "config.json"), info, metrics, _text(folder, "cout.txt"),
                       _artifacts(folder, entry["artifacts"]), _sources(folder, entry["experiment"]))  # fmt: skip


def _record(sacred: Any) -> str:
    """Where the record is of a run whose description holds `sacred`, for a message."""
    sacred = sacred if isinstance(sacred, dict) else {}
    if isinstance(directory := sacred.get("directory"), str) and directory:
        return f"give its record, {printable(directory[-200:])}"
    if sacred.get("databases"):
        return "it has no record on this disk, for a database keeps it"
    return "give its record, a directory such as results/sacred/spacql/simple_spread/1"


def _mapping(folder: Path, name: str, absent: dict[str, Any] | None = None) -> dict[str, Any]:
    """A JSON file with a mapping in it. absent: what a missing file means, None where it must be there."""
    path = folder / name
    if absent is not None and not _is_there(path):
        return absent
    try:
        content = json.loads(_text(folder, name))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: it is no JSON") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged: it holds no mapping")
    return content


def _text(folder: Path, name: str) -> str:
    """A file's text; what is no UTF-8 in it is replaced."""
    try:
        with regular_file(folder / name) as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise RunError(f"{folder} is incomplete: {name} cannot be read ({cause(error)})") from error
    except Damage as damage:
        raise RunError(f"{folder} is incomplete: {name} {damage.reason}") from damage
    if len(raw) > _LARGEST:
        raise RunError(f"{folder}/{name} is larger than {size_text(_LARGEST)}, which no database takes")
    return raw.decode("utf-8", errors="replace")


def _is_there(path: Path) -> bool:
    """Whether something has this name. Raises RunError where it cannot be known."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name that no file can have
        return False
    except OSError as error:
        raise RunError(f"{path} cannot be looked at ({cause(error)}); give a directory that can be read") from error
    return True


def _time(folder: Path, name: str, text: Any) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise RunError(f"{folder}/{name} is damaged: {printable(str(text)[:40])} is no time") from error


def _metrics(folder: Path, info: dict[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """metrics.json with its times read; `info` has the steps of every metric too, so that a lost one is seen."""
    found = _mapping(folder, "metrics.json", {})
    for name, series in found.items():
        if not isinstance(series, dict) or not all(isinstance(series.get(key), list) for key in _LISTS):
            raise RunError(f"{folder}/metrics.json is damaged: '{printable(name[:40])}' is no series of values")
        if len({len(series[key]) for key in _LISTS}) != 1:
            raise RunError(f"{folder}/metrics.json is damaged: '{printable(name[:40])}' has lists of unequal length")
        series["timestamps"] = [_time(folder, "metrics.json", stamp) for stamp in series["timestamps"]]
    for key, steps in info.items():
        name = key.removesuffix("_T")
        if key.endswith("_T") and isinstance(steps, list) and len(found.get(name, {}).get("steps", ())) < len(steps):
            raise RunError(f"{folder} is incomplete: metrics.json lacks values of '{printable(name[:40])}'")
    return found


def _artifacts(folder: Path, names: list[Any]) -> dict[str, Path]:
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not _is_plain(folder / name):
            raise RunError(
                f"{folder} is incomplete: it has no file '{printable(str(name)[:80])}', one of its artifacts"
            )
    return {name: folder / name for name in names}


def _sources(folder: Path, experiment: dict[str, Any]) -> dict[str, Path]:
    """Sacred keeps one copy of each source file in `_sources` beside the runs' directories."""
    found = {}
    for item in experiment.get("sources") or []:
        if not (isinstance(item, list) and len(item) == 2 and all(isinstance(part, str) for part in item)):
            raise RunError(f"{folder}/run.json is damaged: its list of sources is none")
        kept = folder.parent / "_sources" / Path(item[1]).name
        if not _is_plain(kept) or kept.parent.is_symlink():
            raise RunError(f"{folder} is incomplete: its source file {printable(str(kept)[-120:])} is missing")
        found[item[0]] = kept
    return found


def _is_plain(path: Path) -> bool:
    """Whether there is a regular file, and no link that could lead anywhere."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False
