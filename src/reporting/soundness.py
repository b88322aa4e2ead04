"""What would spoil a mean: it is named, and refused with the way out."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from itertools import chain

from reporting.groups import Group, Task
from reporting.runs import Curve, ReportError, Run
from utils.errors import nearest

# What `--allow` lets pass, with what is done then.
ALLOWED = {
    "seed": "the newest run of each seed counts",
    "length": "runs of different lengths are averaged at their last evaluation",
    "commit": "runs of different code are averaged",
    "dataset": "rows on data of one name with different checksums are compared, and runs of one row averaged",
}
# What a refusal advises, and what a note says was done.
_LENGTH = (
    "leave some out with --without, or take them as they are with --allow length",
    "they are averaged at their last evaluation",
)
_COMMIT = ("choose with --where commit=..., or average them with --allow commit", "they are averaged")
_DATASET = (
    "choose with --where checksum=..., or compare rows and average the runs of one row with --allow dataset",
    "rows are compared, and runs of one row are averaged",
)


class Refusal(ReportError):
    """Runs that cannot be averaged. reasons: one sentence for each thing that is wrong."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


def check(groups: list[Group], allowed: Iterable[str]) -> tuple[list[Group], list[str]]:
    """The groups, without older runs of a seed where that is allowed, and notes on what was let pass.

    Raises Refusal for repeated seeds, different lengths, different code, data that changed under its name, and scores
    that are no numbers. Raises ReportError for an unknown word in `allowed`.
    """
    allowed = set(allowed)
    for word in sorted(allowed - ALLOWED.keys()):
        raise ReportError(f"--allow {word}: nothing is called so; {nearest(word, ALLOWED)}")
    reasons: list[str] = []
    notes: list[str] = []
    kept = []
    for group in groups:
        group, said = _repeated(group, "seed" in allowed)
        kept.append(group)
        (notes if "seed" in allowed else reasons).extend(said)
        (notes if "length" in allowed else reasons).extend(_lengths(group, _LENGTH["length" in allowed]))
        wrong, harmless = _code(group, _COMMIT["commit" in allowed])
        notes += harmless
        (notes if "commit" in allowed else reasons).extend(wrong)
        reasons += [f"{run.name()}: a score is no finite number; leave it out with --without {run.source}"
                    for run in group.runs if not _is_finite(run)]  # fmt: skip
    (notes if "dataset" in allowed else reasons).extend(_data(groups, _DATASET["dataset" in allowed]))
    if reasons:
        raise Refusal(reasons)
    return kept, notes


def _is_finite(run: Run) -> bool:
    evaluated = chain.from_iterable(run.evaluations(unit).values for unit in run.units())
    if not run.final:
        evaluated = chain.from_iterable(curve.values for curve in run.curves.values())
    return all(map(math.isfinite, chain(run.final.values(), evaluated)))


def _title(group: Group) -> str:
    return f"{group.method} on {group.task.name()}"


def _repeated(group: Group, drop: bool) -> tuple[Group, list[str]]:
    counts = Counter(run.seed for run in group.runs)
    said = []
    runs = list(group.runs)
    for seed in sorted(seed for seed, count in counts.items() if count > 1):
        same = sorted((run for run in runs if run.seed == seed), key=lambda run: run.started or "")
        places = " and ".join(run.source for run in same)
        if drop:
            runs = [run for run in runs if run not in same[:-1]]
            said.append(f"{_title(group)}: of seed {seed} only the newest run counts, {same[-1].source}")
        else:
            said.append(
                f"{_title(group)}: seed {seed} occurs {len(same)} times ({places}); leave all but one out with "
                "--without, or count the newest with --allow seed"
            )
    return Group(group.task, group.algorithm, group.keys, tuple(runs)), said


def _lengths(group: Group, end: str) -> list[str]:
    """Runs that ended at another evaluation. end: of the sentence, as of those of the functions below."""
    ends = {run: run.shown() for run in group.runs}
    counts = {len(curve.steps) for curve in ends.values()}
    if len(counts) == 1 and not _ends_apart(ends.values()):
        return []
    listed = ", ".join(f"seed {run.seed}: {curve.steps[-1]:g}" for run, curve in ends.items())
    return [f"{_title(group)}: runs have different lengths ({listed}); {end}"]


def continued_otherwise(groups: Iterable[Group]) -> list[str]:
    """Runs that went on with other settings than they began with. They count all the same, so this is only named."""
    return [
        f"{run.name()}: continued with other settings ({', then '.join(run.changed)}); it counts as {_title(group)}"
        for group in groups
        for run in group.runs
        if run.changed
    ]


def between_rows(groups: Iterable[Group]) -> list[str]:
    """Rows of one task that end at different evaluations. They are compared all the same, so this is only named."""
    by_task: dict[Task, list[Group]] = defaultdict(list)
    for group in groups:
        by_task[group.task].append(group)
    tasks: dict[str, list[str]] = defaultdict(list)
    for task, rows in by_task.items():
        ends = {group: group.runs[0].shown() for group in rows}
        if _ends_apart(ends.values()):
            by_end: dict[float, list[str]] = defaultdict(list)
            for group, curve in ends.items():
                by_end[curve.steps[-1]].append(group.method)
            tasks["; ".join(f"{end:g}: {', '.join(by_end[end])}" for end in sorted(by_end))].append(task.name())
    return [f"{', '.join(names)}: rows end at different steps ({listed})" for listed, names in tasks.items()]


def _ends_apart(curves: Collection[Curve]) -> bool:
    """Whether they end at other evaluations: online runs end within one evaluation's distance of each other."""
    last = [curve.steps[-1] for curve in curves]
    return max(last) - min(last) > min(map(_spacing, curves))


def _spacing(curve: Curve) -> float:
    gaps = [after - before for before, after in zip(curve.steps, curve.steps[1:], strict=False)]
    return max(gaps, default=0.0)


def _code(group: Group, end: str) -> tuple[list[str], list[str]]:
    """What is wrong with the group's code, and what is only worth naming: commits whose files are the same.

    Digests are of the files that a run had imported, which are others in a sweep than by hand. So they say nothing more
    where all runs are of one commit, unchanged.
    """
    digests = {run.sources for run in group.runs}
    commits = {run.commit for run in group.runs}
    unchanged = not any((commit or "+").endswith("+") for commit in commits)
    if len(commits) == 1 and (len(digests) == 1 or None in digests or unchanged):
        return [], []
    listed = ", ".join(
        f"{commit or 'unknown'} (seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)})"
        for commit, seeds in sorted(_seeds_by_commit(group.runs).items())
    )
    if len(digests) == 1 and None not in digests:
        return [], [f"{_title(group)}: different commits, {listed}, of which this program's files are the same"]
    return [f"{_title(group)}: runs are of different code, {listed}; {end}"], []


def _seeds_by_commit(runs: Iterable[Run]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.seed):
        found[run.commit or ""].append(str(run.seed))
    return found


def _data(groups: list[Group], end: str) -> list[str]:
    found: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in chain.from_iterable(group.runs for group in groups):
        if run.checksum is not None and run.dataset is not None:
            found[run.dataset][run.checksum].append(run)
    said = []
    for name, by_checksum in found.items():
        if len(by_checksum) > 1:
            listed = ", ".join(
                f"{checksum[:10]} ({len(runs)} runs, such as {runs[0].source})"
                for checksum, runs in sorted(by_checksum.items())
            )
            said.append(f"{name}: runs learned from different data of this name, checksums {listed}; {end}")
    return said
