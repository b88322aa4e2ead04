"""Logged transitions, put back into the simulator, lead to the logged ones; fixed controllers earn the same in it."""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium
import numpy as np
import pytest

from datasets.dataset import OfflineDataset, read_dataset
from datasets.names import BUNDLED, resolve_dataset
from envs import REGISTRY, VECTOR_REGISTRY
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
    following = dataset.arrays["obs"][rows + 1]
    difference = (np.abs(twin.get_obs() - following) / np.maximum(1, np.abs(following))).max(axis=(1, 2))
    # Stored numbers are float32. Contact forces of 100 per unit of depth and the prey's policy enlarge their rounding.
    assert np.quantile(difference, 0.98) < 1e-6 and difference.max() < 1e-5, np.quantile(difference, [0.5, 0.98, 1])
    off = np.abs(reward - dataset.arrays["reward"][rows])
    assert np.quantile(off, 0.99) < 1e-4  # a touch on the border counts or does not


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
    # What agents saw is what the setting on the card makes of the state, which is stored in float32.
    seen = env.division.observe(states[rows])
    np.testing.assert_allclose(dataset.arrays["obs"][rows], seen, rtol=1e-5, atol=1e-5)
    env.reset(seed=0)
    apart, paid = [], []
    for row in rows:
        places = robot.model.nq - unseen
        robot.set_state(np.r_[np.zeros(unseen), states[row, :places]], states[row, places : places + robot.model.nv])
        env._running, env._t = True, 0
        reward, *_ = env.advance(env.division.joint_action(dataset.arrays["actions"][row]))
        apart.append(np.abs(env.exact_state() - states[row + 1]).max())
        paid.append(abs(reward - dataset.arrays["reward"][row, 0]))
    assert len(rows) > TRANSITIONS // 2
    assert np.quantile(apart, 0.99) < 1e-4 and max(apart) < 1e-3, np.quantile(apart, [0.5, 0.9, 0.99, 1])
    # Ant is paid for the way from a position that its integrator left from an inner stage; no state holds that one.
    assert np.quantile(paid, 0.9) < (0.02 if env.key == "Ant" else 1e-4)
    assert max(paid) < (0.2 if env.key == "Ant" else 1e-3)


def test_no_bundled_set_is_left_out() -> None:
    """Those of the games are made from their rules, and tested with them."""
    games = {name for name in BUNDLED if name.startswith(("bridge/", "matrix_game/"))}
    assert games | {*PARTICLES, *ROBOTS} == set(BUNDLED)
    assert {name.split("/")[1] for name in PARTICLES} == set(TASKS)
    assert {name.split("/")[1] for name in ROBOTS} == {"Ant-2x4", "HalfCheetah-2x3", "HalfCheetah-6x1", "Hopper-3x1"}


def towards(obs: np.ndarray, key: str) -> np.ndarray:
    """Actions (..., 2) that lead straight to the prey, or to the nearest landmark where there is none."""
    n_marks = len(TASKS[key].landmark_sizes)
    if key == "simple_spread":
        places = obs[..., 4 : 4 + 2 * n_marks].reshape(*obs.shape[:-1], n_marks, 2)
        nearest = np.linalg.norm(places, axis=-1).argmin(axis=-1)
        way = np.take_along_axis(places, nearest[..., None, None], axis=-2)[..., 0, :]
    else:
        way = obs[..., 4 + 2 * n_marks + 4 :][..., :2]  # behind the two other predators
    return np.asarray(way / np.abs(way).max(axis=-1, keepdims=True), np.float32)


@pytest.mark.parametrize("key", list(TASKS))
def test_a_chase_earns_what_it_earns_in_the_raw_simulator(key: str) -> None:
    """The same straight way in mpe2's own interface, behind our wrapper and in the vectorised environment."""
    episodes = 6
    raw = importlib.import_module(f"envs.mpe.{key}").parallel_env(max_cycles=25, continuous_actions=True)
    wrapped = REGISTRY["mpe"](key=key, common_reward=False)
    many = VECTOR_REGISTRY["mpe"](episodes, key=key, common_reward=False)
    returns = np.zeros((3, episodes))
    for seed in range(episodes):
        seen, _ = raw.reset(seed=seed)
        obs, _ = wrapped.reset(seed=seed)
        for _ in range(25):
            seen, rewards, *_ = raw.step({name: towards(own, key) for name, own in seen.items()})
            obs, ours, *_ = wrapped.step(towards(np.stack(obs), key))
            returns[:2, seed] += np.mean(list(rewards.values())), np.mean(ours)
    many.reset(list(range(episodes)))
    for _ in range(25):
        returns[2] += many.step(towards(many.get_obs(), key))[0].mean(axis=1)
    assert returns[0].std() > 1
    np.testing.assert_allclose(returns[1], returns[0], rtol=1e-6)
    np.testing.assert_allclose(returns[2].mean(), returns[0].mean(), rtol=1e-4)


GAITS = [(key, partition) for key, partitions in PARTITIONS.items() for partition in partitions]


@pytest.mark.parametrize(("key", "partition"), GAITS)
def test_a_gait_earns_what_it_earns_in_the_raw_simulator(key: str, partition: str) -> None:
    """The same sinusoid on every joint from the same start, in Gymnasium's robot and divided among agents."""
    limit = 30 if key.startswith("Humanoid") else 200
    wrapped = RobotEnv(key=key, partition=partition, time_limit=limit)
    raw = gymnasium.make(f"{key}-v5", max_episode_steps=limit)
    strength = 0.5 * raw.action_space.high
    returns = []
    for seed in range(3):
        raw.reset(seed=seed)
        wrapped.reset(seed=seed)
        total, over, t = np.zeros(2), False, 0
        while not over:
            motors = strength * np.sin(0.3 * t + np.arange(len(strength)))
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
