"""One run as a report sees it, whatever file it was read from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets.references import normalised_score
from utils.errors import UserError

SCORE, RETURN = "test_normalised_score", "test_return_per_agent_mean"  # curves of evaluations
UNITS = {"normalised score": SCORE, "return": RETURN}
KEPT = ("w_max", "k_eff", "u_target", "q_data", "q_policy", "actor_saturation", "nu_start", "q_error_abs", "weight")
KEPT_NUMBERED = ("w", "u", "weight_bin")  # with _1, _2, ...
HELD_OUT, FITTED_VALUE = "validation_", "fqe_value"  # of runs with validation_share, and of fitted Q evaluations
MOST_SIZES = 10  # of replaced agents in Figures 2 and 3
LAST = 10  # evaluations of the averaged score


class ReportError(UserError):
    """Runs that cannot be reported as asked; the message names them and the way out."""


@dataclass(frozen=True)
class Curve:
    """A metric's values by step."""

    steps: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Run:
    """A completed training run. None: what its record does not tell.

    source: where it was read. checksum: the data's. sources: a digest of the code's files. seconds: from start to end.
    cpu_seconds: of all its cores together, which a busy machine does not lengthen much.
    by_hand: keys that its command line set. declared: see `loops.declared`. final: the last evaluation, by unit.
    curves: metrics by name. times: seconds from the start to each evaluation. episodes: the return per agent of each
    episode of the last evaluation. reference: the returns that mean scores of 0 and of 100, `random` and `expert`.
    changed: the settings that it changed each time it was continued, in words.
    """

    source: str
    algorithm: str
    environment: str | None
    dataset: str | None
    seed: int
    config: dict[str, Any]
    final: dict[str, float]
    curves: dict[str, Curve]
    checksum: str | None = None
    started: str | None = None
    seconds: float | None = None
    commit: str | None = None
    sources: str | None = None
    command: str | None = None
    by_hand: tuple[str, ...] | None = None
    declared: dict[str, Any] | None = None
    times: tuple[float, ...] | None = None
    episodes: tuple[float, ...] | None = None
    reference: dict[str, float] | None = None
    cpu_seconds: float | None = None
    changed: tuple[str, ...] | None = None

    def units(self) -> set[str]:
        """The units in which this run has a score."""
        return {unit for unit, curve in UNITS.items() if unit in self.final and curve in self.curves}

    def evaluations(self, unit: str) -> Curve:
        """The scores of all evaluations."""
        return self.curves[UNITS[unit]]

    def shown(self) -> Curve:
        """The scores of all evaluations; of a run without any, the first curve of what its data tell."""
        units = sorted(self.units())
        return self.evaluations(units[0]) if units else next(iter(self.curves.values()))

    def trained(self, unit: str) -> tuple[float, ...]:
        """The scores of all evaluations but that before the first update; of that where there is no other."""
        curve = self.evaluations(unit)
        return tuple(value for step, value in zip(curve.steps, curve.values, strict=True) if step > 0) or curve.values

    def last_ten(self, unit: str) -> float:
        """Mean of the newest evaluations after the first update, at most ten."""
        tail = self.trained(unit)[-LAST:]
        return sum(tail) / len(tail)

    def best(self, unit: str) -> float:
        """The best evaluation; whoever reports it has looked at online returns."""
        return max(self.evaluations(unit).values)

    def episode_scores(self, unit: str) -> list[float] | None:
        """The last evaluation's episodes in a unit; None where the record does not hold them."""
        if self.episodes is None or unit == "return":
            return None if self.episodes is None else list(self.episodes)
        if self.reference is None:
            return None
        return [normalised_score(value, self.reference["random"], self.reference["expert"]) for value in self.episodes]

    def name(self) -> str:
        """What a message calls it."""
        return f"{self.algorithm} on {self.dataset or self.environment}, seed {self.seed} ({self.source})"


def is_kept(metric: str) -> bool:
    """Whether a report reads a metric's curve."""
    stem, _, number = metric.rpartition("_")
    return metric in (SCORE, RETURN, *KEPT) or (stem in KEPT_NUMBERED and number.isdigit())


def is_of_data(metric: str) -> bool:
    """Whether a metric is what data alone tell of a run: a loss on held-out episodes, or a fitted value."""
    return metric.startswith(HELD_OUT) or metric == FITTED_VALUE


def sizes_of(runs: Sequence[Run], name: str) -> list[int]:
    """The numbers k of replaced agents for which one of the runs logged `name`_k."""
    return [k for k in range(1, MOST_SIZES + 1) if any(f"{name}_{k}" in run.curves for run in runs)]


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration without nesting, `env_args.key` among its keys."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def text_of(value: Any) -> str:
    """A configuration's value for people and for comparisons; nothing is `null`, as in its file."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, bool) else json.dumps(value, sort_keys=True)
