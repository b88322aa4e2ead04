"""Statistics over all tasks together, by the library rliable (Agarwal et al. 2021)."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reporting.groups import Group, Task
from reporting.numbers import REPETITIONS, SEED

MISSING = (
    "Left out, as rliable is not installed: interquartile means, probabilities of improvement and performance "
    "profiles; pip install -c constraints.txt -e '.[report]'"
)
PROFILE_REPETITIONS = 500


def is_installed() -> bool:
    """Whether rliable can be imported."""
    return importlib.util.find_spec("rliable") is not None


@dataclass(frozen=True, eq=False)
class Scores:
    """Each method's final scores on the tasks that all have, (seeds, tasks), and what had to be left out for that."""

    tasks: list[Task]
    by_method: dict[str, np.ndarray]
    unit: str
    notes: list[str] = field(default_factory=list)


def scores_of(groups: list[Group], units: dict[Task, str]) -> Scores | str:
    """The scores over tasks, or the sentence that says why there are none.

    A method's seeds are those that it has on all these tasks. Returns of several tasks have no common scale.
    """
    methods: dict[str, dict[Task, Group]] = {}
    for group in groups:
        methods.setdefault(group.method, {})[group.task] = group
    every = list(dict.fromkeys(group.task for group in groups))
    tasks = [task for task in every if all(task in found for found in methods.values())]
    if not tasks:
        return "Over tasks: no task has runs of all methods; choose methods or tasks with --where"
    known = {units[task] for task in tasks}
    if len(tasks) > 1 and known != {"normalised score"}:
        return "Over tasks: returns have no common scale; only normalised scores are averaged over tasks"
    unit = known.pop()
    notes = []
    if len(tasks) < len(every):
        notes.append(f"Over the {len(tasks)} of {len(every)} tasks that all methods have")
    found = {}
    for name, by_task in methods.items():
        own = [by_task[task].by_seed() for task in tasks]
        seeds = [seed for seed in own[0] if all(seed in runs for runs in own)]
        if not seeds:
            return f"Over tasks: {name} has no seed that it was run with on all {len(tasks)} tasks"
        if any(len(runs) > len(seeds) for runs in own):
            notes.append(f"{name}: only its seeds {', '.join(map(str, seeds))} are on all tasks")
        found[name] = np.array([[runs[seed].final[units[task]] for task, runs in zip(tasks, own, strict=True)]
                                for seed in seeds])  # fmt: skip
    return Scores(tasks, found, unit, notes)


@contextmanager
def _same_draws() -> Iterator[None]:
    """A context in which rliable draws the same numbers every time: it takes them from NumPy's global stream."""
    state = np.random.get_state()
    np.random.seed(SEED % 2**32)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(state)


def _estimate(point: np.ndarray, limits: np.ndarray) -> tuple[float, float, float]:
    return float(point[0]), float(limits[0, 0]), float(limits[1, 0])


def interquartile_means(scores: Scores) -> dict[str, tuple[float, float, float]]:
    """Of each method: the interquartile mean over seeds and tasks, and its 95 % stratified bootstrap interval."""
    from rliable import library, metrics

    def iqm(values: Any) -> np.ndarray:
        return np.array([metrics.aggregate_iqm(values)])

    with _same_draws():
        points, limits = library.get_interval_estimates(scores.by_method, iqm, reps=REPETITIONS)
    return {name: _estimate(points[name], limits[name]) for name in scores.by_method}


def improvements(scores: Scores, base: str) -> dict[str, tuple[float, float, float]]:
    """Of each other method: how likely a run of it beats a run of `base`, averaged over tasks, with its interval."""
    from rliable import library

    pairs = {name: [values, scores.by_method[base]] for name, values in scores.by_method.items() if name != base}
    if not pairs:
        return {}
    with _same_draws():
        points, limits = library.get_interval_estimates(pairs, probability_of_improvement, reps=REPETITIONS)
    return {name: _estimate(points[name], limits[name]) for name in pairs}


def probability_of_improvement(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """P(mine > theirs) + P(equal) / 2 over pairs of runs, averaged over tasks, (1,).

    rliable's own function computes the same, by a rank test that a bootstrap has no time for.
    """
    gaps = mine[:, None] - theirs[None]  # (n, m, tasks)
    return np.array([((gaps > 0) + 0.5 * (gaps == 0)).mean()])


def profiles(scores: Scores, points: int = 61) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Thresholds, and of each method the share of runs above them (T,) with its interval (2, T)."""
    from rliable import library

    every = np.concatenate([values.ravel() for values in scores.by_method.values()])
    thresholds = np.linspace(every.min(), every.max(), points)
    with _same_draws():
        shares, limits = library.create_performance_profile(scores.by_method, thresholds, reps=PROFILE_REPETITIONS)
    return thresholds, shares, limits
