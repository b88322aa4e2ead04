"""Random data of several environments' shapes, for the benchmarks that train on them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.card import add_statistics
from datasets.dataset import OfflineDataset

CHOICES, LONGEST = 5, 25  # actions and longest episodes of discrete data


class Shape(NamedTuple):
    """Sizes of an environment.

    state: its size where agents observe the state and their index; None where it is the joined observations.
    """

    title: str
    n_agents: int
    obs: int
    state: int | None
    actions: int
    steps: int


SHAPES = {
    "navigation": Shape("Cooperative Navigation", 3, 18, None, 2, 25),
    "hopper": Shape("Hopper 3x1", 3, 11 + 3, 11, 1, 1000),
    "ant": Shape("Ant 2x4", 2, 105 + 2, 105, 4, 1000),
    "halfcheetah": Shape("HalfCheetah 6x1", 6, 17 + 6, 17, 1, 1000),
}


def random_dataset(shape: Shape, n_transitions: int, discrete: bool = False) -> OfflineDataset:
    """Make at least two whole episodes of random values, with the dataset card that a run reads."""
    steps = min(shape.steps, LONGEST) if discrete else shape.steps
    rng, n_episodes = np.random.default_rng(0), max(2, n_transitions // steps)
    n_rows = n_episodes * (steps + 1)
    actions: np.ndarray = rng.uniform(-1, 1, (n_rows, shape.n_agents, shape.actions)).astype(np.float32)
    bounds: dict[str, Any] = {"action_low": [-1.0] * shape.actions, "action_high": [1.0] * shape.actions}
    card: dict[str, Any] = {"action_space": "continuous", "n_actions": shape.actions, **bounds}
    if discrete:
        actions = rng.integers(CHOICES, size=(n_rows, shape.n_agents, 1))
        card = {"action_space": "discrete", "n_actions": CHOICES}
    arrays: dict[str, np.ndarray] = {
        "actions": actions,
        "reward": np.repeat(rng.standard_normal((n_rows, 1), np.float32), shape.n_agents, axis=1),
        "terminated": np.zeros(n_rows, np.uint8),
    }
    if shape.state is None:
        arrays["obs"] = rng.standard_normal((n_rows, shape.n_agents, shape.obs), np.float32)
    else:
        arrays["state"] = rng.standard_normal((n_rows, shape.state), np.float32)
        index = np.broadcast_to(np.eye(shape.n_agents, dtype=np.float32), (n_rows, shape.n_agents, shape.n_agents))
        seen = np.broadcast_to(arrays["state"][:, None], (n_rows, shape.n_agents, shape.state))
        arrays["obs"] = np.concatenate([seen, index], axis=-1)
    offsets = np.arange(n_episodes + 1) * (steps + 1)
    arrays["reward"][offsets[1:] - 1] = 0
    add_statistics(card, arrays, offsets)
    return OfflineDataset(card, arrays, offsets, np.ones(n_episodes, bool), Path("noise"))
