"""Logged transitions, put back into the simulator, lead to the logged next observation; fixed gaits earn the same."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from datasets.dataset import OfflineDataset, read_dataset
from datasets.names import BUNDLED, resolve_dataset
from envs import VECTOR_REGISTRY
from envs.mamujoco.robot_env import RobotEnv
from envs.mamujoco.robots import PARTITIONS
from envs.mpe.tasks import TASKS

TRANSITIONS = 1000
PARTICLES = [name for name in BUNDLED if name.startswith("mpe/")]
ROBOTS = [name for name in BUNDLED if name.startswith("mamujoco/")]


def transitions(dataset: OfflineDataset) -> np.ndarray:
    """Row numbers of 1 000 steps, evenly spaced over the dataset, (1000,)."""
    rows = np.setdiff1d(np.arange(dataset.episode_offsets[-1]), dataset.episode_offsets[1:] - 1)
    return rows[np.linspace(0, len(rows) - 1, TRANSITIONS).astype(int)]


def arguments(dataset: OfflineDataset) -> dict[str, Any]:
    return {key: value for key, value in dataset.card["environment"]["env_args"].items() if key != "seed"}


@pytest.mark.parametrize("name", PARTICLES)
def test_particle_transitions_are_reproduced(name: str) -> None:
    dataset = read_dataset(resolve_dataset(name))
    rows = transitions(dataset)
    obs = dataset.arrays["obs"][rows].astype(np.float64)  # (E, N, O)
    env_args = arguments(dataset)
    twin = VECTOR_REGISTRY["mpe"](TRANSITIONS, **env_args)
    n_marks = len(TASKS[env_args["key"]].landmark_sizes)
    seen = obs[:, 0, 4:].reshape(TRANSITIONS, -1, 2) + obs[:, 0, None, 2:4]  # what agent 0 sees, (E, M+K-1+..., 2)
    positions, velocities = obs[..., 2:4], obs[..., :2]
    if env_args["key"] != "simple_spread":  # the prey, which does not learn, is the last of the others
        others = slice(n_marks + 2, n_marks + 3)
        positions = np.concatenate([positions, seen[:, others]], axis=1)  # (E, K, 2)
        prey_velocity = obs[:, 0, None, 4 + 2 * (n_marks + 3) :][..., :2]
        velocities = np.concatenate([velocities, prey_velocity], axis=1)
    twin.set_world_state(positions, velocities, seen[:, :n_marks])
    reward, *_ = twin.step(dataset.arrays["actions"][rows])
    difference = np.abs(twin.get_obs() - dataset.arrays["obs"][rows + 1]).max(axis=(1, 2))
    # Contact forces of 100 per unit of depth enlarge the rounding of stored observations where bodies touch.
    assert np.quantile(difference, 0.9) < 1e-6 and difference.max() < 1e-3, np.quantile(difference, [0.5, 0.9, 1])
    off = np.abs(reward - dataset.arrays["reward"][rows])
    assert np.quantile(off, 0.95) < 1e-3  # a touch on the border counts or does not


@pytest.mark.parametrize("name", ROBOTS)
def test_robots_transitions_are_reproduced(name: str) -> None:
    dataset = read_dataset(resolve_dataset(name))
    env = RobotEnv(**arguments(dataset))
    robot = env.robot
    states = dataset.arrays["state"].astype(np.float64)  # (R, S)
    unseen = robot.observation_structure["skipped_qpos"]  # places along the ground
    rows = transitions(dataset)
    if env.key == "Hopper":  # which observes velocities of at most 10
        rows = rows[(np.abs(states[rows]) < 10).all(axis=1) & (np.abs(states[rows + 1]) < 10).all(axis=1)]
    env.reset(seed=0)
    apart, paid = [], []
    for row in rows:
        seen = robot.model.nq - unseen
        robot.set_state(np.r_[np.zeros(unseen), states[row, :seen]], states[row, seen : seen + robot.model.nv])
        env._running, env._t = True, 0
        reward, *_ = env.advance(env.division.joint_action(dataset.arrays["actions"][row]))
        apart.append(np.abs(env.exact_state() - states[row + 1]).max())
        paid.append(abs(reward - dataset.arrays["reward"][row, 0]))
    assert len(rows) > TRANSITIONS // 2
    assert np.quantile(apart, 0.99) < 1e-4 and max(apart) < 1e-3, np.quantile(apart, [0.5, 0.9, 0.99, 1])
    # Ant is paid for the way from a position that its integrator left from an inner stage; no state holds that one.
    assert np.quantile(paid, 0.9) < (0.02 if env.key == "Ant" else 1e-4)
    assert max(paid) < (0.2 if env.key == "Ant" else 1e-3)


@pytest.mark.parametrize("key", ["Hopper", "Ant", "HalfCheetah"])
def test_a_gait_earns_what_it_earns_in_the_raw_simulator(key: str) -> None:
    """The same sinusoid on every joint from the same start, in Gymnasium's robot and divided among agents."""
    wrapped = RobotEnv(key=key, partition=PARTITIONS[key][0], time_limit=200)
    raw = gymnasium.make(f"{key}-v5", max_episode_steps=200)
    returns = []
    for seed in range(3):
        raw.reset(seed=seed)
        wrapped.reset(seed=seed)
        total, over, t = np.zeros(2), False, 0
        while not over:
            motors = 0.5 * np.sin(0.3 * t + np.arange(raw.action_space.shape[0]))
            _, reward, terminated, truncated, _ = raw.step(motors)
            divided = np.zeros((wrapped.n_agents, wrapped.division.size))
            divided[wrapped.division._agent, wrapped.division._slot] = motors
            _, ours, ours_terminated, ours_truncated, _ = wrapped.step(divided)
            total += (float(reward), ours)
            assert (terminated, truncated) == (ours_terminated, ours_truncated)
            over, t = terminated or truncated, t + 1
        returns.append(total)
    assert np.ptp(np.array(returns)[:, 0]) > 0  # three different starts
    assert np.allclose(*np.array(returns).T, rtol=1e-9)
