"""Runs in one small JSON file, which `report.py --to json` writes and `report.py` reads (docs/reports.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from reporting.runs import Curve, ReportError, Run
from utils.documents import DocumentKind

FORMAT, VERSION = "epymarl-offline results", 1
NOT_STORED = ("seed", "local_results_path")  # keys of a configuration
_KIND = DocumentKind(
    "file of results", FORMAT, VERSION, "version", 1 << 28, "make it again with --to json, or leave it out", ReportError
)
_DIGITS = 6  # of a curve's values and of episodes' returns
# Types of a run's entries; null is allowed where the entry is not in `_NEEDED`.
_TYPES: dict[str, Any] = {
    "source": str, "algorithm": str, "environment": str, "dataset": str, "seed": int, "final": dict, "curves": dict,
    "checksum": str, "started": str, "seconds": int | float, "commit": str, "sources": str, "command": str,
    "by_hand": list, "declared": dict, "times": list, "episodes": list, "reference": dict,
    "cpu_seconds": int | float, "changed": list,
}  # fmt: skip
_NEEDED = ("source", "algorithm", "seed", "final", "curves")
_NUMBERS = ("times", "episodes")
_TEXTS = ("by_hand", "changed")


def stored_text(runs: Iterable[Run]) -> str:
    """The file's text: each configuration once, one line per run and per curve."""
    configs: list[dict[str, Any]] = []
    entries = []
    for run in runs:
        config = {key: value for key, value in run.config.items() if key not in NOT_STORED}
        if config not in configs:
            configs.append(config)
        entries.append(_entry(run, configs.index(config)))
    shown = ",\n".join(json.dumps(config) for config in configs)
    lines = ",\n".join(_on_lines(json.dumps(entry)) for entry in entries)
    return f'{{"format": "{FORMAT}", "version": {VERSION}, "configs": [\n{shown}\n], "runs": [\n{lines}\n]}}\n'


def _on_lines(entry: str) -> str:
    """An entry with a line for each of its parts; what looks like the end of one inside a text stays."""
    return re.sub(r'("(?:[^"\\]|\\.)*")|\}, ', lambda found: found[1] or "},\n ", entry)


def _entry(run: Run, number: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"config": number}
    for field in fields(Run):
        value = getattr(run, field.name)
        if field.name == "config":
            continue
        if field.name == "curves":
            value = {
                name: {"steps": _plain(curve.steps), "values": _plain(curve.values)} for name, curve in value.items()
            }
        elif field.name in _NUMBERS and value is not None:
            value = _plain(value)
        entry[field.name] = value
    return entry


def _plain(values: Iterable[float]) -> list[float]:
    rounded = (float(f"{value:.{_DIGITS}g}") for value in values)
    return [int(value) if value.is_integer() else value for value in rounded]


def read_stored(path: Path) -> list[Run]:
    """The runs of a file. Raises ReportError, one sentence, where it is damaged or of a later release."""
    content = _KIND.read(path)
    configs, entries = content.get("configs"), content.get("runs")
    if not isinstance(configs, list) or not isinstance(entries, list) or not all(isinstance(c, dict) for c in configs):
        raise ReportError(f"{path} is damaged: it needs the lists 'configs' and 'runs'")
    return [_checked(path, number, entry, configs) for number, entry in enumerate(entries)]


def _checked(path: Path, number: int, entry: Any, configs: list[dict[str, Any]]) -> Run:
    if (
        not isinstance(entry, dict)
        or not isinstance(place := entry.get("config"), int)
        or place not in range(len(configs))
    ):
        raise ReportError(f"{path} is damaged: its run {number} has no configuration")
    for name, kind in _TYPES.items():
        value = entry.get(name)
        wrong = value is not None and (not isinstance(value, kind) or isinstance(value, bool))
        if wrong or (value is None and name in _NEEDED):
            raise ReportError(f"{path} is damaged: its run {number} has no sound '{name}'")
    numbers = [*entry["final"].values(), *(entry.get("times") or ()), *(entry.get("episodes") or ())]
    numbers += (entry.get("reference") or {}).values()
    if not all(_is_number(value) for value in numbers) or not all(map(_is_curve, entry["curves"].values())):
        raise ReportError(f"{path} is damaged: its run {number} holds what is no number where one belongs")
    if not all(isinstance(text, str) for name in _TEXTS for text in entry.get(name) or ()):
        raise ReportError(f"{path} is damaged: its run {number} holds what is no text where one belongs")
    known: dict[str, Any] = {name: entry.get(name) for name in _TYPES}
    known["curves"] = {
        name: Curve(tuple(map(float, curve["steps"])), tuple(map(float, curve["values"])))
        for name, curve in entry["curves"].items()
    }
    for name in _NUMBERS:
        known[name] = None if known[name] is None else tuple(map(float, known[name]))
    for name in _TEXTS:
        known[name] = None if known[name] is None else tuple(known[name])
    return Run(**known, config={**configs[place], "seed": entry["seed"]})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_curve(curve: Any) -> bool:
    lists: list[Any] = [curve.get(name) for name in ("steps", "values")] if isinstance(curve, dict) else [None]
    if not all(isinstance(found, list) and found and all(map(_is_number, found)) for found in lists):
        return False
    return len(lists[0]) == len(lists[-1])
