"""The wrapper of mpe2's environments: sizes, padding, action types, time limits, rewards and rendering."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from PIL import Image

from envs import REGISTRY
from envs.mpe.keys import OWN_KEYS, environment_keys
from envs.mpe.replay import write_gif
from envs.multiagentenv import MultiAgentEnv
from utils.config import CONFIG
from utils.errors import EnvError

# key: (N, O, widths of discrete actions, widths of continuous actions)
SIZES: dict[str, tuple[int, int, list[int], list[int]]] = {
    "simple_spread": (3, 18, [5, 5, 5], [2, 2, 2]),
    "simple_spread_v3": (3, 18, [5, 5, 5], [5, 5, 5]),
    "simple_tag_v3": (4, 16, [5, 5, 5, 5], [5, 5, 5, 5]),
    "simple_speaker_listener_v4": (2, 11, [3, 5], [3, 5]),
    "simple_reference_v3": (2, 21, [50, 50], [15, 15]),
    "simple_adversary_v3": (3, 10, [5, 5, 5], [5, 5, 5]),
    "simple_world_comm_v3": (6, 34, [20, 5, 5, 5, 5, 5], [9, 5, 5, 5, 5, 5]),
}


def make(key: str = "simple_spread", **env_args: Any) -> MultiAgentEnv:
    return REGISTRY["mpe"](key=key, **env_args)


def random_actions(env: MultiAgentEnv, rng: np.random.Generator) -> np.ndarray:
    if env.action_space == "continuous":
        return rng.uniform(env.action_low, env.action_high, (env.n_agents, env.get_total_actions()))
    return np.array([rng.choice(np.flatnonzero(avail)) for avail in env.get_avail_actions()])


@pytest.mark.parametrize("continuous", [True, False])
@pytest.mark.parametrize("key", SIZES)
def test_every_environment_runs_to_its_time_limit(key: str, continuous: bool) -> None:
    n_agents, obs_size, discrete, wide = SIZES[key]
    widths = wide if continuous else discrete
    env = make(key, continuous_actions=continuous, seed=0, time_limit=7, common_reward=False)
    info = env.get_env_info()
    assert info["n_agents"] == n_agents and info["obs_shape"] == obs_size and info["episode_limit"] == 7
    assert info["n_actions"] == max(widths) and info["state_shape"] == n_agents * obs_size
    assert info["action_space"] == ("continuous" if continuous else "discrete")
    if continuous:
        low = -1.0 if key == "simple_spread" else 0.0
        assert info["action_low"] == [low] * max(widths) and info["action_high"] == [1.0] * max(widths)
    assert env.get_avail_actions() == [[1] * own + [0] * (max(widths) - own) for own in widths]

    rng = np.random.default_rng(0)
    env.reset()
    for t in range(7):
        obs, rewards, terminated, truncated, step_info = env.step(random_actions(env, rng))
        assert isinstance(rewards, list) and len(rewards) == n_agents and np.isfinite(rewards).all()
        assert len(obs) == n_agents and all(row.shape == (obs_size,) and row.dtype == np.float32 for row in obs)
        np.testing.assert_array_equal(env.get_state(), np.concatenate(obs))
        assert terminated is False and truncated is (t == 6) and step_info == {"episode_limit": t == 6}
    with pytest.raises(EnvError, match="call reset"):
        env.step(random_actions(env, rng))
    env.close()


@pytest.mark.parametrize("continuous", [True, False])
@pytest.mark.parametrize("key", ["simple_spread_v3", "simple_speaker_listener_v4"])
def test_wrapper_passes_on_what_mpe2_says(key: str, continuous: bool) -> None:
    env = make(key, continuous_actions=continuous, common_reward=False)
    theirs = importlib.import_module(f"mpe2.{key}").parallel_env(continuous_actions=continuous, max_cycles=25)
    observations, _ = theirs.reset(seed=9)
    env.reset(seed=9)
    rng = np.random.default_rng(3)
    _, _, discrete, wide = SIZES[key]
    widths = wide if continuous else discrete
    for _ in range(25):
        for row, name in zip(env.get_obs(), theirs.possible_agents, strict=True):
            np.testing.assert_array_equal(row[: len(observations[name])], observations[name])
            assert not row[len(observations[name]) :].any()
        joint = random_actions(env, rng)
        parts = [
            row[:own].astype(np.float32) if continuous else int(row) for row, own in zip(joint, widths, strict=True)
        ]
        observations, rewards, *_ = theirs.step(dict(zip(theirs.possible_agents, parts, strict=True)))
        _, ours, *_ = env.step(joint)
        assert ours == [rewards[name] for name in theirs.possible_agents]


def test_last_reward_is_real_and_scalarised_as_asked() -> None:
    per_agent, total, mean = (
        make(common_reward=common, reward_scalarisation=how)
        for common, how in ((False, "sum"), (True, "sum"), (True, "mean"))
    )
    rng = np.random.default_rng(0)
    for env in (per_agent, total, mean):
        env.reset(seed=4)
    for _ in range(25):
        actions = random_actions(per_agent, rng)
        _, rewards, *_ = per_agent.step(actions)
        assert isinstance(rewards, list)
        assert total.step(actions)[1] == pytest.approx(sum(rewards), abs=1e-12)
        assert mean.step(actions)[1] == pytest.approx(sum(rewards) / 3, abs=1e-12)
    assert np.all(np.asarray(rewards) != 0)


@pytest.mark.parametrize("continuous", [True, False])
def test_tensors_and_arrays_are_the_same_action(continuous: bool) -> None:
    rng = np.random.default_rng(0)
    env = make(continuous_actions=continuous)
    actions = random_actions(env, rng)
    column = actions[:, None]
    other = [th.tensor(actions, requires_grad=True)] if continuous else [column, th.as_tensor(column)]
    forms = [actions, th.as_tensor(actions), *other]
    results = []
    for form in forms:
        env.reset(seed=1)
        results.append((env.step(form)[1], env.get_state().tolist()))
    assert all(result == results[0] for result in results)


def test_seeds_decide_the_start() -> None:
    env = make(seed=3)
    env.reset()
    first = env.get_state()
    env.reset()
    assert not np.array_equal(first, env.get_state())
    env.reset(seed=3)
    np.testing.assert_array_equal(first, env.get_state())
    assert env.seed(3) == 3
    env.reset()
    np.testing.assert_array_equal(first, env.get_state())


def test_discrete_moves_follow_mpe2() -> None:
    env = make(continuous_actions=False)
    moves = []
    for action in range(5):
        env.reset(seed=0)
        before = env.get_obs()[0][2:4]
        env.step(np.array([action, 0, 0]))
        moves.append(env.get_obs()[0][2:4] - before)
    expected = np.array([[0, 0], [-0.05, 0], [0.05, 0], [0, -0.05], [0, 0.05]])
    np.testing.assert_allclose(np.stack(moves), expected, atol=1e-5)


def test_replay_is_an_animated_gif(tmp_path: Path) -> None:
    path = tmp_path / "new" / "replay.gif"
    env = make(seed=0, time_limit=5, render_mode="rgb_array", replay_path=str(path))
    rng = np.random.default_rng(0)
    for _ in range(2):  # the first episode's frames do not end up in the second one's file
        env.reset()
        for _ in range(5):
            env.step(random_actions(env, rng))
    frame = env.render()
    assert frame is not None and frame.shape == (700, 700, 3) and frame.dtype == np.uint8
    env.save_replay()
    with Image.open(path) as image:
        assert image.format == "GIF"
        assert getattr(image, "n_frames", 1) == 6
        assert image.info["duration"] == 100
    assert [file.name for file in path.parent.iterdir()] == ["replay.gif"]
    env.close()


def test_a_replay_is_written_through_no_link_with_a_name_that_can_be_guessed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    for name in (".replay.gif.partial", ".replay.gif.tmp", "replay.gif"):
        (tmp_path / name).symlink_to(tmp_path / "victim")
    write_gif(tmp_path / "replay.gif", [np.zeros((4, 4, 3), np.uint8)] * 2)
    assert (tmp_path / "victim").read_text() == "mine" and not (tmp_path / "replay.gif").is_symlink()


def test_closing_one_environment_leaves_another_able_to_render() -> None:
    first, second = (make("simple_speaker_listener_v4", render_mode="rgb_array", seed=0) for _ in range(2))
    first.reset()
    first.close()
    second.reset()
    assert second.render() is not None


def test_arguments_of_mpe2_pass_through() -> None:
    assert make("simple_spread_v3", N=2).n_agents == 2
    with pytest.raises(EnvError, match="local_ratio is a proportion"):
        make("simple_spread_v3", local_ratio=2.0)


@pytest.mark.parametrize(
    ("env_args", "sentence"),
    [
        ({"key": "simple_spred"}, "did you mean 'simple_spread'.*simple_tag_v3"),
        ({"key": "simple_tga"}, "did you mean 'simple_tag'"),
        ({"key": None}, "known: .*simple_spread, "),
        ({"time_limt": 3}, "env_args.time_limt is no argument of simple_spread; did you mean 'time_limit'"),
        ({"time_limit": 0}, "at least 1"),
        ({"render_mode": "ansi"}, "rgb_array"),
        ({"reward_scalarisation": "max"}, "sum, mean"),
    ],
)
def test_bad_arguments_are_one_sentence(env_args: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EnvError, match=sentence) as caught:
        make(**{"key": "simple_spread", **env_args})
    assert "\n" not in str(caught.value)


def test_bad_use_is_one_sentence() -> None:
    env = make()
    with pytest.raises(EnvError, match="call reset"):
        env.get_obs()
    with pytest.raises(EnvError, match="render_mode=rgb_array"):
        env.render()
    with pytest.raises(EnvError, match="render_mode=rgb_array"):
        env.save_replay()
    env.reset()
    with pytest.raises(EnvError, match=r"shape \(3, 2\), not \(3, 5\)"):
        env.step(np.zeros((3, 5)))
    with pytest.raises(EnvError, match="not finite"):
        env.step(np.full((3, 2), np.inf))
    speaker = make("simple_speaker_listener_v4", continuous_actions=False)
    speaker.reset()
    with pytest.raises(EnvError, match="agent 0 has actions 0 to 2, but got 4"):
        speaker.step(np.array([4, 4]))
    with pytest.raises(EnvError, match="must be integers"):
        speaker.step(np.array([0.5, 1.0]))


def test_the_configuration_says_which_actions_there_are() -> None:
    widths = []
    for continuous in (True, False):
        made = [make(key, continuous_actions=continuous) for key in environment_keys() if key not in OWN_KEYS]
        widths.append([sum(own) for env in made for own in env.get_avail_actions()])
    (fewest, most), (least, largest) = ((min(own), max(own)) for own in widths)
    said = f"mpe2's own keys: {fewest} to {most} numbers in [0, 1] or one of {least} to {largest} choices"
    assert said in (CONFIG / "envs" / "mpe.yaml").read_text()
