"""How uncertain targets are and how partial replacement is weighed: `--uncertainty`, SPaCQL's Figures 2 and 3."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable

from reporting.groups import Group
from reporting.runs import Curve, ReportError, Run, sizes_of
from reporting.tables import Table, slim

HEAD = (
    "data", "algorithm", "variant", "u_target by seed", "q_data", "u_k", "u_n / u_1 by seed", "w_k", "w_max", "k_eff",
)  # fmt: skip
NOTES = [
    "Means over the second half of training. u_k: standard deviation over a run's critics of the value with k agents "
    "replaced, w_k: that value's weight in the target. u_target: standard deviation over the target critics of the "
    "target's value; critics of another number do not compare. q_data: the critics' mean value of logged actions.",
]


def uncertainty(groups: list[Group], where: Callable[[Group], tuple[str, str, str]]) -> Table:
    """A row for each group that logged its targets' uncertainty. Raises ReportError where none did."""
    rows = [
        (*where(group), *_cells(list(group.by_seed().values())))
        for group in groups
        if any("u_target" in run.curves for run in group.runs)
    ]
    if not rows:
        raise ReportError("--uncertainty: none of these runs logged u_target, as SPaCQL and its relatives do")
    return slim(Table("Uncertainty of targets", HEAD, rows, keys=3, notes=NOTES))


def _cells(runs: list[Run]) -> tuple[str, ...]:
    sizes = sizes_of(runs, "u")
    ends = [(run.curves[f"u_{sizes[-1]}"], run.curves["u_1"]) for run in runs if "u_1" in run.curves]
    ratios = [_late(largest) / _late(smallest) for largest, smallest in ends]
    return (
        _several(_late(run.curves["u_target"]) for run in runs if "u_target" in run.curves), _mean(runs, "q_data", 1),
        ", ".join(_mean(runs, f"u_{k}", 2) for k in sizes), " / ".join(f"{ratio:.3f}" for ratio in ratios),
        ", ".join(_mean(runs, f"w_{k}", 3) for k in sizes), _mean(runs, "w_max", 3), _mean(runs, "k_eff", 3),
    )  # fmt: skip


def _several(values: Iterable[float]) -> str:
    return " / ".join(f"{value:.2f}" for value in values)


def _mean(runs: list[Run], name: str, digits: int) -> str:
    """The mean over the runs that logged it; empty where none did."""
    found = [_late(run.curves[name]) for run in runs if name in run.curves]
    return f"{statistics.fmean(found):.{digits}f}" if found else ""


def _late(curve: Curve) -> float:
    """The mean over the second half of the steps."""
    return statistics.fmean(v for t, v in zip(curve.steps, curve.values, strict=True) if t >= curve.steps[-1] / 2)
