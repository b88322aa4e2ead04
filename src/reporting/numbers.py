"""A group's numbers: the score by each rule, its spread over seeds, and an interval of its mean."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from reporting.groups import Group, Task
from reporting.runs import LAST, ReportError, Run
from utils.student import student_quantile

REPETITIONS = 2000  # of a bootstrap
SEED = 20260101  # of every bootstrap: a report says the same whenever it is made
SHARE = 0.95  # that an interval is meant to cover
ONE_SEED = " ‡"  # behind an interval of one seed
SEEDS_ALONE = " †"  # behind an interval of seeds alone, where others of its table count episodes

RULES: dict[str, Callable[[Run, str], float]] = {
    "final": lambda run, unit: run.final[unit],
    "last ten": Run.last_ten,
    "best": Run.best,
}


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (None for one value) of `n` values."""

    mean: float
    std: float | None
    n: int

    def __str__(self) -> str:
        return plain(self.mean) + ("" if self.std is None else f" ± {self.std:.1f}")


def summary(values: Sequence[float]) -> Summary:
    """The summary of at least one value."""
    return Summary(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def plain(value: float) -> str:
    """A number with one digit; what rounds to zero has no sign."""
    return f"{round(value, 1) + 0.0:.1f}"


def signed(value: float) -> str:
    """A difference with its sign; what rounds to zero has a plus."""
    return f"{round(value, 1) + 0.0:+.1f}"


def by_rule(group: Group, rule: str, unit: str) -> Summary:
    """The group's score by one of `RULES`."""
    return summary([RULES[rule](run, unit) for run in group.runs])


def evaluations_averaged(group: Group, unit: str) -> str:
    """How many evaluations "last ten" is over: 10, or fewer where there are no more."""
    counts = sorted({min(LAST, len(run.trained(unit))) for run in group.runs})
    return " to ".join(map(str, counts[:1] + counts[1:][-1:]))


def units(groups: Iterable[Group], raw: bool) -> dict[Task, str]:
    """The unit of each task: normalised where all its runs have that, and `raw` does not ask for returns.

    Raises ReportError where a task's runs share no unit.
    """
    found: dict[Task, set[str]] = {}
    for group in groups:
        for run in group.runs:
            found[group.task] = found.get(group.task, run.units()) & run.units()
    preferred = ("return", "normalised score") if raw else ("normalised score", "return")
    chosen = {}
    for task, known in found.items():
        unit = next((unit for unit in preferred if unit in known), None)
        if unit is None:
            raise ReportError(
                f"{task.name()}: some runs have normalised scores only and others returns only; report them apart with "
                "--where or --without"
            )
        chosen[task] = unit
    return chosen


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a mean over `seeds` runs. episodes: whether it counts the spread of episodes, too."""

    low: float
    high: float
    episodes: bool
    seeds: int

    def __str__(self) -> str:
        return f"[{plain(self.low)}, {plain(self.high)}]" + (ONE_SEED if self.seeds == 1 else "")


def interval(group: Group, unit: str) -> Interval | None:
    """The interval of the mean final score, by a bootstrap of two levels: seeds, then evaluation episodes.

    Evaluations play the same episodes in every run, so these are drawn once for all seeds: a hard start is hard for
    each. Without the episodes' returns only seeds are drawn. None where neither can be: one seed, no episodes.
    """
    kept = [run.episode_scores(unit) for run in group.runs]
    lengths = {len(scores) for scores in kept if scores is not None}
    drawn = seeds_drawn(len(group.runs))  # (B, n)
    if None not in kept and len(lengths) == 1 and lengths != {1}:
        returns = np.array(kept)  # (n, E)
        means = episodes_drawn(returns.shape[1]) @ returns.T  # (B, n)
        totals = np.take_along_axis(means, drawn, axis=1).mean(1)
        return Interval(*bounds(totals), True, len(kept))
    if len(group.runs) == 1:
        return None
    finals = np.array([run.final[unit] for run in group.runs])
    return Interval(*bounds(finals[drawn].mean(1)), False, len(kept))


@cache
def seeds_drawn(n: int) -> np.ndarray:
    """Which of `n` runs each repetition draws, (B, n)."""
    return np.random.default_rng(SEED).integers(0, n, (REPETITIONS, n))


@cache
def episodes_drawn(count: int) -> np.ndarray:
    """The share of each of `count` episodes in each repetition's sample of as many, (B, E)."""
    shares: np.ndarray = np.random.default_rng(SEED + 1).multinomial(count, np.full(count, 1 / count), REPETITIONS)
    return shares / count


def bounds(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of a bootstrap's values."""
    low, high = np.quantile(values, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """One group's final scores less another one's, paired by seed.

    bounds: of a bootstrap; None for one common seed without episodes. episodes: whether these were drawn, too.
    """

    seeds: tuple[int, ...]
    values: tuple[float, ...]
    bounds: tuple[float, float] | None
    episodes: bool

    @property
    def mean(self) -> float:
        """The mean difference."""
        return statistics.fmean(self.values)

    def limits(self) -> str:
        """The bootstrap's interval for tables, empty where there is none."""
        return _between(self.bounds) + (ONE_SEED if self.bounds is not None and len(self.seeds) == 1 else "")

    def by_t(self) -> str:
        """Student's interval of the seeds' differences for tables, empty for one seed."""
        found = summary(self.values)
        return _between(student_interval(found.mean, found.std, found.n))


def _between(limits: tuple[float, float] | None) -> str:
    return "" if limits is None else "[{}, {}]".format(*map(signed, limits))


def paired(group: Group, base: Group, unit: str) -> Difference | None:
    """What `group` has over `base` on the seeds that both have; None without a common seed.

    Where both kept their episodes, and played the same ones, these are drawn together too.
    """
    mine, theirs = group.by_seed(), base.by_seed()
    seeds = tuple(seed for seed in mine if seed in theirs)
    if not seeds:
        return None
    values = np.array([mine[seed].final[unit] - theirs[seed].final[unit] for seed in seeds])
    drawn = seeds_drawn(len(seeds))
    own = [(mine[seed].episode_scores(unit), theirs[seed].episode_scores(unit)) for seed in seeds]
    gaps = [np.subtract(a, b) for a, b in own if a is not None and b is not None and len(a) == len(b) > 1]
    starts = {run.config.get("evaluation_seed") for run in (*group.runs, *base.runs)}
    if len(gaps) == len(seeds) and len({len(gap) for gap in gaps}) == len(starts) == 1:
        means = episodes_drawn(len(gaps[0])) @ np.array(gaps).T  # (B, n)
        return Difference(seeds, _floats(values), bounds(np.take_along_axis(means, drawn, axis=1).mean(1)), True)
    return Difference(seeds, _floats(values), bounds(values[drawn].mean(1)) if len(seeds) > 1 else None, False)


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, values))


def student_interval(mean: float, deviation: float | None, seeds: int) -> tuple[float, float] | None:
    """The 95 % interval of a mean by Student's t, from the sample standard deviation over seeds; None without one."""
    if deviation is None or seeds < 2:
        return None
    half = student_quantile(seeds - 1) * deviation / math.sqrt(seeds)
    return mean - half, mean + half
