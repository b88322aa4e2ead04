"""Actions: how often they are at a bound, and how varied each agent's are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from datasets.bounds import bounds_of
from datasets.dataset import OfflineDataset
from datasets.doctor.finding import Finding, plain, step_rows
from datasets.hdf5 import any_row, row_blocks

SATURATION = 0.01  # share of the action range that counts as being at a bound
BINS = 20  # of a continuous action dimension, over its range


def find_actions(dataset: OfflineDataset) -> Finding:
    """Saturation and entropy of continuous actions, entropy of discrete ones.

    Entropies are of an agent's actions over all rows, not given the state: 1 is uniform over the range or over the
    actions, 0 is always the same. Continuous ones are means over dimensions of histograms of 20 bins. Actions and
    dimensions that an agent lacks, which are never available to it, do not count.
    """
    if dataset.card["action_space"] == "continuous":
        return _continuous(dataset)
    return _discrete(dataset, int(dataset.card["n_actions"]))


def _blocks(dataset: OfflineDataset) -> Iterator[np.ndarray]:
    """Actions of the rows from which a step starts, (rows, N, A) at a time, as they may not fit in memory."""
    actions, rows = dataset.arrays["actions"], step_rows(dataset)
    for start, stop in row_blocks(actions):
        first, last = np.searchsorted(rows, (start, stop))
        yield actions[start:stop][rows[first:last] - start]


def _continuous(dataset: OfflineDataset) -> Finding:
    low, high = bounds_of(dataset.card, dataset.n_agents)  # (N, A) each
    margin = SATURATION * (high - low)
    free = low < high  # (N, A): neither padded nor fixed
    available = dataset.arrays.get("avail_actions")
    if available is not None:
        free &= any_row(available)
    at_low, at_high, counts = np.zeros(low.shape), np.zeros(low.shape), np.zeros((*low.shape, BINS))
    for actions in _blocks(dataset):
        at_low += (actions <= low + margin).sum(0)
        at_high += (actions >= high - margin).sum(0)
        for agent, index in np.argwhere(free):
            bounds = (low[agent, index], high[agent, index])
            counts[agent, index] += np.histogram(actions[:, agent, index].clip(*bounds), bins=BINS, range=bounds)[0]
    at_low, at_high = at_low / dataset.n_transitions * free, at_high / dataset.n_transitions * free  # (N, A) each
    shares = counts / dataset.n_transitions
    count = np.maximum(free.sum(1), 1)
    entropy = (_entropy(shares, BINS) * free).sum(1) / count  # (N,)
    saturated = ((at_low + at_high) * free).sum(1) / count  # (N,)
    values = {
        "entropy": plain(entropy),
        "saturated": plain(saturated),
        "at_lower_bound": plain(at_low),
        "at_upper_bound": plain(at_high),
        "histograms": plain(shares),
    }
    lines = [
        f"action entropy by agent (1: uniform over the range): {_numbers(entropy)}",
        f"action saturation by agent (share within {SATURATION:.0%} of a bound): {_numbers(saturated)}",
    ]
    if saturated.max() > 0.5:
        lines.append("most actions are at a bound: a Gaussian policy cannot imitate them, a tanh policy saturates")
    return Finding("actions", values, tuple(lines))


def _discrete(dataset: OfflineDataset, n_actions: int) -> Finding:
    counts = np.zeros((dataset.n_agents, n_actions))
    for actions in _blocks(dataset):
        for agent in range(dataset.n_agents):
            counts[agent] += np.bincount(actions[:, agent, 0], minlength=n_actions)
    shares = counts / dataset.n_transitions  # (N, n)
    available = dataset.arrays.get("avail_actions")
    has = np.ones(shares.shape, bool) if available is None else any_row(available) | (shares > 0)  # (N, n)
    entropy = _entropy(shares, has.sum(1))
    never = (has & (shares == 0)).sum(1)
    values = {"entropy": plain(entropy), "shares": plain(shares), "never_taken": never.tolist()}
    every = f"all {n_actions} actions" if has.all() else f"all of its actions, {' '.join(map(str, has.sum(1)))},"
    lines = [f"action entropy by agent (1: {every} equally often): {_numbers(entropy)}"]
    if never.any():
        lines.append(f"actions that are never taken, by agent: {' '.join(map(str, never))}")
    return Finding("actions", values, tuple(lines))


def _entropy(shares: np.ndarray, sizes: np.ndarray | int) -> np.ndarray:
    """Entropy over the last axis in units of that of a uniform distribution over so many."""
    logs = np.log(np.where(shares > 0, shares, 1.0))
    entropy: np.ndarray = -(shares * logs).sum(-1) / np.maximum(np.log(sizes), 1e-12)
    entropy = np.abs(entropy)  # no -0
    return entropy


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.2f}" for value in values)
