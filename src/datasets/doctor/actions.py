"""Actions: how often they are at a bound, and how varied each agent's are."""

from __future__ import annotations

import numpy as np

from datasets.bounds import bounds_of
from datasets.dataset import OfflineDataset
from datasets.doctor.finding import Finding, plain, step_rows

SATURATION = 0.01  # share of the action range that counts as being at a bound
BINS = 20  # of a continuous action dimension, over its range


def find_actions(dataset: OfflineDataset) -> Finding:
    """Saturation and entropy of continuous actions, entropy of discrete ones.

    Entropies are of an agent's actions over all rows, not given the state: 1 is uniform over the range or over the
    actions, 0 is always the same. Continuous ones are means over dimensions of histograms of 20 bins.
    """
    actions = dataset.arrays["actions"][step_rows(dataset)]  # (T, N, A)
    if dataset.card["action_space"] == "continuous":
        return _continuous(dataset, actions)
    return _discrete(actions[:, :, 0], int(dataset.card["n_actions"]))


def _continuous(dataset: OfflineDataset, actions: np.ndarray) -> Finding:
    low, high = bounds_of(dataset.card, dataset.n_agents)  # (N, A) each
    margin = SATURATION * (high - low)
    free = low < high  # (N, A): neither padded nor fixed
    available = dataset.arrays.get("avail_actions")
    if available is not None:
        free &= available.any(0)
    at_low = (actions <= low + margin).mean(0) * free  # (N, A)
    at_high = (actions >= high - margin).mean(0) * free
    shares = np.zeros((*low.shape, BINS))
    for agent, index in np.argwhere(free):
        bounds = (low[agent, index], high[agent, index])
        counts, _ = np.histogram(actions[:, agent, index].clip(*bounds), bins=BINS, range=bounds)
        shares[agent, index] = counts / len(actions)
    count = np.maximum(free.sum(1), 1)
    entropy = (_entropy(shares) * free).sum(1) / count  # (N,)
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


def _discrete(actions: np.ndarray, n_actions: int) -> Finding:
    n_agents = actions.shape[1]
    shares = np.zeros((n_agents, n_actions))
    for agent in range(n_agents):
        shares[agent] = np.bincount(actions[:, agent], minlength=n_actions) / len(actions)
    entropy = _entropy(shares)
    never = (shares == 0).sum(1)
    values = {"entropy": plain(entropy), "shares": plain(shares), "never_taken": never.tolist()}
    lines = [f"action entropy by agent (1: all {n_actions} actions equally often): {_numbers(entropy)}"]
    if never.any():
        lines.append(f"actions that are never taken, by agent: {' '.join(map(str, never))}")
    return Finding("actions", values, tuple(lines))


def _entropy(shares: np.ndarray) -> np.ndarray:
    """Entropy over the last axis in units of the uniform distribution's."""
    logs = np.log(np.where(shares > 0, shares, 1.0))
    entropy: np.ndarray = -(shares * logs).sum(-1) / max(np.log(shares.shape[-1]), 1e-12)
    entropy = np.abs(entropy)  # no -0
    return entropy


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.2f}" for value in values)
