"""Runs of another place beside ours: `--beside PLACE`, such as those with the values of a method's authors."""

from __future__ import annotations

from dataclasses import dataclass

from reporting.groups import Group, Task
from reporting.numbers import SEEDS_ALONE, Difference, Interval, by_rule, interval, paired, signed
from reporting.runs import ReportError
from reporting.tables import Table, slim

OF_THESE = "†: a bootstrap of seeds alone; the other intervals of 95 % are of the last evaluation's episodes, too."


def beside_place(place: str, groups: list[Group], units: dict[Task, str], others: list[Group]) -> Table:
    """Each of our rows with each of theirs of the same algorithm and task: both scores, and ours less theirs.

    Raises ReportError where they have none of these rows in the same unit.
    """
    found: list[tuple[Group, Group, _Pair]] = []
    for group in groups:
        unit = units[group.task]
        for other in others:
            same = (other.task, other.algorithm) == (group.task, group.algorithm)
            if not same or any(unit not in run.units() for run in other.runs):
                continue
            pair = _Pair(interval(group, unit), interval(other, unit), paired(group, other, unit))
            found.append((group, other, pair))
    if not found:
        raise ReportError(
            f"--beside {place}: it has no run of any of these algorithms on the same data and in the same unit; leave "
            "--beside out, or give --raw if one of the places has returns alone"
        )
    marked = any(pair.with_episodes() for _, _, pair in found)
    rows = [
        (group.task.name(), group.method, other.variant, *pair.cells(group, other, units[group.task], marked))
        for group, other, pair in found
    ]
    head = ("data", "method", "theirs", "ours", "95 %", "beside", "their 95 %", "difference", "its 95 %",
            "its t 95 %")  # fmt: skip
    notes = [
        f"Beside: runs of {place}. Difference: our final scores less theirs with the same seeds; its 95 % by a "
        "bootstrap, its t 95 % by Student's t."
    ]
    if any(cell.endswith(SEEDS_ALONE) for row in rows for cell in row):
        notes.append(OF_THESE)
    return slim(slim(Table(f"Beside {place} (final scores)", head, rows, keys=3, notes=notes), "theirs"), "its t 95 %")


@dataclass(frozen=True)
class _Pair:
    """The intervals of a row: of our score, of theirs, and of the difference."""

    ours: Interval | None
    theirs: Interval | None
    apart: Difference | None

    def with_episodes(self) -> bool:
        """Whether one of them counts episodes."""
        return any(found is not None and found.episodes for found in (self.ours, self.theirs, self.apart))

    def cells(self, group: Group, other: Group, unit: str, marked: bool) -> tuple[str, ...]:
        """Scores, difference and intervals. marked: those of seeds alone have their sign."""

        def shown(found: Interval | Difference | None, text: str) -> str:
            return text + SEEDS_ALONE if marked and text and found is not None and not found.episodes else text

        scores = [
            (str(by_rule(each, "final", unit)), shown(limits, "" if limits is None else str(limits)))
            for each, limits in ((group, self.ours), (other, self.theirs))
        ]
        if self.apart is None:
            return *scores[0], *scores[1], "none in common", "", ""
        apart = signed(self.apart.mean), shown(self.apart, self.apart.limits()), self.apart.by_t()
        return *scores[0], *scores[1], *apart
