"""Agents whose places are exchanged in some episodes."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from datasets.dataset import OfflineDataset
from datasets.doctor.finding import Finding, listed

_APART = 6.0  # spreads between two agents' medians that make a column tell them apart
_MOST_AGENTS = 64  # the comparison is of each agent with each other one
_SHOWN = 100


def find_swaps(dataset: OfflineDataset) -> Finding:
    """Episodes in which agents stand in each other's places.

    An agent is known by the columns of its observations whose mean over an episode tells it from another agent: their
    medians over episodes lie more than 6 robust spreads apart, or all episodes hold the same values in some order (an
    agent's id). In a place stands another agent where every column that tells the two apart has the other one's value.
    An episode is named where two agents stand in each other's places, or more of them in a circle. Agents that look
    alike cannot be told apart; then nothing is said about them.
    """
    means = _episode_means(dataset)  # (E, N, O)
    n_agents = means.shape[1]
    moves: dict[int, set[tuple[int, int]]] = defaultdict(set)  # by episode: places, and the agents that stand there
    told = 0
    pairs = [(i, j) for i in range(n_agents) for j in range(i)] if n_agents <= _MOST_AGENTS else []
    for i, j in pairs:
        columns = _telling(means[:, i], means[:, j])
        if columns.any():
            told += 1
            elsewhere = _elsewhere(means[:, i, columns], means[:, j, columns])
            for place, agent, found in ((i, j, elsewhere[0]), (j, i, elsewhere[1])):
                for episode in np.flatnonzero(found).tolist():
                    moves[episode].add((place, agent))
    episodes = sorted(episode for episode, found in moves.items() if _has_circle(found))
    values: dict[str, Any] = {
        "pairs_told_apart": told,
        "pairs": n_agents * (n_agents - 1) // 2,
        "swapped_episodes": len(episodes),
        "episodes": episodes[:_SHOWN],
    }
    if n_agents == 1:
        line = "agents swapped between episodes: there is one agent"
    elif not told:
        line = "agents swapped between episodes: not to be seen, as their observations look alike"
    elif not episodes:
        line = f"agents swapped between episodes: none ({told} of {values['pairs']} pairs can be told apart)"
    else:
        line = (
            f"agents swapped between episodes: {len(episodes)} of {dataset.n_episodes} episodes hold agents in "
            f"another order: {listed([str(episode) for episode in episodes], 8)}; each agent's policy learns both"
        )
    return Finding("agents", values, (line,))


def _episode_means(dataset: OfflineDataset) -> np.ndarray:
    """Mean of each observation column over each episode, (E, N, O) float64."""
    obs, offsets = dataset.arrays["obs"], dataset.episode_offsets
    means = np.empty((dataset.n_episodes, *obs.shape[1:]))
    for episode in range(dataset.n_episodes):
        means[episode] = obs[offsets[episode] : offsets[episode + 1]].mean(0, dtype=np.float64)
    return means


def _telling(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which columns tell two agents apart, (O,) bool. one, other: (E, O) their means per episode."""
    medians = np.median(one, 0), np.median(other, 0)
    spreads = [np.median(np.abs(values - median), 0) for values, median in zip((one, other), medians, strict=True)]
    tiny = 1e-6 * (np.abs(one).max(0) + np.abs(other).max(0)) + 1e-12
    apart = np.abs(medians[0] - medians[1]) > _APART * np.maximum(*spreads) + tiny
    # an id: the same two values in every episode, in either order
    least, greatest = np.minimum(one, other), np.maximum(one, other)
    same_pair = (np.ptp(least, axis=0) <= tiny) & (np.ptp(greatest, axis=0) <= tiny)
    telling: np.ndarray = apart | (same_pair & (greatest[0] - least[0] > tiny))
    return telling


def _elsewhere(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In which episodes each of two agents' places holds what is usual of the other, (E,) bool each.

    one, other: (E, C) telling columns. What most episodes have is usual, or the first episode's where there is no
    majority.
    """
    usual = np.median(one, 0), np.median(other, 0)  # (C,) each
    even = np.abs(usual[0] - usual[1]) < 0.5 * np.abs(one[0] - other[0])  # ids in either order equally often
    first, second = np.where(even, one[0], usual[0]), np.where(even, other[0], usual[1])
    in_first = (np.abs(one - second) < np.abs(one - first)).all(1)
    in_second = (np.abs(other - first) < np.abs(other - second)).all(1)
    return in_first, in_second


def _has_circle(moves: set[tuple[int, int]]) -> bool:
    """Whether some places, each followed by the place of the agent that stands in it, lead back to the first."""
    while moves:
        places = {place for place, _ in moves}
        further = {move for move in moves if move[1] in places}
        if further == moves:
            return True
        moves = further
    return False
