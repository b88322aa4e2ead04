"""The matrix games: payoffs, the constant state, the time limit, and what is refused."""

import numpy as np
import pytest

from envs import REGISTRY, VECTOR_REGISTRY
from envs.matrix_game import PAYOFFS, MatrixGameEnv
from utils.errors import EnvError


def test_xor_pays_agents_that_differ() -> None:
    env = MatrixGameEnv(key="xor", reward_scalarisation="mean")
    env.reset()
    for joint, reward in {(0, 0): 0.0, (0, 1): 1.0, (1, 0): 1.0, (1, 1): -2.0}.items():
        assert env.step(joint)[1] == reward


def test_the_penalty_game_pays_in_two_corners_and_charges_on_the_borders() -> None:
    payoffs = PAYOFFS["penalty"]
    assert payoffs[0, 0] == payoffs[3, 3] == 1 == payoffs.max()
    assert (payoffs[0, 1:] == -2).all() and (payoffs[:3, 3] == -2).all()
    assert (payoffs[1:, 0] == -1).all() and (payoffs[3, :3] == -1).all()
    assert not payoffs[1:3, 1:3].any()
    env = MatrixGameEnv(key="penalty", reward_scalarisation="mean")
    env.reset()
    assert env.get_env_info()["n_actions"] == 4
    assert env.step([3, 3])[1] == 1 and env.step([0, 3])[1] == -2 and env.step([3, 0])[1] == -1


def test_the_state_is_one_and_episodes_are_cut_and_never_terminal() -> None:
    env = MatrixGameEnv(episode_limit=3, common_reward=False)
    observations, _ = env.reset(seed=5)
    for t in range(3):
        np.testing.assert_array_equal(observations, [[0, 1, 0, 1]] * 2)
        np.testing.assert_array_equal(env.get_state(), [0, 1, 0, 1])
        observations, reward, terminated, truncated, info = env.step(np.array([[0], [1]]))
        assert reward == [1.0, 1.0] and not terminated
        assert truncated == (t == 2) == info["episode_limit"]
    with pytest.raises(EnvError, match="call reset first"):
        env.step([0, 1])
    assert env.get_env_info() == {
        "state_shape": 4, "obs_shape": 4, "n_actions": 2, "n_agents": 2, "episode_limit": 3, "action_space": "discrete",
        "available": "all",
    }  # fmt: skip
    assert env.get_avail_actions() == [[1, 1], [1, 1]] and MatrixGameEnv().episode_limit == 50


def test_the_team_is_paid_once_by_mean_and_twice_by_sum() -> None:
    for scalarisation, reward in (("mean", 1.0), ("sum", 2.0)):
        env = MatrixGameEnv(reward_scalarisation=scalarisation)
        env.reset()
        assert env.step([1, 0])[1] == reward


@pytest.mark.parametrize(
    ("env_args", "message"),
    [
        ({"key": "xro"}, "did you mean 'xor'"),
        ({"episode_limit": 0}, "env_args.episode_limit must be a whole number of at least 1"),
        ({"episode_limits": 3}, "did you mean 'episode_limit'"),
        ({"render_mode": "rgb_array"}, "cannot be drawn: leave out render=True and env_args.render_mode"),
        ({"reward_scalarisation": "max"}, "reward_scalarisation must be one of"),
    ],
)
def test_bad_arguments_are_refused_by_name(env_args: dict, message: str) -> None:
    with pytest.raises(EnvError, match=message):
        REGISTRY["matrix_game"](**env_args)


def test_actions_it_does_not_have_and_pictures_are_refused() -> None:
    env = MatrixGameEnv()
    env.reset()
    with pytest.raises(EnvError, match="agent 1 has actions 0 to 1, but got 2"):
        env.step([0, 2])
    for draw in (env.render, env.save_replay):
        with pytest.raises(EnvError, match="leave out render=True"):
            draw()


def test_many_episodes_in_a_loop() -> None:
    vector = VECTOR_REGISTRY["matrix_game"](3, key="xor", episode_limit=2, seed=0)
    vector.reset()
    reward, terminated, truncated, _ = vector.step(np.array([[0, 0], [0, 1], [1, 1]]))
    np.testing.assert_array_equal(reward, [[0, 0], [1, 1], [-2, -2]])
    assert not terminated.any() and not truncated.any()
