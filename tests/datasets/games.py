"""Where the published AlberDICE buffers lie beside the checkout, if they do, and made-up ones of the same layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.bridge import BridgeEnv
from envs.matrix_game import MatrixGameEnv

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "alberdice"
needs_published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the AlberDICE buffers are not in {PUBLISHED}")
XOR_BUFFERS = PUBLISHED / "mmdp_game_1_from_start"
BRIDGE_MIX = PUBLISHED / "bridge_from_start" / "buffer_mix"

# Agent 0 steps back and below, agent 1 passes, agent 0 crosses: an optimal Bridge episode, 8 steps.
BRIDGE_OPTIMUM = [(4, 4), (2, 4), (1, 1), (3, 4), (3, 0), (3, 0), (2, 0), (3, 0)]


def write_buffer(folder: Path, env: BridgeEnv | MatrixGameEnv, episodes: list[list[tuple[int, int]]]) -> Path:
    """Plays the episodes' joint actions and writes them as AlberDICE does: the time limit flagged as a terminal."""
    shape = (len(episodes), env.episode_limit + 1)
    size, n_actions = env.get_state_size(), env.get_total_actions()
    arrays = {
        "obs": np.zeros((*shape, 2, size), np.float32), "state": np.zeros((*shape, size), np.float32),
        "actions": np.zeros((*shape, 2, 1), np.int64), "avail_actions": np.zeros((*shape, 2, n_actions), np.int32),
        "reward": np.zeros((*shape, 1), np.float32), "terminated": np.zeros((*shape, 1), np.uint8),
        "filled": np.zeros((*shape, 1), np.int64),
    }  # fmt: skip
    for episode, joint_actions in enumerate(episodes):
        env.reset()
        ended = False
        for row in range(shape[1]):
            at = (episode, row)
            arrays["state"][at], arrays["obs"][at] = env.get_state(), np.stack(env.get_obs())
            arrays["avail_actions"][at], arrays["filled"][at] = 1, 1
            if ended:
                break
            joint = np.array(joint_actions[row] if row < len(joint_actions) else (0, 0))
            arrays["actions"][at] = joint[:, None]
            _, reward, terminated, truncated, _ = env.step(joint)
            ended = terminated or truncated
            arrays["reward"][at], arrays["terminated"][at] = reward, ended
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder
