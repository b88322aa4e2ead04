"""Pictures of a report, as PNG: lines by method, bands by seed, a panel for each task."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from reporting.across import profiles
from reporting.assembled import Report, shortened
from reporting.groups import Group, Task
from reporting.numbers import by_rule
from reporting.runs import Curve, ReportError, sizes_of
from utils.errors import one_line, printable
from utils.histogram import WEIGHT_EDGES

Lines = dict[str, list[Curve]]  # by label, one curve per seed
Panels = dict[str, Lines]  # by title
DPI = 110


def pictures(report: Report) -> dict[str, bytes]:
    """The PNG files of everything that the runs have, by name.

    Raises ReportError where the drawing library cannot draw the runs' numbers, such as returns of 1e308.
    """
    try:
        with _plain_text():
            return _drawn(report)
    except (ValueError, ArithmeticError) as error:
        raise ReportError(
            f"the runs' numbers cannot be drawn ({one_line(error)}); leave the pictures out, or the runs that diverged"
        ) from error


def _drawn(report: Report) -> dict[str, bytes]:
    found = {
        "scores": _curves(_scores(report), _unit(report), _clock(report)),
        "seconds": _curves(_by_seconds(report), _unit(report), "seconds from the start"),
        "targets": _curves(_metric(report, "u_target"), "standard deviation of the target, u", "updates"),
        "uncertainty": _curves(_by_size(report, "u"), "uncertainty u_k", "updates"),
        "weights": _curves(_by_size(report, "w"), "weight w_k", "updates"),
        "histogram": _histogram(report),
        "heat": _heat(report),
        "profiles": _profiles(report),
        "budget": _budget(report),
    }
    return {name: picture for name, picture in found.items() if picture is not None}


def _plain_text() -> AbstractContextManager[Any]:
    """A context in which names are drawn as they are: Matplotlib reads `$` as the begin of a formula."""
    from matplotlib import rc_context

    return rc_context({"text.usetex": False, "text.parse_math": False})


def _unit(report: Report) -> str:
    return " or ".join(sorted(set(report.units.values())))


def _clock(report: Report) -> str:
    kinds = {"updates" if group.task.dataset else "environment steps" for group in report.groups}
    return " or ".join(sorted(kinds))


def _label(report: Report, group: Group) -> str:
    return printable(f"{group.algorithm} {report.labels[group]}".strip())


def _panels(report: Report, lines: Callable[[Group], Lines]) -> Panels:
    names, found = shortened(report.groups), dict[str, Lines]()
    for group in report.groups:
        for label, curves in lines(group).items():
            if curves:
                found.setdefault(names[group.task], {})[label] = curves
    return found


def _scores(report: Report) -> Panels:
    def lines(group: Group) -> Lines:
        unit = report.units[group.task]
        return {_label(report, group): [run.evaluations(unit) for run in group.runs]}

    return _panels(report, lines)


def _by_seconds(report: Report) -> Panels:
    """Scores by time, of runs whose times are known."""

    def lines(group: Group) -> Lines:
        unit = report.units[group.task]
        timed = [(run.times, run.evaluations(unit).values) for run in group.runs if run.times is not None]
        return {_label(report, group): [Curve(times, values) for times, values in timed if len(times) == len(values)]}

    return _panels(report, lines)


def _metric(report: Report, name: str) -> Panels:
    return _panels(
        report, lambda group: {_label(report, group): [run.curves[name] for run in group.runs if name in run.curves]}
    )


def _by_size(report: Report, name: str) -> Panels:
    """SPaCQL's Figure 2 (u) and 3 (w): lines by number of replaced agents, panels by task and method."""
    found: Panels = {}
    names = shortened(report.groups)
    for group in report.groups:
        sizes = sizes_of(group.runs, name)
        if len(sizes) > 1:
            title = f"{names[group.task]}: {_label(report, group)}"
            found[title] = {
                f"k = {k}": [run.curves[f"{name}_{k}"] for run in group.runs if f"{name}_{k}" in run.curves]
                for k in sizes
            }
    return found


def _curves(panels: Panels, ylabel: str, xlabel: str) -> bytes | None:
    """A line is the mean over seeds, its band their range."""
    if not panels:
        return None
    figure, axes = _figure(len(panels))
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        for label, curves in lines.items():
            shared = min(len(curve.values) for curve in curves)
            steps = np.mean([curve.steps[:shared] for curve in curves], axis=0)
            values = np.array([curve.values[:shared] for curve in curves])  # (n, T)
            (line,) = axis.plot(steps, values.mean(0), label=label, linewidth=1.6)
            axis.fill_between(steps, values.min(0), values.max(0), color=line.get_color(), alpha=0.15, linewidth=0)
        axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
        axis.legend(fontsize=8)
    return _png(figure)


def _histogram(report: Report) -> bytes | None:
    """ComaDICE's w* of logged actions: the shares of the last logged update, means over seeds."""
    bins = range(1, len(WEIGHT_EDGES) + 2)
    found: dict[str, Lines] = {}
    names = shortened(report.groups)
    for group in report.groups:
        whole = [run for run in group.runs if all(f"weight_bin_{k}" in run.curves for k in bins)]
        if whole:
            shares = np.mean([[run.curves[f"weight_bin_{k}"].values[-1] for k in bins] for run in whole], axis=0)
            own = Curve(tuple(map(float, bins)), tuple(map(float, shares)))
            found.setdefault(names[group.task], {})[_label(report, group)] = [own]
    if not found:
        return None
    edges = [f"{edge:g}" for edge in WEIGHT_EDGES]
    ticks = ["0", *(f"{low}-{high}" for low, high in zip(edges, edges[1:], strict=False)), f"> {edges[-1]}"]
    figure, axes = _figure(len(found))
    for axis, (title, lines) in zip(axes, found.items(), strict=True):
        width = 0.8 / len(lines)
        for number, (label, [curve]) in enumerate(lines.items()):
            axis.bar(np.array(curve.steps) + number * width, curve.values, width, label=label)
        axis.set_xticks(list(bins), ticks, rotation=60, fontsize=7)
        axis.set(title=title, xlabel="w*", ylabel="share of logged actions")
        axis.legend(fontsize=8)
    return _png(figure)


def _heat(report: Report) -> bytes | None:
    """Final scores as colours, tasks by methods; returns are scaled by task, as they have no common unit."""
    from matplotlib.figure import Figure

    names = shortened(report.groups)
    rows, columns = list(dict.fromkeys(names.values())), list(dict.fromkeys(map(_Label(report), report.groups)))
    table = np.full((len(rows), len(columns)), np.nan)
    for group in report.groups:
        place = rows.index(names[group.task]), columns.index(_label(report, group))
        table[place] = by_rule(group, "final", report.units[group.task]).mean
    colours = table
    if set(report.units.values()) != {"normalised score"}:
        low, high = np.nanmin(table, 1, keepdims=True), np.nanmax(table, 1, keepdims=True)
        colours = (table - low) / np.maximum(high - low, 1e-12)
    figure = Figure(figsize=(2.5 + 1.1 * len(columns), 1.6 + 0.5 * len(rows)), layout="constrained")
    axis = figure.subplots()
    axis.imshow(colours, aspect="auto", cmap="viridis")
    middle = (np.nanmin(colours) + np.nanmax(colours)) / 2
    for (row, column), value in np.ndenumerate(table):
        if not np.isnan(value):
            dark = colours[row, column] <= middle
            axis.text(column, row, f"{value:.1f}", ha="center", va="center", color="white" if dark else "black")
    axis.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axis.set_yticks(range(len(rows)), rows)
    axis.set(title=f"final {_unit(report)}")
    return _png(figure)


class _Label:
    """`_label` of one report."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def __call__(self, group: Group) -> str:
        return _label(self.report, group)


def _profiles(report: Report) -> bytes | None:
    """Performance profiles: the share of runs above each score."""
    if report.scores is None:
        return None
    thresholds, shares, limits = profiles(report.scores)
    figure, [axis] = _figure(1)
    for method, own in shares.items():
        (line,) = axis.plot(thresholds, own, label=method, linewidth=1.6)
        axis.fill_between(thresholds, *limits[method], color=line.get_color(), alpha=0.15, linewidth=0)
    axis.set(title="Performance profile", xlabel=report.scores.unit, ylabel="share of runs above it")
    axis.legend(fontsize=8)
    return _png(figure)


def _budget(report: Report) -> bytes | None:
    """Scores by number of online evaluations spent on choosing."""
    if not report.budgets:
        return None
    by_task: dict[Task, dict[str, Any]] = {}
    for (task, algorithm), found in report.budgets.items():
        by_task.setdefault(task, {})[algorithm] = found
    names = shortened(report.groups)
    figure, axes = _figure(len(by_task))
    for axis, (task, lines) in zip(axes, by_task.items(), strict=True):
        for algorithm, found in lines.items():
            pulls = np.arange(1, len(found.mean) + 1)
            (line,) = axis.plot(pulls, found.mean, label=f"{algorithm} ({found.runs} runs)", linewidth=1.6)
            axis.fill_between(pulls, *found.limits, color=line.get_color(), alpha=0.15, linewidth=0)
        axis.set(title=names[task], xlabel="online evaluations", ylabel=report.units[task], xscale="log")
        axis.legend(fontsize=8)
    return _png(figure)


def _figure(panels: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    across = min(panels, 4)
    down = -(-panels // across)
    figure = Figure(figsize=(4.2 * across, 3.4 * down), layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[panels:]:
        axis.set_visible(False)
    return figure, axes[:panels]


def _png(figure: Any) -> bytes:
    """The file, without what differs from one making to the next."""
    file = io.BytesIO()
    metadata: Mapping[str, None] = {"Software": None}
    figure.savefig(file, dpi=DPI, format="png", metadata=dict(metadata))
    return file.getvalue()
