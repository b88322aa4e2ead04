"""Robots divided among agents, held against gymnasium-robotics' own environment step by step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs import REGISTRY, make_env, make_vector_env, sync_vector_env
from envs.mamujoco.robot_env import RobotEnv
from envs.mamujoco.robot_vector import RobotVector
from envs.mamujoco.robots import PARTITIONS
from utils import cores
from utils.config import CONFIG
from utils.errors import EnvError

pytest.importorskip("gymnasium_robotics")
from gymnasium_robotics.envs.multiagent_mujoco import mujoco_multi

EVERY = [(key, partition) for key, partitions in PARTITIONS.items() for partition in partitions]
LOCAL = [(key, partition) for key, partition in EVERY if key not in ("Pusher", "Reacher")]


def robot(key: str = "Hopper", partition: str = "3x1", **env_args: Any) -> RobotEnv:
    env = make_env("mamujoco", {"key": key, "partition": partition, **env_args}, True, "mean")
    assert isinstance(env, RobotEnv)
    return env


@pytest.mark.parametrize(("key", "partition"), EVERY)
def test_steps_are_those_of_gymnasium_robotics(key: str, partition: str) -> None:
    """State, rewards, terminals and bounds; and local observations where there are any."""
    local = (key, partition) in LOCAL
    ours = robot(key, partition, observations="local" if local else "full", agent_obsk=1)
    theirs = mujoco_multi.parallel_env(key, partition, agent_obsk=1)
    rng = np.random.default_rng(3)
    for episode in range(2):
        own, _ = ours.reset(seed=episode)
        seen, _ = theirs.reset(seed=episode)
        for _ in range(30):
            np.testing.assert_array_equal(ours.exact_state(), theirs.state())
            if local:
                for mine, other in zip(own, seen.values(), strict=True):
                    if key in ("Hopper", "Walker2d"):  # Gymnasium's state has velocities of at most 10
                        other = np.clip(other, -10, 10)
                    np.testing.assert_array_equal(mine[: len(other)], np.float32(other))
                    assert not mine[len(other) :].any()
            actions = rng.uniform(-0.4, 0.4, (ours.n_agents, ours.get_total_actions())).astype(np.float32)
            actions *= np.array(ours.get_avail_actions())
            joint = {name: actions[i, : theirs.action_space(name).shape[0]] for i, name in enumerate(theirs.agents)}
            seen, rewards, terminations, truncations, _ = theirs.step(joint)
            own, reward, terminated, truncated, _ = ours.step(actions)
            assert reward == next(iter(rewards.values()))
            assert terminated == next(iter(terminations.values()))
            assert truncated == next(iter(truncations.values())) and not (terminated and truncated)
            if terminated or truncated:
                break
    ours.close()
    theirs.close()


def test_ant_is_divided_by_neighbouring_legs_not_by_the_order_of_actuators() -> None:
    env = robot("Ant", "2x4")
    actions = np.arange(8.0).reshape(2, 4) / 10
    np.testing.assert_allclose(env.division.joint_action(actions), np.array([6, 7, 0, 1, 2, 3, 4, 5]) / 10)


def test_unequal_agents_are_padded_and_masked_and_have_their_own_bounds() -> None:
    env = robot("Humanoid", "9|8", observations="local")
    assert env.get_total_actions() == 9 and np.sum(env.get_avail_actions(), axis=1).tolist() == [9, 8]
    info = env.get_env_info()
    assert info["available"] == env.get_avail_actions() and robot("Ant", "2x4").get_env_info()["available"] == "all"
    np.testing.assert_allclose(info["action_high"], np.full(9, 0.4), rtol=1e-6)
    env.reset(seed=0)
    np.testing.assert_allclose(env.division.joint_action(np.full((2, 9), 5.0)), np.full(17, 0.4), rtol=1e-6)
    widths = [len(row) for row in env.get_obs()]
    assert widths == [info["obs_shape"]] * 2


def test_full_observations_are_the_state_and_the_index_standardised_per_vector() -> None:
    env = robot("HalfCheetah", "6x1")
    env.reset(seed=1)
    for agent, seen in enumerate(env.get_obs()):
        vector = np.concatenate([env.exact_state(), np.eye(6)[agent]])
        np.testing.assert_allclose(seen, (vector - vector.mean()) / vector.std(), rtol=1e-5, atol=1e-6)
    assert env.get_obs_size() == 23 and env.get_state_size() == 17


def test_a_time_limit_is_no_terminal_and_a_fall_is_one() -> None:
    env = robot(time_limit=5)
    env.reset(seed=0)
    flags = [env.step(np.zeros((3, 1)))[2:] for _ in range(5)]
    assert [(terminated, truncated) for terminated, truncated, _ in flags] == [(False, False)] * 4 + [(False, True)]
    assert [info["episode_limit"] for *_, info in flags] == [False] * 4 + [True]
    with pytest.raises(EnvError, match="no episode is running"):
        env.step(np.zeros((3, 1)))
    env = robot()
    env.reset(seed=0)
    for _ in range(env.episode_limit):
        _, _, terminated, truncated, info = env.step(np.ones((3, 1)))
        if terminated or truncated:
            break
    assert terminated and not truncated and not info["episode_limit"] and env.episode_limit == 1000


def test_an_unstable_simulation_ends_the_episode_with_a_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    env = robot("HalfCheetah", "6x1")
    env.reset(seed=0)
    env.step(np.zeros((6, 1)))
    before = env.exact_state().copy()
    env.robot.data.qvel[:] = 1e12
    _, reward, terminated, truncated, info = env.step(np.zeros((6, 1)))
    assert (reward, terminated, truncated, info["unstable"]) == (0.0, False, True, 1.0)
    np.testing.assert_array_equal(env.exact_state(), before)
    assert not list(tmp_path.iterdir())  # MuJoCo would leave a log there
    env.reset(seed=0)
    assert env.step(np.zeros((6, 1)))[-1]["unstable"] == 0.0


@pytest.mark.parametrize(
    ("env_args", "words"),
    [
        ({"key": "HalfCheeta"}, "env_args.key='HalfCheeta' is no robot; did you mean 'HalfCheetah'"),
        ({"key": ["Hopper"]}, "env_args.key=['Hopper'] is no robot; "),
        ({"partition": "3x2"}, "env_args.partition='3x2' is no partition of Hopper; did you mean '3x1'"),
        ({"partition": None}, "is no partition of Hopper; known: 3x1"),
        ({"observations": "some"}, "observations must be full or local, not 'some'"),
        ({"observe_torso": False}, "observe_torso=False has no meaning for observations=full"),
        ({"observations": "local", "observe_torso": "no"}, "observe_torso must be True or False, not 'no'"),
        ({"agent_obsk": -1}, "agent_obsk must be a whole number of at least 0, not -1"),
        ({"ctrl_cost": 1.0}, "env_args.ctrl_cost is no argument of Hopper; did you mean 'ctrl_cost_weight'"),
        ({"ctrl_cost_weight": "a"}, "env_args.ctrl_cost_weight must be a finite number, not 'a'"),
        ({"ctrl_cost_weight": float("nan")}, "env_args.ctrl_cost_weight must be a finite number, not nan"),
        ({"healthy_z_range": 3}, "env_args.healthy_z_range must be two numbers, the smaller one first, not 3"),
        ({"healthy_z_range": [2.0, 0.7]}, "env_args.healthy_z_range must be two numbers, the smaller one first, not"),
        ({"reset_noise_scale": -0.1}, "env_args.reset_noise_scale must be a finite number of at least 0, not -0.1"),
        ({"terminate_when_unhealthy": 0}, "env_args.terminate_when_unhealthy must be True or False, not 0"),
        ({"max_episode_steps": 9}, "give time_limit instead"),
        ({"time_limit": 0}, "time_limit must be a whole number"),
        ({"key": "Reacher", "partition": "2x1", "observations": "local"}, "Reacher has no local observations"),
        (
            {"key": "Ant", "partition": "2x4", "observations": "local", "include_cfrc_ext_in_observation": False},
            "Ant has no local observations with these env_args",
        ),
    ],
)
def test_what_does_not_exist_is_refused(env_args: dict[str, Any], words: str) -> None:
    with pytest.raises(EnvError) as error:
        robot(**env_args)
    assert words in str(error.value)


def test_the_fingerprint_names_versions_and_the_robots_file() -> None:
    found = robot().get_env_info()["simulator"]
    assert found["robot"] == "hopper.xml" and len(found["robot_sha256"]) == 64
    assert found != robot("HalfCheetah", "6x1").get_env_info()["simulator"]
    assert set(found) == {"mujoco", "gymnasium", "robot", "robot_sha256"}


def test_no_other_environment_imports_mujoco() -> None:
    program = (
        "import sys; from envs import make_env; make_env('mpe', {'key': 'simple_spread'}, True, 'mean'); "
        "assert not {'mujoco', 'gymnasium_robotics'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2] / "src")


@pytest.mark.parametrize("threads", [1, 3])
def test_many_robots_are_as_many_single_ones(threads: int) -> None:
    """Bit for bit: observations, states, rewards, flags and information, falls at different times among them."""
    env_args = {"key": "Hopper", "partition": "3x1", "time_limit": 60, "seed": 4}
    many = make_vector_env("mamujoco", 4, {**env_args, "threads": threads}, True, "mean")
    loop = sync_vector_env(REGISTRY["mamujoco"], 4, True, "mean", **env_args)
    rng = np.random.default_rng(5)
    ended = set()
    for seeds in ([7, 8, 9], None):
        many.reset(seeds)
        loop.reset(seeds)
        for t in range(60):
            actions = rng.uniform(-1, 1, (4 if seeds is None else 3, 3, 1)).astype(np.float32)
            got, expected = many.step(actions), loop.step(actions)
            for left, right in zip(got[:3], expected[:3], strict=True):
                np.testing.assert_array_equal(left, right)
            assert got[3].keys() == expected[3].keys()
            for name in got[3]:
                np.testing.assert_array_equal(got[3][name], expected[3][name])
            for view in ("get_obs", "get_state", "get_avail_actions"):
                np.testing.assert_array_equal(getattr(many, view)(), getattr(loop, view)())
            ended |= {t for end in got[1] if end}
            if (got[1] | got[2]).all():
                break
    assert len(ended) > 1 and many.get_env_info() == loop.get_env_info()
    np.testing.assert_array_equal(many.scalarise(got[0]), got[0][:, 0])
    many.close()
    loop.close()


def test_who_sees_ever_so_far_sees_all_joints_at_once() -> None:
    """gymnasium-robotics would search once for each joint of distance."""
    far, near = (robot("HalfCheetah", "6x1", observations="local", agent_obsk=k) for k in (10**9, 9))
    np.testing.assert_array_equal(far.division._index, near.division._index)


def test_robots_in_a_sweep_have_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "cores", lambda: 2)
    monkeypatch.delenv(cores.LIMIT, raising=False)
    for sweep, expected in ((False, 2), (True, 1)):
        if sweep:
            monkeypatch.setenv(cores.FILE_VARIABLE, "progress.json")
        many = make_vector_env("mamujoco", 4, {"key": "Hopper", "partition": "3x1"}, True, "mean")
        assert isinstance(many, RobotVector) and many._threads == expected
        many.close()


@pytest.mark.parametrize("threads", [0, "2", 1.5, True])
def test_threads_are_a_number(threads: Any) -> None:
    with pytest.raises(EnvError, match="env_args.threads must be a whole number of at least 1"):
        make_vector_env("mamujoco", 2, {"key": "Hopper", "partition": "3x1", "threads": threads}, True, "mean")


def test_local_cheetahs_without_torso_are_those_of_the_papers() -> None:
    """OMAR's and SPaCQL's HalfCheetah 2x3: 6 numbers an agent, own joints sorted by label, each place and velocity."""
    local = {"observations": "local", "agent_obsk": 0, "observe_torso": False}
    env = robot("HalfCheetah", "2x3", **local)
    assert (env.get_obs_size(), env.get_state_size(), env.get_total_actions()) == (6, 17, 3)
    own, _ = env.reset(seed=1)
    theirs = mujoco_multi.parallel_env("HalfCheetah", "2x3", agent_obsk=0, global_categories=())
    seen, _ = theirs.reset(seed=1)
    np.testing.assert_array_equal(own, np.float32([*seen.values()]))
    data, model = env.robot.data, env.robot.model
    for row, leg in zip(own, ("b", "f"), strict=True):
        joints = [model.joint(f"{leg}{name}") for name in ("foot", "shin", "thigh")]
        expected = [(data.qpos[joint.qposadr[0]], data.qvel[joint.dofadr[0]]) for joint in joints]
        np.testing.assert_array_equal(row, np.float32(expected).ravel())
    motors = [model.actuator(i).name for i in range(6)]
    joint = env.division.joint_action(np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]))
    order = ["bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"]  # of actions, which is not that of observations
    assert [motors[i] for i in np.argsort(joint)] == order


@pytest.mark.parametrize("name", ["ant", "hopper", "halfcheetah_2x3", "mamujoco"])
def test_configurations_say_how_long_an_evaluation_is(name: str) -> None:
    """HalfCheetah alone never ends early, and `mamujoco` is for every robot."""
    text = (CONFIG / "envs" / f"{name}.yaml").read_text()
    assert ("; 10 are at most 10 000 steps\n" in text) == (name != "halfcheetah_2x3")
    assert "; 10 are 10 000 steps\n" in text or name != "halfcheetah_2x3"
