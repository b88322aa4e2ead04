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

REPETITIONS = 2000  # of a bootstrap
SEED = 20260101  # of every bootstrap: a report says the same whenever it is made
SHARE = 0.95  # that an interval covers

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
        return f"{self.mean:.1f}" + ("" if self.std is None else f" ± {self.std:.1f}")


def summary(values: Sequence[float]) -> Summary:
    """The summary of at least one value."""
    return Summary(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def signed(value: float) -> str:
    """A difference with its sign; what rounds to zero has a plus."""
    return f"{round(value, 1) + 0.0:+.1f}"


def by_rule(group: Group, rule: str, unit: str) -> Summary:
    """The group's score by one of `RULES`."""
    return summary([RULES[rule](run, unit) for run in group.runs])


def evaluations_averaged(group: Group, unit: str) -> str:
    """How many evaluations "last ten" is over: 10, or fewer where there are no more."""
    counts = sorted({min(LAST, len(run.evaluations(unit).values)) for run in group.runs})
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
    """A 95 % interval of a mean. episodes: whether it counts the spread of episodes beside that of seeds."""

    low: float
    high: float
    episodes: bool

    def __str__(self) -> str:
        return f"[{self.low:.1f}, {self.high:.1f}]"

    def overlaps(self, low: float, high: float) -> bool:
        """Whether another interval has a number in common with this one."""
        return self.low <= high and low <= self.high


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
        return Interval(*bounds(totals), episodes=True)
    if len(group.runs) == 1:
        return None
    finals = np.array([run.final[unit] for run in group.runs])
    return Interval(*bounds(finals[drawn].mean(1)), episodes=False)


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
    """One group's final scores less another one's, paired by seed. bounds: None for one common seed."""

    seeds: tuple[int, ...]
    values: tuple[float, ...]
    bounds: tuple[float, float] | None

    @property
    def mean(self) -> float:
        """The mean difference."""
        return statistics.fmean(self.values)

    def limits(self) -> str:
        """The interval for tables, empty where there is none."""
        return "" if self.bounds is None else "[{}, {}]".format(*map(signed, self.bounds))


def paired(group: Group, base: Group, unit: str) -> Difference | None:
    """What `group` has over `base` on the seeds that both have; None without a common seed.

    Where both kept their episodes, these are drawn together too: both played the same.
    """
    mine, theirs = group.by_seed(), base.by_seed()
    seeds = tuple(seed for seed in mine if seed in theirs)
    if not seeds:
        return None
    values = np.array([mine[seed].final[unit] - theirs[seed].final[unit] for seed in seeds])
    drawn = seeds_drawn(len(seeds))
    own = [(mine[seed].episode_scores(unit), theirs[seed].episode_scores(unit)) for seed in seeds]
    gaps = [np.subtract(a, b) for a, b in own if a is not None and b is not None and len(a) == len(b) > 1]
    if len(gaps) == len(seeds) and len({len(gap) for gap in gaps}) == 1:
        means = episodes_drawn(len(gaps[0])) @ np.array(gaps).T  # (B, n)
        limits: tuple[float, float] | None = bounds(np.take_along_axis(means, drawn, axis=1).mean(1))
    else:
        limits = bounds(values[drawn].mean(1)) if len(seeds) > 1 else None
    return Difference(seeds, tuple(map(float, values)), limits)


def of_published(mean: float, deviation: float | None, seeds: int) -> tuple[float, float] | None:
    """The 95 % interval of a published mean, of its standard deviation over seeds by Student's t; None without one."""
    if deviation is None or seeds not in STUDENT:
        return None
    half = STUDENT[seeds] * deviation / math.sqrt(seeds)
    return mean - half, mean + half


# Quantile 0.975 of Student's t with n - 1 degrees of freedom, by the number n of seeds.
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
