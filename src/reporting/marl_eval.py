"""All evaluations in the JSON that marl-eval reads (Gorsane et al. 2022): environment, task, algorithm, run, step."""

from __future__ import annotations

import json
from typing import Any

from reporting.groups import Group, Task
from reporting.runs import Run

METRIC = {"return": "mean_episode_return", "normalised score": "normalised_score"}


def marl_eval_text(groups: list[Group], units: dict[Task, str]) -> str:
    """The file's text. Steps hold one mean per evaluation, as their episodes are not kept.

    absolute_metrics: the final policy's episodes where they were kept, else its mean.
    """
    found: dict[str, Any] = {}
    for group in groups:
        by_task = found.setdefault(group.task.environment or "none", {})
        by_method = by_task.setdefault(group.task.name(), {})
        by_method[group.method] = {f"seed_{run.seed}": _run(run, units[group.task]) for run in group.runs}
    return json.dumps(found, indent=1) + "\n"


def _run(run: Run, unit: str) -> dict[str, Any]:
    curve, name = run.evaluations(unit), METRIC[unit]
    steps: dict[str, Any] = {
        f"step_{number}": {"step_count": int(step), name: [value]}
        for number, (step, value) in enumerate(zip(curve.steps, curve.values, strict=True), start=1)
    }
    steps["absolute_metrics"] = {name: run.episode_scores(unit) or [run.final[unit]]}
    return steps
