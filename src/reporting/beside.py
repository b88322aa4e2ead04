"""Runs of another place beside ours: `--beside PLACE`, such as those with the values of a method's authors."""

from __future__ import annotations

from reporting.groups import Group, Task
from reporting.numbers import by_rule, interval, paired, signed
from reporting.runs import ReportError
from reporting.tables import Table, slim


def beside_place(place: str, groups: list[Group], units: dict[Task, str], others: list[Group]) -> Table:
    """Each of our rows with each of theirs of the same algorithm and task: both scores, and ours less theirs.

    Raises ReportError where they have none of these rows in the same unit.
    """
    rows: list[tuple[str, ...]] = []
    for group in groups:
        unit = units[group.task]
        for other in others:
            same = (other.task, other.algorithm) == (group.task, group.algorithm)
            if not same or any(unit not in run.units() for run in other.runs):
                continue
            found = paired(group, other, unit)
            apart = ("none in common", "", "") if found is None else (signed(found.mean), found.limits(), found.by_t())
            scores = (*_score(group, unit), *_score(other, unit))
            rows.append((group.task.name(), group.method, other.variant, *scores, *apart))
    if not rows:
        raise ReportError(
            f"--beside {place}: it has no run of any of these algorithms on the same data and in the same unit; leave "
            "--beside out, or give --raw if one of the places has returns alone"
        )
    head = ("data", "method", "theirs", "ours", "95 %", "beside", "their 95 %", "difference", "its 95 %",
            "its t 95 %")  # fmt: skip
    note = (
        f"Beside: runs of {place}. Difference: our final scores less theirs with the same seeds; its 95 % by a "
        "bootstrap, its t 95 % by Student's t."
    )
    return slim(slim(Table(f"Beside {place} (final scores)", head, rows, keys=3, notes=[note]), "theirs"), "its t 95 %")


def _score(group: Group, unit: str) -> tuple[str, str]:
    limits = interval(group, unit)
    return str(by_rule(group, "final", unit)), "" if limits is None else str(limits)
