"""Coverage: how many different situations and actions there are, and how far unseen rows are from seen ones."""

from __future__ import annotations

import numpy as np

from datasets.dataset import OfflineDataset
from datasets.doctor.correlation import Behaviour
from datasets.doctor.finding import Finding
from datasets.doctor.kappa import behaviour_of

DECIMALS = (4, 2, 1, 0)
_KNOWN, _ASKED = 20_000, 1_000  # rows that are searched, and held-out rows that search
_HELD_OUT = 0.2  # of the episodes
_BLOCK = 100


def find_coverage(dataset: OfflineDataset) -> Finding:
    """Joint SACo at several roundings, and distances of held-out rows to their nearest neighbour.

    Joint SACo is OG-MARL's: the share of distinct rows of state and joint action, rounded to so many decimals.
    Distances are between standardised rows of episodes that are held out and rows of the others, in units of the
    median distance between two rows taken at random: of all state and actions, and of each agent's own observation and
    action. Small ones mean that the data repeat themselves; 1 that a held-out row is no nearer than any other.
    """
    behaviour = behaviour_of(dataset)
    saco = {str(decimals): _distinct(behaviour, decimals) for decimals in DECIMALS}
    values = {"joint_saco": saco, "rows": len(behaviour.states)}
    shares = ", ".join(f"{saco[str(decimals)]:.3f} ({decimals})" for decimals in DECIMALS)
    every, rows = dataset.n_transitions, len(behaviour.states)
    some = "" if rows == every else f", in {rows} of {every} steps; in all of them it is mostly smaller"
    lines = [f"joint SACo, share of distinct state and joint action (decimals): {shares}{some}"]
    distances = _distances(dataset, behaviour)
    if distances is not None:
        joint, agents = distances
        values |= {"joint_distance": joint, "agent_distances": agents}
        own = " ".join(f"{distance:.2f}" for distance in agents)
        lines.append(
            f"distance of held-out rows to the nearest row (1: to any row): {joint:.2f} jointly, {own} by agent"
        )
    return Finding("coverage", values, tuple(lines))


def _distinct(behaviour: Behaviour, decimals: int) -> float:
    """Share of distinct rows, by a 64-bit hash of each."""
    codes = np.zeros(len(behaviour.states), np.uint64)
    rng = np.random.default_rng(0)
    for array in (behaviour.states, behaviour.actions.reshape(len(codes), -1)):
        for column in array.T:
            factor = rng.integers(1, 1 << 62, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
            whole = np.rint(column.astype(np.float64) * 10**decimals).clip(-(2**62), 2**62).astype(np.int64)
            mixed = whole.view(np.uint64) * factor
            codes += mixed ^ (mixed >> np.uint64(29))
            codes *= np.uint64(0x9E3779B97F4A7C15)
    return len(np.unique(codes)) / len(codes)


def _distances(dataset: OfflineDataset, behaviour: Behaviour) -> tuple[float, list[float]] | None:
    """Median relative distance to the nearest known row, jointly and by agent; None for too few episodes."""
    names = np.unique(behaviour.episodes)
    if len(names) < 5:
        return None
    rng = np.random.default_rng(0)
    held = np.isin(behaviour.episodes, rng.permutation(names)[: max(1, round(_HELD_OUT * len(names)))])
    asked, known = np.flatnonzero(held), np.flatnonzero(~held)
    asked = rng.choice(asked, min(_ASKED, len(asked)), replace=False)
    known = rng.choice(known, min(_KNOWN, len(known)), replace=False)
    n_agents, obs_size = dataset.arrays["obs"].shape[1:]
    actions = behaviour.actions
    if behaviour.width is None:
        actions = np.eye(behaviour.n_actions, dtype=np.float32)[actions[..., 0]]  # (T, N, n)
    flat = actions.reshape(len(actions), -1)
    joint = _nearest(behaviour.states, flat, asked, known)
    obs = behaviour.states[:, : n_agents * obs_size].reshape(-1, n_agents, obs_size)
    return joint, [_nearest(obs[:, agent], actions[:, agent], asked, known) for agent in range(n_agents)]


def _nearest(states: np.ndarray, actions: np.ndarray, asked: np.ndarray, known: np.ndarray) -> float:
    """Median over asked rows of the distance to the nearest known row over that to the median known row."""
    there = np.concatenate([states[known], actions[known]], 1).astype(np.float64)
    here = np.concatenate([states[asked], actions[asked]], 1).astype(np.float64)
    std = there.std(0)
    kept = std > 1e-6
    there, here = there[:, kept] / std[kept], here[:, kept] / std[kept]
    squares = np.square(there).sum(1)
    ratios = []
    for start in range(0, len(here), _BLOCK):
        block = here[start : start + _BLOCK]
        distances = np.sqrt(np.maximum(squares - 2 * block @ there.T + np.square(block).sum(1, keepdims=True), 0))
        typical = np.median(distances, 1)
        ratios.append(distances.min(1) / np.where(typical > 0, typical, 1.0))
    return float(np.median(np.concatenate(ratios)))
