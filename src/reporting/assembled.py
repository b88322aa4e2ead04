"""The report: every table, made of the groups."""

from __future__ import annotations

import functools
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from reporting import across
from reporting.beside import beside_place
from reporting.budget import SHOWN, Budget, budgets
from reporting.comparability import comparability
from reporting.groups import Group, Task, differing_between_tasks
from reporting.numbers import (
    ONE_SEED,
    SEEDS_ALONE,
    Difference,
    by_rule,
    evaluations_averaged,
    interval,
    paired,
    plain,
    signed,
    units,
)
from reporting.published import beside_paper
from reporting.runs import ReportError
from reporting.tables import Table, slim
from reporting.uncertainty import uncertainty
from utils.errors import nearest
from utils.printing import counted

LONGEST_VARIANT = 34  # characters of a variant in a table; a longer one gets a letter
EPISODES = "Intervals of 95 %: bootstrap of seeds and of the last evaluation's episodes."
SEEDS_ONLY = "Intervals of 95 %: bootstrap of seeds alone; the runs kept no returns of single episodes."
SOME = "Intervals of 95 %: bootstrap of seeds, and of the last evaluation's episodes in rows without †."
OF_BOTH = "95 %: bootstrap of seeds, and of the last evaluation's episodes where both played the same, else †."
OF_SEEDS = "95 %: bootstrap of seeds alone."
BY_T = (
    "t 95 %: Student's interval of the differences by seed. A bootstrap of three seeds alone holds the truth in about "
    "75 cases of 100."
)
CONTINUED = "No times of runs that were continued: their first part is not in the record."
FEW = "‡: of the episodes of one seed; it says nothing of other seeds."


@dataclass
class Options:
    """What the report is asked for.

    base: the method that others are compared with; None: the first one. beside: groups of other places, by place.
    """

    raw: bool = False
    base: str | None = None
    papers: Sequence[str] = ()
    budget: bool = False
    uncertainty: bool = False
    beside: Mapping[str, list[Group]] = field(default_factory=dict)


@dataclass
class Report:
    """The tables in their order, what they are made of, and notes that belong to none of them.

    by_data: rows without scores. left_out: those of the notes that say what is not counted.
    """

    groups: list[Group]
    units: dict[Task, str]
    tables: list[Table]
    notes: list[str]
    scores: across.Scores | None = None
    budgets: dict[tuple[Task, str], Budget] = field(default_factory=dict)
    labels: dict[Group, str] = field(default_factory=dict)
    by_data: list[Group] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def assemble(groups: list[Group], notes: Sequence[str], options: Options) -> Report:
    """The whole report of groups that were checked. Raises ReportError for what the options cannot have."""
    chosen = units(groups, options.raw)
    report = Report(groups, chosen, [], list(notes), labels=labels(groups))
    report.tables += [_variants(report)] if _lettered(report) else []
    report.tables += [_final(report), _other_rules(report)]
    report.tables += [beside_paper(name, groups, chosen) for name in options.papers]
    report.tables += [beside_place(place, groups, chosen, others) for place, others in options.beside.items()]
    if options.uncertainty:
        report.tables.append(uncertainty(groups, functools.partial(_where, report)))
    base = base_of(report, options.base)
    report.tables += _differences(report, base)
    if across.is_installed():
        report.tables += _over_tasks(report, base)
    else:
        report.notes.append(across.MISSING)
    if options.budget:
        report.budgets, said = budgets(groups, chosen)
        report.notes += said
        report.tables += [_budget(report)] if report.budgets else []
    for table in report.tables:
        if any(cell.endswith(ONE_SEED) for row in table.rows for cell in row):
            table.notes.append(FEW)
    report.tables.append(comparability(groups))
    if between := differing_between_tasks(groups):
        rows = [(method, key, ", ".join(values)) for method, keys in between.items() for key, values in keys.items()]
        note = "Means over tasks are over runs that differ in these keys, such as values that suit a dataset."
        report.tables.append(Table("Keys that differ between tasks", ("method", "key", "by task"), rows, 2, [note]))
    return report


def labels(groups: list[Group]) -> dict[Group, str]:
    """What stands in the column `variant`: the keys, or a letter for those that are too long."""
    long = {group.variant for group in groups if len(group.variant) > LONGEST_VARIANT}
    if len(long) > 26:
        return {group: group.variant for group in groups}
    letters = {variant: chr(ord("A") + number) for number, variant in enumerate(sorted(long))}
    return {group: letters.get(group.variant, group.variant) for group in groups}


def shortened(groups: list[Group]) -> dict[Task, str]:
    """The tasks' names without what all of them begin with."""
    names = {group.task: group.task.name() for group in groups}
    if len(set(names.values())) < len(names):  # of one dataset in several environments
        names = {task: f"{task.environment}: {name}" for task, name in names.items()}
    shared = os.path.commonprefix(list(names.values())).rpartition("/")[0] if len(names) > 1 else ""
    return {task: name[len(shared) :].lstrip("/") for task, name in names.items()}


def base_of(report: Report, wanted: str | None) -> str:
    """The method that others are compared with: by its name, its letter in the tables, both, or its algorithm.

    Raises ReportError for one that is not there, and for a letter of several algorithms.
    """
    methods = list(dict.fromkeys(group.method for group in report.groups))
    if wanted is None:
        return methods[0]
    lettered: dict[str, str] = {}
    for group, letter in _lettered(report).items():
        lettered[f"{group.algorithm} {letter}"] = group.method
        if letter == wanted and lettered.setdefault(letter, group.method) != group.method:
            raise ReportError(
                f"--baseline {letter}: several algorithms have this variant; write it as '{group.algorithm} {letter}'"
            )
    name = lettered.get(wanted, wanted)
    named = [method for method in methods if method == name]
    named += [method for method in methods if method.partition(" ")[0] == name]
    if not named:
        raise ReportError(f"--baseline {wanted}: no method is called so; {nearest(wanted, [*methods, *lettered])}")
    return named[0]


def _unit_title(report: Report) -> str:
    return " and ".join(sorted(set(report.units.values())))


def _where(report: Report, group: Group) -> tuple[str, str, str]:
    return shortened(report.groups)[group.task], group.algorithm, report.labels[group]


def _final(report: Report) -> Table:
    rows: list[tuple[str, ...]] = []
    marked: list[bool | None] = []  # an interval of seeds alone; None: no interval
    for group in report.groups:
        unit = report.units[group.task]
        limits = interval(group, unit)
        marked.append(None if limits is None else not limits.episodes)
        by_seed = " / ".join(plain(run.final[unit]) for run in group.by_seed().values())
        rows.append((*_where(report, group), str(len(group.runs)), str(by_rule(group, "final", unit)),
                     "" if limits is None else str(limits), by_seed))  # fmt: skip
    note, kinds = EPISODES, {mark for mark in marked if mark is not None}
    if kinds == {True}:
        note = SEEDS_ONLY
    elif len(kinds) == 2:
        rows = [
            (*row[:5], row[5] + SEEDS_ALONE if mark else row[5], row[6]) for row, mark in zip(rows, marked, strict=True)
        ]
        note = SOME
    head = ("data", "algorithm", "variant", "n", "final", "95 %", "by seed")
    title = f"Final scores ({_unit_title(report)}, last evaluation, mean ± standard deviation of n seeds)"
    return slim(Table(title, head, rows, keys=3, notes=[note]))


def _other_rules(report: Report) -> Table:
    rows: list[tuple[str, ...]] = []
    continued = False  # whether a row has no times for that reason
    for group in report.groups:
        unit = report.units[group.task]
        continued |= all(run.seconds is None and run.config.get("checkpoint_path") for run in group.runs)
        rows.append((*_where(report, group), str(by_rule(group, "last ten", unit)), evaluations_averaged(group, unit),
                     str(by_rule(group, "best", unit)), _minutes(run.seconds for run in group.runs),
                     _minutes(run.cpu_seconds for run in group.runs)))  # fmt: skip
    head: tuple[str, ...] = ("data", "algorithm", "variant", "last ten", "of", "best*", "minutes a run", "core-minutes")
    if not any(row[-1] for row in rows):  # runs of earlier releases
        head, rows = head[:-1], [row[:-1] for row in rows]
    notes = [
        "last ten: mean of the newest evaluations after the first update; `of` says how many there were.",
        "*best: the best evaluation of each run. It looks at online returns, which an offline method has none of.",
    ]
    notes += [CONTINUED] if continued else []
    return slim(Table("Other rules", head, rows, keys=3, notes=notes))


def _minutes(seconds: Iterable[float | None]) -> str:
    """The mean of what is known, in minutes."""
    known = [value / 60 for value in seconds if value is not None]
    return f"{statistics.fmean(known):.1f}" if known else ""


def _lettered(report: Report) -> dict[Group, str]:
    return {group: label for group, label in report.labels.items() if len(label) == 1}


def _variants(report: Report) -> Table:
    """Each variant and algorithm once; algorithms with the same keys have the same letter."""
    keyed = {(label, group.algorithm): dict(group.keys) for group, label in _lettered(report).items()}
    columns = sorted({key for keys in keyed.values() for key in keys})
    rows = [(*named, *(keys.get(key, "") for key in columns)) for named, keys in sorted(keyed.items())]
    return Table("Variants", ("variant", "algorithm", *columns), rows, keys=2)


def _differences(report: Report, base: str) -> list[Table]:
    """Each method less the base on common seeds, task by task."""
    theirs = {group.task: group for group in report.groups if group.method == base}
    pairs = [(group, theirs[group.task]) for group in report.groups if group.task in theirs]
    compared = [(group, paired(group, other, report.units[group.task])) for group, other in pairs if group is not other]
    lacking = [group.task.name() for group in report.groups if group.task not in theirs]
    if lacking:
        report.notes.append(f"Not compared, for {base} has no run there: {', '.join(dict.fromkeys(lacking))}")
    if not compared:
        return []
    several = [found for _, found in compared if found is not None and len(found.seeds) > 1]
    with_episodes = any(found.episodes for found in several)
    rows = [(*_where(report, group), *_difference(found, with_episodes)) for group, found in compared]
    head = ("data", "algorithm", "variant", "seeds", "difference", "95 %", "t 95 %", "by seed")
    notes = [f"Final score less that of {base} with the same seed. --baseline chooses another."]
    notes += [OF_BOTH if with_episodes else OF_SEEDS, BY_T] if several else []
    return [slim(slim(Table(f"Differences from {base}", head, rows, keys=3, notes=notes)), "t 95 %")]


def _difference(found: Difference | None, with_episodes: bool) -> tuple[str, str, str, str, str]:
    """with_episodes: some rows drew episodes, so those that did not are marked."""
    if found is None:
        return "none in common", "", "", "", ""
    by_seed = " / ".join(signed(value) for value in found.values)
    limits = found.limits() + (SEEDS_ALONE if with_episodes and not found.episodes and len(found.seeds) > 1 else "")
    return ", ".join(map(str, found.seeds)), signed(found.mean), limits, found.by_t(), by_seed


def _over_tasks(report: Report, base: str) -> list[Table]:
    """Interquartile means and probabilities of improvement."""
    scores = across.scores_of(report.groups, report.units)
    if isinstance(scores, str):
        report.notes.append(scores)
        return []
    report.scores = scores
    means, better = across.interquartile_means(scores), across.improvements(scores, base)
    rows = []
    for method, values in scores.by_method.items():
        point, low, high = means[method]
        chance = "" if method not in better else "{:.2f} [{:.2f}, {:.2f}]".format(*better[method])
        rows.append((method, str(len(values)), f"{point:.1f}", f"[{low:.1f}, {high:.1f}]", chance))
    head = ("method", "n", "IQM", "95 %", f"P(better than {base})")
    tasks = counted(len(scores.tasks), "task")
    notes = [
        f"Over {tasks}: interquartile mean of seeds and tasks; stratified bootstrap (rliable).",
        *(f"{note}." for note in scores.notes),
    ]
    if min(map(len, scores.by_method.values())) == 1:
        notes.append("A method with one seed has no interval: its bounds are its mean.")
    return [Table(f"Over all tasks ({scores.unit})", head, rows, notes=notes)]


def _budget(report: Report) -> Table:
    names = shortened(report.groups)
    rows = [
        (names[task], algorithm, str(found.runs), *(f"{found.mean[pulls - 1]:.1f}" for pulls in SHOWN))
        for (task, algorithm), found in report.budgets.items()
    ]
    head = ("data", "algorithm", "runs", *map(str, SHOWN))
    note = (
        "Score of the policy that looks best after so many online evaluations, of one episode each, spent on choosing "
        "among the runs by UCB; returns were scaled to 0 to 1 for the choice. 1: a pick at random."
    )
    return Table("Tuning budget (score by number of online evaluations)", head, rows, keys=3, notes=[note])
