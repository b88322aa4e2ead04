"""Bounds of continuous actions: A numbers where all agents agree, else a list of them per agent."""

from typing import Any

import numpy as np

Bounds = list[float] | list[list[float]]


def per_agent(bounds: Any, n_agents: int) -> np.ndarray:
    """Bounds in either form as one row per agent, (N, A) float64.

    Raises ValueError, one sentence, unless they are A numbers or N lists of A numbers.
    """
    try:
        array = np.asarray(bounds, np.float64)
    except (ValueError, TypeError):
        array = np.empty(0)
    if not array.size or array.shape not in (array.shape[-1:], (n_agents, *array.shape[-1:])):
        raise ValueError(
            f"bounds must be one number per action dimension, or such a list for each of {n_agents} agents"
        )
    return np.broadcast_to(array, (n_agents, array.shape[-1]))


def shortest(low: np.ndarray, high: np.ndarray, has: np.ndarray | None = None) -> tuple[Bounds, Bounds]:
    """Bounds (N, A) as plain lists, in the short form where the agents agree.

    has: (N, A) bool, the dimensions that each agent has; None for all. Agents agree where each dimension has the same
    bounds for all agents that have it. Where they do not, a dimension that an agent lacks has the bounds 0 and 0.
    """
    own = np.ones(low.shape, bool) if has is None else has
    least, greatest = np.where(own, low, np.inf).min(0), np.where(own, high, -np.inf).max(0)  # (A,) each
    if not (own & ((low != least) | (high != greatest))).any():
        return least.tolist(), greatest.tolist()
    return np.where(own, low, 0.0).tolist(), np.where(own, high, 0.0).tolist()
