"""Evaluations that can be compared: exactly `test_nepisode` fixed episodes, one return, one normalised score."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from sacred.run import Run

from datasets.references import normalised_score
from runners.episodes import Episodes
from utils.logging import Logger, Statistics
from utils.rng import seeded_apart

PER_AGENT = "test_return_per_agent_mean"  # the one return of a run, in its record
LAST = 10  # how many of the newest evaluations the averaged score spans


@dataclass(frozen=True)
class Reference:
    """Returns that mean a normalised score of 0 and of 100, from the dataset's card."""

    random: float
    expert: float
    source: str

    def score(self, value: float) -> float:
        """The normalised score of a return."""
        return normalised_score(value, self.random, self.expert)


def reference_of(found: dict[str, Any] | None) -> Reference | None:
    """A card's `reference` entry, None where the environment has none."""
    return Reference(found["random"], found["expert"], found["source"]) if found else None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one evaluation found at step `t`.

    return_mean, return_std: over the episodes, of the return per agent, as dataset cards define returns.
    normalised_score: of return_mean, None without reference returns. returns: per agent, of each episode.
    """

    t: int
    episodes: Episodes
    returns: list[float]
    return_mean: float
    return_std: float
    normalised_score: float | None

    def log(self, logger: Logger) -> None:
        """Log it under stock's keys, which begin with `test_`, per agent, and as `test_normalised_score`."""
        self.episodes.log(logger, "test_", self.t)
        logger.log_stat(PER_AGENT, self.return_mean, self.t)
        if self.normalised_score is not None:
            logger.log_stat("test_normalised_score", self.normalised_score, self.t)


class Evaluator:
    """Plays evaluations and keeps what each of them found.

    history: step and mean return per agent of every evaluation so far, those before a continuation among them.
    """

    def __init__(self, runner: Any, args: SimpleNamespace, reference: Reference | None) -> None:
        self.runner, self.args, self.reference = runner, args, reference
        self.history: list[tuple[int, float]] = []
        self.latest: Evaluation | None = None  # the newest that was played here, not before a continuation

    def evaluate(self, t: int) -> Evaluation:
        """Play one evaluation, dated `t`."""
        self.runner.t_env = t
        # Selectors draw from torch's global stream, some environments from Python's or numpy's: here from streams of an
        # evaluation's own, the same in every one.
        with seeded_apart(self.args.evaluation_seed):
            episodes: Episodes = self.runner.evaluate()
        team = episodes.returns if episodes.returns.ndim == 1 else episodes.returns.sum(axis=-1)  # (E,)
        mean, std = self._per_agent(float(team.mean())), self._per_agent(float(team.std()))
        score = None if self.reference is None else self.reference.score(mean)
        self.history.append((t, mean))
        returns = [self._per_agent(float(value)) for value in team]
        self.latest = Evaluation(t, episodes, returns, mean, std, score)
        return self.latest

    def keep_returns(self, sacred_run: Run) -> None:
        """Put the newest evaluation's return of each episode into the record, as `info["final_returns"]`.

        They have seven digits, as float32 has. The reference returns stand beside them, for normalised scores.
        """
        if self.latest is None:
            return
        known = self.reference
        sacred_run.info["final_returns"] = {
            "t": self.latest.t,
            "returns": [float(f"{value:.7g}") for value in self.latest.returns],
            "reference": None if known is None else {"random": known.random, "expert": known.expert},
        }

    def _per_agent(self, value: float) -> float:
        """A return of the team, as the configuration counts it, per agent; unchanged where the team alone is paid."""
        return value / self.args.n_agents if self._summed() else value

    def _summed(self) -> bool:
        if getattr(self.runner, "team_reward", False):  # stock's runners do not know
            return False
        return not self.args.common_reward or self.args.reward_scalarisation == "sum"

    def note(self) -> str:
        """Which logged returns are sums over agents and which are means; empty where all are means."""
        if not self._summed():
            return ""
        sums = "return, test_return" if self.args.common_reward else "total_return, test_total_return"
        return f"sums over agents: {sums}; mean over agents: test_return_per_agent, normalised scores, results"

    @property
    def averaged(self) -> int:
        """How many evaluations the averaged figure of `summary` is over."""
        return min(LAST, len(self.history))

    def resume(self, evaluations: list[list[Any]] | None, statistics: Statistics) -> None:
        """Take over an earlier run's history out of its checkpoint.

        evaluations: None where the earlier run had no evaluator, and in checkpoints of earlier releases; what was
        logged up to then, `statistics`, tells the same.
        """
        if evaluations is None:
            logged = statistics.get("test_return_mean" if self.args.common_reward else "test_total_return_mean", [])
            self.history = [(int(t), self._per_agent(value)) for t, value in logged]
        else:
            self.history = [(int(t), float(value)) for t, value in evaluations]

    def describe(self, value: float) -> str:
        """A return for people: with its normalised score where there is one."""
        score = "" if self.reference is None else f" (normalised score {self.reference.score(value):.1f})"
        return f"return per agent {value:.2f}{score}"

    def summary(self) -> dict[str, float]:
        """Final, best and mean-of-last-ten return and score over the evaluations so far; empty without any."""
        returns = [value for _, value in self.history]
        if not returns:
            return {}
        tail = returns[-LAST:]
        figures = {"final": returns[-1], "best": max(returns), "last10": sum(tail) / len(tail)}
        result = {f"{name}_return": value for name, value in figures.items()}
        if self.reference is not None:
            result |= {f"{name}_normalised_score": self.reference.score(value) for name, value in figures.items()}
        return result
