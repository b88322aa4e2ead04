"""Which of the runs are reported: `--where key=value`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reporting.groups import defaults_of
from reporting.runs import ReportError, Run, flat, text_of
from utils.errors import nearest, shown

# What a run is asked for beside its configuration's keys.
OWN = ("algorithm", "environment", "dataset", "seed", "commit", "checksum", "sources")


def chosen(runs: list[Run], conditions: Iterable[str]) -> list[Run]:
    """The runs for which all conditions hold, `key=value` or `key=value,value`.

    Raises ReportError for a condition without a sign, a key or a value that no run has, and conditions that leave
    nothing.
    """
    facts = {run: known_of(run) for run in runs}
    known = {name for own in facts.values() for name in own}
    kept = runs
    for condition in conditions:
        key, sign, wanted = condition.partition("=")
        if not sign:
            raise ReportError(f"--where {shown(condition)}: this must be key=value")
        if key not in known:
            raise ReportError(f"--where {shown(condition)}: no run has the key '{shown(key)}'; {nearest(key, known)}")
        values = {run: own.get(key) for run, own in facts.items()}
        whole = any(_is(value, key, wanted) for value in values.values())
        alternatives = [wanted] if whole else wanted.split(",")
        for text in alternatives:
            if not any(_is(value, key, text) for value in values.values()):
                near = nearest(text, set(map(text_of, values.values())))
                raise ReportError(f"--where {shown(condition)}: no run has the value {shown(text)} of {key}; {near}")
        kept = [run for run in kept if any(_is(values[run], key, text) for text in alternatives)]
        if not kept:
            raise ReportError(
                f"--where {shown(condition)}: no run for which the conditions before it hold has this value"
            )
    return kept


def check_ignored(keys: Iterable[str], runs: Iterable[Run]) -> None:
    """Raise ReportError for a key of `--ignore` that no run has."""
    known = {name for run in runs for name in flat(run.config)}
    for key in keys:
        if key not in known:
            raise ReportError(f"--ignore {shown(key)}: no run has this key; {nearest(key, known)}")


def known_of(run: Run) -> dict[str, Any]:
    """Everything that a condition may ask of a run; a key that is newer than it as `grouped` counts it."""
    return {**defaults_of(run.algorithm), **flat(run.config), **{name: getattr(run, name) for name in OWN}}


def _is(value: Any, key: str, wanted: str) -> bool:
    """Whether a value is the wanted one; a dataset's last part names it too."""
    texts = {text_of(value)} | ({"None"} if value is None else set())
    if key == "dataset" and value is not None:
        texts.add(text_of(value).rpartition("/")[2])
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return wanted in texts or (is_number and _same_number(wanted, value))


def _same_number(text: str, value: float) -> bool:
    try:
        return float(text) == value
    except ValueError:
        return False
