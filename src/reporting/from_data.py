"""What data alone tell of runs: losses on held-out episodes, and policies' values by fitted Q evaluation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import PurePath

from reporting.groups import Group, grouped
from reporting.runs import FITTED_VALUE, HELD_OUT, Curve, ReportError, Run
from reporting.tables import Table, slim

FORMS = ("markdown", "latex")  # that show these tables
LOSSES = ("data", "algorithm", "variant", "loss", "n", "last", "lowest", "lowest at, by seed")
VALUES = ("data", "policy", "variant", "n", "value", "by seed")
OF_LOSSES = (
    "Losses on held-out episodes (validation_share), over n seeds. They say whether a run learns its data by heart or "
    "diverges; but for cloning, not which policy is better."
)
OF_VALUES = (
    "Fitted Q evaluation: discounted return from first steps, in the reward's units, over n fits. A dataset's highest "
    "stands first."
)


def from_data(runs: Sequence[Run], ignored: Sequence[str] = ()) -> list[Table]:
    """The tables that these runs without scores have."""
    groups, _ = grouped(runs, ignored)
    losses = [row for group in groups for row in _losses(group)]
    values = [_value(group) for group in groups if any(FITTED_VALUE in run.curves for run in group.runs)]
    tables = []
    if losses:
        tables.append(slim(Table("Without a simulator: losses on held-out episodes", LOSSES, losses, 4, [OF_LOSSES])))
    if values:
        rows = [row for _, row in sorted(values)]
        table = Table("Without a simulator: values of policies", VALUES, rows, 3, [OF_VALUES])
        tables.append(slim(slim(table), "by seed"))
    return tables


def check_form(form: str, figures: bool) -> None:
    """Raise ReportError where runs without scores are asked for in a form that shows only scores."""
    if form not in FORMS or figures:
        raise ReportError(
            f"{'--figures' if figures else f'--to {form}'}: these runs have no scores; what their data tell of them is "
            f"shown by --to {' and --to '.join(FORMS)}"
        )


def _losses(group: Group) -> list[tuple[str, ...]]:
    """A row for each loss."""
    names = sorted({name for run in group.runs for name in run.curves if name.startswith(HELD_OUT)})
    rows: list[tuple[str, ...]] = []
    for name in names:
        curves = [run.curves[name] for run in group.by_seed().values() if name in run.curves]
        lowest = [min(curve.values) for curve in curves]
        own = (name.removeprefix(HELD_OUT).removesuffix("_loss"), str(len(curves)))
        rows.append((
            group.task.name(), group.algorithm, group.variant, *own, _spread([curve.values[-1] for curve in curves]),
            _spread(lowest), " / ".join(_step_of(low, curve) for low, curve in zip(lowest, curves, strict=True)),
        ))  # fmt: skip
    return rows


def _value(group: Group) -> tuple[tuple[str, float], tuple[str, ...]]:
    """One policy's place and its row."""
    values = [run.curves[FITTED_VALUE].values[-1] for run in group.by_seed().values() if FITTED_VALUE in run.curves]
    policy = PurePath(str(group.runs[0].config["policy_path"])).name
    variant = " ".join(f"{key}={value}" for key, value in group.keys if key != "policy_path")
    singly = " / ".join(f"{value:.4g}" for value in values) if len(values) > 1 else ""
    row = (group.task.name(), policy, variant, str(len(values)), _spread(values), singly)
    return (group.task.name(), -statistics.fmean(values)), row


def _step_of(value: float, curve: Curve) -> str:
    return f"{curve.steps[curve.values.index(value)]:g}"


def _spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation."""
    deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4g}{deviation}"
