"""Datasets of the XOR game, made from its definition: AlberDICE's four datasets, in any size."""

from pathlib import Path
from typing import Any

import numpy as np

from datasets.dataset import write_dataset
from envs.matrix_game import PAYOFFS, STATE
from utils.errors import DatasetError
from utils.memory import require_memory

_NAMES = {"A": 0, "B": 1}
_STEPS = 50  # of an episode, as in the published datasets
_ROW_BYTES = 100  # of a row's arrays, at least
_RANDOM = "AA,AB,BA,BB"


def generate_xor(
    joint_actions: str, out: Path, episodes: int = 100, seed: int = 0, command: str = "", replace: bool = True
) -> dict[str, Any]:
    """Write episodes of 50 steps, cut by the time limit, to `out`; return the dataset card.

    joint_actions: those that occur, such as "AB", "AB,BA" or "AA,AB,BA" (agent 0's action first), or "random" for all
    four. They occur in random order and equally often (to within one, where their number does not divide the number of
    steps), so that the behaviour's probabilities are exact. Raises DatasetError for an unknown joint action, for one
    that is named twice, for less than one episode and for a negative seed.
    replace: whether a file at `out` is replaced.
    """
    names = (_RANDOM if joint_actions == "random" else joint_actions).split(",")
    if any(len(name) != 2 or not set(name) <= set(_NAMES) for name in names) or len(set(names)) < len(names):
        raise DatasetError(
            f"'{joint_actions}' is no set of the XOR game's joint actions; name each once, such as AB,BA, or say random"
        )
    if episodes < 1 or seed < 0:
        raise DatasetError(f"--episodes is {episodes} and --seed {seed}; they must be at least 1 and 0")
    require_memory(episodes * (_STEPS + 1) * _ROW_BYTES, f"--episodes={episodes}", "generate fewer")
    rng = np.random.default_rng(seed)
    joint = np.array([[_NAMES[letter] for letter in name] for name in names])  # (K, 2)
    taken, next_ones = (
        joint[rng.permutation(np.arange(count) % len(joint))] for count in (episodes * _STEPS, episodes)
    )
    actions = np.concatenate([taken.reshape(episodes, _STEPS, 2), next_ones[:, None]], axis=1)  # (E, T + 1, 2)
    reward = PAYOFFS["xor"][actions[..., 0], actions[..., 1]]
    reward[:, -1] = 0  # no step starts from a final row
    n_rows = actions.shape[0] * actions.shape[1]
    arrays = {
        "obs": np.broadcast_to(STATE, (n_rows, 2, len(STATE))),
        "state": np.broadcast_to(STATE, (n_rows, len(STATE))),
        "actions": actions.reshape(n_rows, 2, 1),
        "reward": np.repeat(reward.reshape(n_rows, 1), 2, axis=1),
        "terminated": np.zeros(n_rows, np.uint8),
    }
    card = {
        "environment": {"env": "matrix_game", "env_args": {"key": "xor"}},
        "action_space": "discrete",
        "n_actions": len(_NAMES),
        "behaviour": f"joint actions {', '.join(names)}, equally often",
        "quality": "random" if len(names) == len(_NAMES) ** 2 else "unknown",
        "made_by": {"command": command, "seed": seed},
    }
    offsets = np.arange(episodes + 1) * (_STEPS + 1)
    return write_dataset(out, arrays, offsets, card, last_action_known=True, compression=9, replace=replace)
