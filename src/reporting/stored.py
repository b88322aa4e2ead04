"""Runs in one small JSON file, which `report.py --to json` writes and `report.py` reads (docs/reports.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from reporting.faults import NUMBERS, TEXTS, TYPES, fault
from reporting.runs import Curve, ReportError, Run
from utils.documents import DocumentKind

FORMAT, VERSION = "epymarl-offline results", 1
NOT_STORED = ("seed", "local_results_path")  # keys of a configuration
_KIND = DocumentKind(
    "file of results", FORMAT, VERSION, "version", 1 << 28, "make it again with --to json, or leave it out", ReportError
)
_DIGITS = 6  # of a curve's values and of episodes' returns


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
        elif field.name in NUMBERS and value is not None:
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
        raise ReportError(f"{path} is damaged: it needs the lists 'configs' and 'runs'; {_KIND.advice}")
    return [_checked(path, number, entry, configs) for number, entry in enumerate(entries)]


def _checked(path: Path, number: int, entry: Any, configs: list[dict[str, Any]]) -> Run:
    if (
        not isinstance(entry, dict)
        or not isinstance(place := entry.get("config"), int)
        or isinstance(place, bool)
        or place not in range(len(configs))
    ):
        raise ReportError(f"{path} is damaged: its run {number} has no configuration; {_KIND.advice}")
    if (wrong := fault(entry)) is not None:
        raise ReportError(f"{path} is damaged: its run {number} {wrong}; {_KIND.advice}")
    known: dict[str, Any] = {name: entry.get(name) for name in TYPES}
    known["curves"] = {
        name: Curve(tuple(map(float, curve["steps"])), tuple(map(float, curve["values"])))
        for name, curve in entry["curves"].items()
    }
    for name in NUMBERS:
        known[name] = None if known[name] is None else tuple(map(float, known[name]))
    for name in TEXTS:
        known[name] = None if known[name] is None else tuple(known[name])
    return Run(**known, config={**configs[place], "seed": entry["seed"]})
