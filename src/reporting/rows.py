"""The groups as CSV: one row each, all numbers in full, each differing key a column of its own."""

from __future__ import annotations

from reporting.assembled import Report
from reporting.numbers import RULES, Summary, by_rule, evaluations_averaged, interval
from reporting.tables import comma_separated


def rows_text(report: Report) -> str:
    """The file's text."""
    keys = sorted({key for group in report.groups for key, _ in group.keys})
    names = [f"{rule.replace(' ', '_')}_{part}" for rule in RULES for part in ("mean", "std")]
    head = ["environment", "dataset", "algorithm", *keys, "unit", "n", "seeds", *names, "evaluations_averaged",
            "final_low", "final_high", "interval_of", "final_by_seed"]  # fmt: skip
    rows = []
    for group in report.groups:
        unit, own = report.units[group.task], dict(group.keys)
        numbers = [text for rule in RULES for text in _pair(by_rule(group, rule, unit))]
        limits = interval(group, unit)
        bounds = ["", "", ""]
        if limits is not None:
            bounds = [repr(limits.low), repr(limits.high), "seeds and episodes" if limits.episodes else "seeds"]
        finals = [repr(run.final[unit]) for run in group.by_seed().values()]
        rows.append([group.task.environment, group.task.dataset, group.algorithm, *(own.get(key, "") for key in keys),
                     unit, str(len(group.runs)), " ".join(map(str, group.by_seed())), *numbers,
                     evaluations_averaged(group, unit), *bounds, " ".join(finals)])  # fmt: skip
    return comma_separated(head, rows)


def _pair(found: Summary) -> tuple[str, str]:
    return repr(found.mean), "" if found.std is None else repr(found.std)
