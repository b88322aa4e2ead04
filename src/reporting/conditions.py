"""Which of the runs are reported: `--where key=value`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reporting.runs import ReportError, Run, flat, text_of
from utils.errors import nearest, shown

# What a run is asked for beside its configuration's keys.
OWN = ("algorithm", "environment", "dataset", "seed", "commit", "checksum", "sources")


def chosen(runs: list[Run], conditions: Iterable[str]) -> list[Run]:
    """The runs for which all conditions hold, `key=value` or `key=value,value`.

    Raises ReportError for a condition without a sign, a key that no run has, and conditions that leave nothing.
    """
    conditions = list(conditions)
    for condition in conditions:
        key, sign, value = condition.partition("=")
        if not sign:
            raise ReportError(f"--where {shown(condition)}: this must be key=value")
        known = {name for run in runs for name in known_of(run)}
        if key not in known:
            raise ReportError(f"--where {shown(condition)}: no run has the key '{shown(key)}'; {nearest(key, known)}")
        kept = [run for run in runs if _holds(known_of(run).get(key), key, value)]
        if not kept:
            values = {text_of(known_of(run).get(key)) for run in runs}
            raise ReportError(f"--where {shown(condition)}: no run has this value of {key}; {nearest(value, values)}")
        runs = kept
    return runs


def known_of(run: Run) -> dict[str, Any]:
    """Everything that a condition may ask of a run."""
    return flat(run.config) | {name: getattr(run, name) for name in OWN}


def _holds(value: Any, key: str, wanted: str) -> bool:
    """Whether a value is the wanted one, or one of those between commas; a dataset's last part names it too."""
    texts = {text_of(value)} | ({"None"} if value is None else set())
    if isinstance(value, int | float) and not isinstance(value, bool):
        texts |= {wanted_text for wanted_text in wanted.split(",") if _same_number(wanted_text, value)}
    if key == "dataset" and value is not None:
        texts.add(text_of(value).rpartition("/")[2])
    return wanted in texts or not texts.isdisjoint(wanted.split(","))


def _same_number(text: str, value: float) -> bool:
    try:
        return float(text) == value
    except ValueError:
        return False
