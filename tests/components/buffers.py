"""Small offline buffers for tests: every value names its row."""

from types import SimpleNamespace

import numpy as np

from components.offline_buffer import OfflineBuffer
from components.scheme import build_scheme

N, OBS = 3, 4


def env_info(discrete=False, state=N * OBS):
    info = {"state_shape": state, "obs_shape": OBS, "n_actions": 5 if discrete else 2, "n_agents": N}
    return info | {"action_space": "discrete" if discrete else "continuous"}


def dataset(lengths, terminal=(), discrete=False):
    """Every value names its row: obs[row] = row, reward[row] = row * (1, 2, 3); zero rewards on final rows."""
    offsets = np.concatenate([[0], np.cumsum(np.asarray(lengths) + 1)])
    rows = np.arange(offsets[-1], dtype=np.float32)
    arrays = {
        "obs": np.broadcast_to(rows[:, None, None], (len(rows), N, OBS)).copy(),
        "actions": np.broadcast_to((rows / 100)[:, None, None], (len(rows), N, 2)).copy(),
        "reward": rows[:, None] * np.array([1, 2, 3], np.float32),
        "terminated": np.zeros(len(rows), np.uint8),
    }
    arrays["reward"][offsets[1:] - 1] = 0
    arrays["terminated"][offsets[1:][list(terminal)] - 2] = 1
    if discrete:
        arrays["actions"] = np.broadcast_to((rows.astype(np.int64) % 5)[:, None, None], (len(rows), N, 1)).copy()
    return arrays, offsets


def make(
    lengths, *, window, terminal=(), known=True, discrete=False, reward="mean", extras=(), more=None, seed=0, **keys
):
    arrays, offsets = dataset(lengths, terminal, discrete)
    arrays |= more or {}
    info = env_info(discrete, arrays["state"].shape[-1] if "state" in arrays else N * OBS)
    parts = build_scheme(info, SimpleNamespace(common_reward=reward is not None))
    known = np.broadcast_to(known, len(lengths)).copy()
    settings = {"window": window, "reward_scalarisation": reward, "extras": extras, "seed": seed, **keys}
    return OfflineBuffer(arrays, offsets, known, *parts, **settings), arrays, offsets


def stock_mask(batch):
    """The mask that every stock learner computes."""
    terminated = batch["terminated"][:, :-1].float()
    mask = batch["filled"][:, :-1].float()
    mask[:, 1:] = mask[:, 1:] * (1 - terminated[:, :-1])
    return mask.squeeze(-1)


def first_rows(batch):
    return batch["obs"][:, 0, 0, 0].long()
