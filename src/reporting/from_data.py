"""What data alone tell of runs: losses on held-out episodes, and policies' values by fitted Q evaluation."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from reporting.groups import Group
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


def from_data(groups: Sequence[Group]) -> list[Table]:
    """The tables that these groups of runs without scores have."""
    losses = [row for group in groups for row in _losses(group)]
    fitted = [group for group in groups if any(FITTED_VALUE in run.curves for run in group.runs)]
    names = _names({_policy_of(run) for group in fitted for run in group.runs})
    tables = []
    if losses:
        tables.append(slim(Table("Without a simulator: losses on held-out episodes", LOSSES, losses, 4, [OF_LOSSES])))
    if fitted:
        rows = [row for _, row in sorted(_value(group, names) for group in fitted)]
        table = Table("Without a simulator: values of policies", VALUES, rows, 3, [OF_VALUES])
        tables.append(slim(slim(table), "by seed"))
    return tables


def check_asked(form: str, others: Sequence[str]) -> None:
    """Raise ReportError where runs without scores are asked for in a form, or with options, of scores alone."""
    wrong = [f"--to {form}"] if form not in FORMS else []
    if wrong := [*wrong, *others]:
        raise ReportError(
            f"{', '.join(wrong)}: these runs have no scores; what their data tell of them is shown by "
            f"--to {' and --to '.join(FORMS)}, without options of scores"
        )


def _policy_of(run: Run) -> str:
    """The path of the policy that a fitted Q evaluation values."""
    return str(run.config["policy_path"])


def _names(paths: set[str]) -> dict[str, str]:
    """The last parts of each path that tell it from the others; a step's number alone is no name."""
    for depth in range(1, max((len(PurePath(path).parts) for path in paths), default=0) + 1):
        names = {path: "/".join(PurePath(path).parts[-depth:]) for path in paths}
        if len({*names.values()}) == len(paths) and not any(name.isdigit() for name in names.values()):
            return names
    return {path: path for path in paths}


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


def _value(group: Group, names: Mapping[str, str]) -> tuple[tuple[str, float], tuple[str, ...]]:
    """One policy's place and its row."""
    runs = [run for run in group.by_seed().values() if FITTED_VALUE in run.curves]
    values = [run.curves[FITTED_VALUE].values[-1] for run in runs]
    policies = ", ".join(dict.fromkeys(names[_policy_of(run)] for run in runs))
    variant = " ".join(f"{key}={value}" for key, value in group.keys if key != "policy_path")
    singly = " / ".join(f"{value:.4g}" for value in values) if len(values) > 1 else ""
    row = (group.task.name(), policies, variant, str(len(values)), _spread(values), singly)
    return (group.task.name(), -statistics.fmean(values)), row


def _step_of(value: float, curve: Curve) -> str:
    return f"{curve.steps[curve.values.index(value)]:g}"


def _spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation."""
    deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4g}{deviation}"
