"""The tuning budget (Unifloral, Jackson et al. 2025): the score against online evaluations spent on choosing a policy.

A pool of policies, one for each run of an algorithm on a task. A bandit (UCB) plays one episode of a policy at a time:
a return that its final evaluation kept. After each episode counts the true mean of the policy that looks best. So one
evaluation is a pick at random, and many are tuning by looking.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from reporting.groups import Group, Task
from reporting.numbers import SEED, bounds

ALPHA = 2.0  # of the bonus sqrt(ALPHA ln t / n)
POOL = 8  # policies of a trial, drawn from all
TRIALS, PULLS = 1000, 200
SHOWN = (1, 2, 5, 10, 20, 50, 100, 200)


@dataclass(frozen=True, eq=False)
class Budget:
    """The mean score after 1 to `PULLS` evaluations, (P,), with its 95 % interval over trials (2, P).

    runs: how many policies there are to choose from.
    """

    mean: np.ndarray
    limits: np.ndarray
    runs: int


def budgets(groups: list[Group], units: dict[Task, str]) -> tuple[dict[tuple[Task, str], Budget], list[str]]:
    """The budget of each task and algorithm with two or more runs that kept their episodes; notes on the others."""
    pools: dict[tuple[Task, str], list[np.ndarray]] = defaultdict(list)
    lacking: dict[tuple[Task, str], int] = defaultdict(int)
    for group in groups:
        for run in group.runs:
            scores = run.episode_scores(units[group.task])
            if scores is None:
                lacking[group.task, group.algorithm] += 1
            else:
                pools[group.task, group.algorithm].append(np.array(scores))
    notes = [
        f"{algorithm} on {task.name()}: {count} runs kept no returns of episodes, so that no budget has them"
        for (task, algorithm), count in lacking.items()
    ]
    notes += [
        f"{algorithm} on {task.name()}: one run alone leaves nothing to choose"
        for (task, algorithm), pool in pools.items() if len(pool) == 1
    ]  # fmt: skip
    return {key: simulate(pool) for key, pool in pools.items() if len(pool) > 1}, notes


def simulate(pool: list[np.ndarray], trials: int = TRIALS, pulls: int = PULLS) -> Budget:
    """Play `trials` bandits on a pool of policies, each given by its episodes' returns.

    Returns are scaled to 0 to 1 over the pool first, for the bonus knows no unit; scores are in their own.
    """
    rng = np.random.default_rng(SEED)
    every = np.concatenate(pool)
    low, span = every.min(), max(float(np.ptp(every)), 1e-12)
    true = np.array([returns.mean() for returns in pool])  # (R,)
    size = min(POOL, len(pool))
    arms = np.array([rng.permutation(len(pool))[:size] for _ in range(trials)])  # (trials, K)
    lengths = np.array([len(returns) for returns in pool])
    table = np.zeros((len(pool), lengths.max()))
    for row, returns in zip(table, pool, strict=True):
        row[: len(returns)] = (returns - low) / span
    counts, sums = np.zeros((trials, size)), np.zeros((trials, size))
    rows = np.arange(trials)
    found = np.zeros((pulls, trials))
    for t in range(1, pulls + 1):
        means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
        bonus = np.sqrt(ALPHA * np.log(t) / np.maximum(counts, 1))
        pulled = np.where(counts == 0, np.inf, means + bonus).argmax(1)  # (trials,)
        policy = arms[rows, pulled]
        sums[rows, pulled] += table[policy, rng.integers(0, lengths[policy])]
        counts[rows, pulled] += 1
        means = np.divide(sums, counts, out=np.full_like(sums, -np.inf), where=counts > 0)
        found[t - 1] = true[arms[rows, means.argmax(1)]]
    again = rng.multinomial(trials, np.full(trials, 1 / trials), 500) / trials  # (B, trials)
    limits = np.array([bounds(values) for values in (again @ found.T).T]).T  # (2, P)
    return Budget(found.mean(1), limits, len(pool))
