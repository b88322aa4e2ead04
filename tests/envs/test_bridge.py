"""Bridge: its rules case by case, its tables against the known values, and the environment against its tables."""

import numpy as np
import pytest

from envs import REGISTRY, VECTOR_REGISTRY
from envs.bridge import CELLS, STARTS, BridgeEnv, Places, bridge_tables, state_index, transition
from utils.errors import EnvError

STAY, UP, DOWN, RIGHT, LEFT = range(5)
START = state_index(STARTS[True])


def values(horizon: int, gamma: float = 1.0, uniform: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Q (196, 25) and V (196,) with `horizon` steps to go, optimal or of uniformly random agents; the last pays 0."""
    tables = bridge_tables()
    value = np.zeros(len(tables.states))
    for to_go in range(1, horizon + 1):
        reward = tables.reward if to_go > 1 else 0.0
        q = reward + gamma * np.where(tables.done, 0.0, value[tables.next_state])
        value = q.mean(1) if uniform else q.max(1)
    return q, value


@pytest.mark.parametrize(
    ("places", "actions", "after"),
    [
        (((1, 2), (1, 3)), (RIGHT, LEFT), ((1, 2), (1, 3))),  # an exchange
        (((1, 2), (1, 3)), (RIGHT, STAY), ((1, 2), (1, 3))),  # onto one that stays
        (((1, 2), (1, 3)), (RIGHT, UP), ((1, 2), (1, 3))),  # onto one that a wall keeps
        (((1, 2), (1, 3)), (STAY, LEFT), ((1, 2), (1, 3))),
        (((1, 2), (1, 3)), (RIGHT, RIGHT), ((1, 3), (1, 4))),  # following
        (((1, 2), (1, 3)), (LEFT, LEFT), ((1, 1), (1, 2))),
        (((1, 2), (1, 4)), (RIGHT, LEFT), ((1, 3), (1, 4))),  # one cell: agent 0 has it
        (((0, 1), (2, 4)), (RIGHT, LEFT), ((0, 1), (2, 4))),  # walls
        (((0, 4), (2, 0)), (UP, DOWN), ((0, 4), (2, 0))),  # the map's edge
        (((2, 5), (1, 5)), (LEFT, DOWN), ((2, 5), (2, 5))),  # one on its goal is in nobody's way and stays
        (((2, 4), (2, 5)), (RIGHT, STAY), ((2, 5), (2, 5))),  # nothing stops agent 0 on its way onto its goal
        (((2, 4), (2, 5)), (RIGHT, LEFT), ((2, 5), (2, 4))),
        (((2, 4), (1, 5)), (RIGHT, DOWN), ((2, 5), (1, 5))),
        (((0, 0), (0, 1)), (STAY, LEFT), ((0, 0), (0, 0))),  # nor agent 1, but for a move of agent 0's
        (((0, 0), (0, 1)), (RIGHT, LEFT), ((0, 0), (0, 1))),
        (((1, 0), (0, 1)), (UP, LEFT), ((0, 0), (0, 1))),
    ],
)
def test_moves_and_what_cancels_them(places: Places, actions: tuple[int, int], after: Places) -> None:
    assert transition(places, actions) == after


def test_the_tables_are_a_game_of_196_states() -> None:
    tables = bridge_tables()
    assert len(CELLS) == 14 and tables.next_state.shape == tables.reward.shape == tables.done.shape == (196, 25)
    assert tables.states[START].tolist() == [1, 2, 2, 5, 1, 3, 0, 0]
    assert len(np.unique(tables.states, axis=0)) == 196
    assert tables.reward.max() == 0 and not tables.reward[tables.done].any()
    assert tables.reward[START, 0] == pytest.approx(-0.1 * 10**0.5)  # both stay, sqrt(10) away
    home = state_index(((2, 5), (0, 0)))
    assert (tables.next_state[home] == home).all() and tables.done[home].all()
    assert not tables.reward.flags.writeable


@pytest.mark.parametrize("horizon", [20, 50])
def test_value_iteration_finds_the_known_optimum_in_two_modes(horizon: int) -> None:
    q, value = values(horizon)
    assert value[START] == pytest.approx(-1.23545, abs=1e-5)
    best = np.flatnonzero(q[START] > value[START] - 1e-9)
    assert best.tolist() == [5 * RIGHT + RIGHT, 5 * LEFT + LEFT]
    assert np.sort(q[START])[-3] == pytest.approx(-1.5517, abs=1e-4)
    discounted = values(horizon, gamma=0.99)[1][START]
    assert discounted == pytest.approx(-1.21215, abs=1e-5)


@pytest.mark.parametrize(("limit", "expected"), [(20, -6.0083), (50, -15.4952)])
def test_agents_that_insist_block_each_other(limit: int, expected: float) -> None:
    env = BridgeEnv(episode_limit=limit, reward_scalarisation="mean")
    env.reset()
    total, truncated = 0.0, False
    while not truncated:
        _, reward, terminated, truncated, info = env.step([RIGHT, LEFT])
        assert not terminated and info["episode_limit"] == truncated
        assert isinstance(reward, float)
        total += reward
    assert total == pytest.approx(expected, abs=1e-4)
    assert reward == 0  # the step that ends an episode is not charged


@pytest.mark.parametrize(("limit", "published", "deviation"), [(20, -7.117, 1.04), (50, -17.60, 3.95)])
def test_uniform_agents_earn_what_the_tables_say(limit: int, published: float, deviation: float) -> None:
    """The environment's random returns lie within four standard errors of the exact mean, as the published one does."""
    exact = values(limit, uniform=True)[1][START]
    assert abs(exact - published) < 4 * deviation / 1000**0.5
    n_episodes, rng = 400, np.random.default_rng(0)
    vector = VECTOR_REGISTRY["bridge"](n_episodes, episode_limit=limit, reward_scalarisation="mean")
    vector.reset()
    returns = np.zeros(n_episodes)
    for _ in range(limit):
        reward, terminated, truncated, _ = vector.step(rng.integers(5, size=(n_episodes, 2, 1)))
        returns += vector.scalarise(reward)
    assert (terminated | truncated).all() and not (terminated & truncated).any()
    assert abs(returns.mean() - exact) < 4 * returns.std() / n_episodes**0.5
    assert returns.std() == pytest.approx(deviation, rel=0.2)


def test_the_environment_steps_through_the_tables_to_the_optimum() -> None:
    tables = bridge_tables()
    env = BridgeEnv(common_reward=False)
    env.reset()
    state, total, terminated, steps = START, 0.0, False, 0
    while not terminated:
        action = int(values(50 - steps)[0][state].argmax())
        observations, reward, terminated, truncated, _ = env.step(divmod(action, 5))
        assert reward == [tables.reward[state, action]] * 2 and not truncated
        state = tables.next_state[state, action]
        np.testing.assert_array_equal(observations, [tables.states[state]] * 2)
        total, steps = total + reward[0], steps + 1
    assert steps == 8 and total == pytest.approx(-1.23545, abs=1e-5)
    with pytest.raises(EnvError, match="call reset first"):
        env.step([0, 0])


def test_a_goal_reached_with_the_last_step_is_a_terminal_and_no_time_limit() -> None:
    env = BridgeEnv(episode_limit=8)
    env.reset()
    state, q = START, values(50)[0]
    for to_go in range(8, 0, -1):
        action = int(q[state].argmax())
        _, _, terminated, truncated, info = env.step(divmod(action, 5))
        state = bridge_tables().next_state[state, action]
        assert not truncated and terminated == (to_go == 1)
    assert info == {"episode_limit": False}


def test_starts_sizes_and_refusals() -> None:
    env = REGISTRY["bridge"](start_adjacent=False, seed=3)
    observations, _ = env.reset()
    np.testing.assert_array_equal(observations, [[1, 1, 2, 5, 1, 4, 0, 0]] * 2)
    assert env.get_env_info() == {
        "state_shape": 8, "obs_shape": 8, "n_actions": 5, "n_agents": 2, "episode_limit": 50,
        "action_space": "discrete", "available": "all",
    }  # fmt: skip
    with pytest.raises(EnvError, match="agent 0 has actions 0 to 4, but got 5"):
        env.step([5, 0])
    with pytest.raises(EnvError, match="env_args.time_limit is no argument of bridge"):
        REGISTRY["bridge"](time_limit=20)
