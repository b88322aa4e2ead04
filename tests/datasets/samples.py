"""Small made-up datasets for the tests of this folder."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from datasets.hdf5 import checksum

Arrays = dict[str, np.ndarray]


def continuous_card() -> dict[str, Any]:
    return {
        "environment": {"env": "mpe", "env_args": {"key": "simple_spread"}},
        "action_space": "continuous",
        "action_low": [-1.0, -1.0],
        "action_high": [1.0, 1.0],
        "behaviour": "uniform",
        "quality": "random",
        "made_by": {"command": "test", "seed": 0},
    }


def offsets_of(lengths: list[int]) -> np.ndarray:
    """Row ranges of episodes of the given numbers of steps."""
    return np.concatenate([[0], np.cumsum(np.asarray(lengths) + 1)])


def continuous_arrays(
    lengths: list[int], n_agents: int = 3, obs_size: int = 4, seed: int = 0
) -> tuple[Arrays, np.ndarray]:
    """Noise in the shape of a dataset, every value of obs, actions and reward different."""
    rng, offsets = np.random.default_rng(seed), offsets_of(lengths)
    n_rows = int(offsets[-1])
    arrays = {
        "obs": rng.normal(size=(n_rows, n_agents, obs_size)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (n_rows, n_agents, 2)).astype(np.float32),
        "reward": rng.normal(size=(n_rows, n_agents)).astype(np.float32),
        "terminated": np.zeros(n_rows, np.uint8),
    }
    arrays["reward"][offsets[1:] - 1] = 0
    return arrays, offsets


def discrete_arrays(
    lengths: list[int], n_agents: int = 2, n_actions: int = 5
) -> tuple[Arrays, np.ndarray, dict[str, Any]]:
    """Discrete actions with a state of its own and unavailable actions."""
    arrays, offsets = continuous_arrays(lengths, n_agents)
    rng, n_rows = np.random.default_rng(1), int(offsets[-1])
    available = rng.random((n_rows, n_agents, n_actions)) < 0.5
    actions = rng.integers(n_actions, size=(n_rows, n_agents, 1))
    np.put_along_axis(available, actions, True, axis=-1)
    arrays |= {
        "actions": actions.astype(np.int64),
        "avail_actions": available.astype(np.uint8),
        "state": rng.normal(size=(n_rows, 7)).astype(np.float32),
    }
    card = {
        "environment": {"env": "gymma", "env_args": {"key": "x"}},
        "action_space": "discrete",
        "n_actions": n_actions,
    }
    return arrays, offsets, card


def forge(path: Path, card: dict[str, Any], arrays: dict[str, np.ndarray | None] | None = None) -> None:
    """Change a dataset's card and arrays past the writer, with a checksum that fits; None removes an entry."""
    with h5py.File(path, "r+") as file:
        for name, array in (arrays or {}).items():
            if name in file:
                del file[name]
            if array is not None:
                file[name] = array
        changed = {key: value for key, value in (json.loads(file.attrs["card"]) | card).items() if value is not None}
        stored = {name: entry[()] for name, entry in file.items() if entry.shape}
        file.attrs["card"] = json.dumps(changed | {"checksum": checksum(stored, changed)})


def flip(file: Path) -> None:
    """Change one bit near the end of a file."""
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


def particle_world(n_episodes: int, n_steps: int = 25, seed: int = 0) -> tuple[Arrays, np.ndarray]:
    """Three agents and three landmarks that move at random, observed as in Cooperative Navigation (18 values each)."""
    rng = np.random.default_rng(seed)
    shape = (n_episodes, n_steps + 1, 3, 2)
    velocity = rng.normal(0, 0.4, shape)
    position = rng.uniform(-1, 1, (n_episodes, 1, 3, 2)) + 0.1 * np.cumsum(velocity, axis=1)
    landmarks = np.broadcast_to(rng.uniform(-1, 1, (n_episodes, 1, 3, 2)), shape)
    obs = np.zeros((*shape[:3], 18), np.float32)
    for agent in range(3):
        own = position[:, :, agent]
        others = [position[:, :, other] - own for other in range(3) if other != agent]
        seen = [velocity[:, :, agent], own, *(landmarks[:, :, index] - own for index in range(3)), *others]
        obs[:, :, agent, :14] = np.concatenate(seen, axis=-1)
    arrays, offsets = continuous_arrays([n_steps] * n_episodes)
    return arrays | {"obs": obs.reshape(-1, 3, 18)}, offsets
