"""Datasets of Bridge, made from its definition: AlberDICE's two datasets, in any size."""

from pathlib import Path
from typing import Any

import numpy as np

from datasets.dataset import write_dataset
from envs.bridge import GOALS, N_ACTIONS, STARTS, bridge_tables, state_index
from utils.errors import DatasetError
from utils.memory import require_memory

KINDS = ("optimal", "mix")
_EPISODE_BYTES = 2000  # of the arrays of an episode of nine rows, the shortest, at least
_LIMIT = 50  # steps of an episode, as in the published datasets


def generate_bridge(
    kind: str, out: Path, episodes: int = 1000, seed: int = 0, command: str = "", replace: bool = True
) -> dict[str, Any]:
    """Write episodes from the adjacent starts to `out`; return the dataset card.

    kind: "optimal" for shortest routes, actions uniform among `shortest_actions`. As in the published dataset, either
    agent yields, at one of three places, and the returns -1.290, -1.259 and -1.235 occur in a third of the episodes
    each. "mix": half uniformly random episodes of at most 50 steps, then half shortest routes. As in the published
    datasets, a step that the limit cuts pays 0. Raises DatasetError for another kind, for less than one episode, for a
    negative seed, and for an odd number of episodes in a mix. replace: whether a file at `out` is replaced.
    """
    if kind not in KINDS:
        raise DatasetError(f"'{kind}' is no dataset of Bridge; choose {' or '.join(KINDS)}")
    if episodes < 1 or seed < 0 or (kind == "mix" and episodes % 2):
        raise DatasetError(
            f"--episodes is {episodes} and --seed {seed}; they must be at least 1 and 0, and a mix needs an even number"
        )
    require_memory(episodes * _EPISODE_BYTES, f"--episodes={episodes}", "generate fewer")
    rng = np.random.default_rng(seed)
    shortest, anything = shortest_actions(), np.ones((len(bridge_tables().states), N_ACTIONS**2), bool)
    n_random = episodes // 2 if kind == "mix" else 0
    played = [_play(anything if episode < n_random else shortest, rng) for episode in range(episodes)]
    states, actions, rewards, terminals = (np.concatenate(part) for part in zip(*played, strict=True))
    seen = bridge_tables().states[states]  # (R, 8)
    arrays = {
        "obs": np.repeat(seen[:, None], 2, axis=1),
        "state": seen,
        "actions": np.stack(np.divmod(actions, N_ACTIONS), axis=1)[..., None],
        "reward": np.repeat(rewards[:, None], 2, axis=1),
        "terminated": terminals,
    }
    shares = "half uniformly random, half shortest routes" if kind == "mix" else "shortest routes"
    card = {
        "environment": {"env": "bridge", "env_args": {"start_adjacent": True}},
        "action_space": "discrete",
        "n_actions": N_ACTIONS,
        "behaviour": shares,
        "quality": "expert" if kind == "optimal" else "unknown",
        "made_by": {"command": command, "seed": seed},
    }
    offsets = np.concatenate([[0], np.cumsum([len(part[0]) for part in played])])
    return write_dataset(out, arrays, offsets, card, last_action_known=True, compression=9, replace=replace)


def shortest_actions() -> np.ndarray:
    """Joint actions on a shortest route, (196, 25) bool: the sum of both agents' steps to their goals is smallest.

    From the adjacent starts it is 12: one agent takes 4 steps, the other yields and takes 8.
    """
    tables = bridge_tables()
    places = tables.states.reshape(-1, 2, 2, 2)  # (196, agent, place or goal, row and column)
    away = (places[:, :, 0] != places[:, :, 1]).any(-1).sum(1)  # (196,), agents that are not on their goals
    home = state_index(GOALS)
    left = np.where(np.arange(len(away)) == home, 0.0, np.inf)  # (196,), remaining steps
    while True:
        cost = away[:, None] + left[tables.next_state]  # (196, 25)
        cost[home] = 0.0
        if np.array_equal(cost.min(1), left):
            best: np.ndarray = cost == left[:, None]
            return best
        left = cost.min(1)


def _play(allowed: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """An episode's states, joint actions, rewards and terminals, (T + 1,) each; actions uniform among `allowed`."""
    tables = bridge_tables()
    rows: list[tuple[int, int, float, bool]] = []
    state, done = state_index(STARTS[True]), False
    while not done and len(rows) < _LIMIT:
        action = int(rng.choice(np.flatnonzero(allowed[state])))
        done = bool(tables.done[state, action])
        rows.append((state, action, float(tables.reward[state, action]) * (len(rows) < _LIMIT - 1), done))
        state = int(tables.next_state[state, action])
    rows.append((state, int(rng.choice(np.flatnonzero(allowed[state]))), 0.0, False))  # the action it would take next
    return tuple(np.array(column) for column in zip(*rows, strict=True))
