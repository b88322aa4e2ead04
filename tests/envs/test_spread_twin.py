"""The NumPy twin against the scenario on mpe2, against hand-computed answers and against the published statistics."""

import numpy as np
import pytest
import torch as th

from envs import REGISTRY
from envs.mpe.particle_env import ParticleWorld
from envs.mpe.simple_spread import SpreadEnv
from envs.mpe.spread_twin import SpreadTwin
from utils.errors import EnvError

N_EPISODES = 300
FAR = np.full((1, 3, 2), 50.0) + np.arange(3)[None, :, None]  # landmarks far away and apart


def squeezed_starts(rng: np.random.Generator, n_episodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random worlds; in every second one the agents start within a small box, so that they collide at once."""
    scale = np.where(np.arange(n_episodes) % 2 == 0, 1.0, 0.2)[:, None, None]
    positions = rng.uniform(-1, 1, (n_episodes, 3, 2)) * scale
    return positions, rng.uniform(-1, 1, (n_episodes, 3, 2)), rng.uniform(-1, 1, (n_episodes, 3, 2))


def set_world(world: ParticleWorld, positions: np.ndarray, velocities: np.ndarray, landmarks: np.ndarray) -> None:
    for i, agent in enumerate(world.agents):
        agent.state.p_pos, agent.state.p_vel = positions[i].copy(), velocities[i].copy()
    for i, landmark in enumerate(world.landmarks):
        landmark.state.p_pos = landmarks[i].copy()


def step_scenario(env: SpreadEnv, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One step of mpe2's environment in float64: positions, velocities, observations and rewards of the N agents."""
    for row in actions:
        env.step(row)
    agents = env.world.agents
    return (
        np.array([agent.state.p_pos for agent in agents]),
        np.array([agent.state.p_vel for agent in agents]),
        np.array([env.scenario.observation(agent, env.world) for agent in agents]),
        np.array([env.rewards[agent.name] for agent in agents]),
    )


def test_twin_equals_the_scenario_through_whole_episodes_with_collisions() -> None:
    rng = np.random.default_rng(0)
    starts = squeezed_starts(rng, N_EPISODES)
    actions = rng.uniform(-1, 1, (25, N_EPISODES, 3, 2))
    twin = SpreadTwin(N_EPISODES)
    twin.set_world_state(*starts)
    ours: dict[str, list[np.ndarray]] = {"pos": [], "vel": [], "obs": [], "reward": []}
    for joint in actions:
        centre = -2 * twin.get_world_state()[0][::4]  # every fourth episode's agents keep running into each other
        joint[::4] = np.clip(joint[::4] + centre, -1, 1)
        reward, *_ = twin.step(joint)
        positions, velocities, _ = twin.get_world_state()
        for key, value in zip(ours, (positions, velocities, twin.get_obs_exact(), reward), strict=True):
            ours[key].append(value)

    env = SpreadEnv()
    collisions = 0
    for episode in range(N_EPISODES):
        env.reset(seed=0)
        set_world(env.world, *(part[episode] for part in starts))
        for t in range(25):
            theirs = step_scenario(env, actions[t, episode])
            for (key, values), expected in zip(ours.items(), theirs, strict=True):
                np.testing.assert_allclose(values[t][episode], expected, rtol=0, atol=1e-9, err_msg=f"{key} at {t}")
            gaps = theirs[0][[0, 0, 1]] - theirs[0][[1, 2, 2]]
            collisions += int((np.hypot(*gaps.T) < 0.3).sum())
        assert set(env.truncations.values()) == {True}
        assert set(env.terminations.values()) == {False}
    assert collisions > N_EPISODES


@pytest.mark.parametrize("continuous", [True, False])
def test_twin_equals_the_wrapper_from_equal_seeds(continuous: bool) -> None:
    rng = np.random.default_rng(1)
    seeds = [3, 0, 2**31, 77]
    twin = SpreadTwin(8, continuous_actions=continuous, common_reward=False)
    twin.reset(seeds)
    env = REGISTRY["mpe"](key="simple_spread", continuous_actions=continuous, common_reward=False)
    assert env.get_env_info() == twin.get_env_info()
    wide = rng.uniform(-1.2, 1.2, (25, 4, 3, 2)).astype(np.float32)  # beyond the bounds: both clip
    actions = wide if continuous else rng.integers(0, 5, (25, 4, 3))
    rows = [(twin.get_obs(), twin.get_state(), np.zeros((4, 3)))]
    for joint in actions:
        reward, terminated, truncated, infos = twin.step(joint)
        rows.append((twin.get_obs(), twin.get_state(), reward))
        assert not terminated.any() and (truncated == infos["episode_limit"]).all()
    assert truncated.all()
    for i, seed in enumerate(seeds):
        env.reset(seed=seed)
        np.testing.assert_array_equal(np.stack(env.get_obs()), rows[0][0][i])
        for t in range(25):
            _, rewards, *_ = env.step(actions[t, i])
            obs, state, reward = rows[t + 1]
            np.testing.assert_allclose(obs[i], np.stack(env.get_obs()), rtol=0, atol=1e-6)
            np.testing.assert_allclose(state[i], env.get_state(), rtol=0, atol=1e-6)
            np.testing.assert_allclose(reward[i], rewards, rtol=0, atol=1e-6)


def test_unseeded_resets_continue_the_stream_of_env_args_seed() -> None:
    twin = SpreadTwin(3, seed=5)
    env = REGISTRY["mpe"](key="simple_spread", seed=5)
    for _ in range(2):
        twin.reset()
        for i in range(3):
            env.reset()
            np.testing.assert_array_equal(twin.get_obs()[i], np.stack(env.get_obs()))


def test_agents_move_with_the_new_velocity() -> None:
    twin = SpreadTwin(1)
    positions = np.array([[[0.0, 0.0], [5.0, 5.0], [-5.0, 5.0]]])
    velocities = np.array([[[0.4, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    twin.set_world_state(positions, velocities, FAR)
    twin.step(np.array([[[1.0, -0.5], [0.0, 0.0], [0.0, 0.0]]]))
    after, speed, _ = twin.get_world_state()
    np.testing.assert_allclose(speed[0, 0], [0.75 * 0.4 + 0.1 * 5, -0.25], atol=1e-12)
    np.testing.assert_allclose(after[0, 0], [0.08, -0.025], atol=1e-12)


def test_contact_pushes_apart_with_a_hundred_times_the_depth() -> None:
    twin = SpreadTwin(1)
    positions = np.array([[[0.0, 0.0], [0.2, 0.0], [9.0, 9.0]]])
    twin.set_world_state(positions, np.zeros((1, 3, 2)), FAR)
    twin.step(np.zeros((1, 3, 2)))
    _, speed, _ = twin.get_world_state()
    np.testing.assert_allclose(speed[0], [[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], atol=1e-12)  # depth 0.1, force 10


def test_rewards_known_by_hand() -> None:
    still = np.zeros((1, 3, 2))
    apart = np.array([[[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]]])
    twin = SpreadTwin(1)
    twin.set_world_state(apart, still, apart + np.array([0.05, 0.0]))  # nearer than 0.1: each pays the most there is
    np.testing.assert_allclose(twin.step(still)[0], [[30.0, 30.0, 30.0]], atol=1e-9)
    twin.set_world_state(apart, still, apart + np.array([0.5, 0.0]))
    np.testing.assert_allclose(twin.step(still)[0], [[6.0, 6.0, 6.0]], atol=1e-9)
    # The middle one of three in a row touches both others. Contact alone would part them within the step (0.05 of
    # depth is 5 of force is 0.05 of way), so the outer two come in with a speed of 1, which is 0.075 of way.
    row = np.array([[[0.0, 0.0], [0.25, 0.0], [0.5, 0.0]]])
    inward = np.array([[[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]]])
    twin.set_world_state(row, inward, row + np.array([0.0, 100.0]))
    cover = 3 / 100.0
    np.testing.assert_allclose(twin.step(still)[0], [[cover - 5, cover - 10, cover - 5]], atol=1e-3)


def test_agents_on_the_same_spot_stay_finite_in_both() -> None:
    still = np.zeros((1, 3, 2))
    twin = SpreadTwin(1)
    twin.set_world_state(still, still, FAR)
    reward, *_ = twin.step(still)
    env = SpreadEnv()
    env.reset(seed=0)
    set_world(env.world, still[0], still[0], FAR[0])
    positions, _, _, theirs = step_scenario(env, still[0])
    np.testing.assert_array_equal(positions, still[0])
    np.testing.assert_allclose(reward[0], theirs, atol=1e-9)
    assert np.isfinite(twin.get_obs()).all()


def test_uniform_random_return_is_the_published_one() -> None:
    n_episodes = 4000
    rng = np.random.default_rng(11)
    twin = SpreadTwin(n_episodes, seed=12)
    twin.reset()
    returns = np.zeros(n_episodes)
    for _ in range(25):
        reward, *_ = twin.step(rng.uniform(-1, 1, (n_episodes, 3, 2)))
        returns += reward.mean(axis=1)
    assert abs(returns.mean() - 159.57) < 3 * 60.46 / np.sqrt(n_episodes)
    assert abs(returns.std() - 60.46) < 3.0


def test_fewer_episodes_than_places_and_tensors() -> None:
    twin = SpreadTwin(16, seed=0)
    for n_seeds in (4, 16, 1):
        twin.reset(range(n_seeds))
        reward, terminated, *_ = twin.step(th.zeros(n_seeds, 3, 2, requires_grad=True))
        assert reward.shape == (n_seeds, 3) and reward.dtype == np.float64 and terminated.shape == (n_seeds,)
        assert twin.get_obs().shape == (n_seeds, 3, 18) and twin.get_obs().dtype == np.float32
        assert twin.get_state().shape == (n_seeds, 54)
        assert twin.get_avail_actions().shape == (n_seeds, 3, 2)


def test_an_episode_does_not_depend_on_its_neighbours() -> None:
    actions = np.random.default_rng(4).uniform(-1, 1, (25, 37, 3, 2))
    together, alone = SpreadTwin(37), SpreadTwin(1)
    together.reset(range(37))
    alone.reset([29])
    for joint in actions:
        reward, *_ = together.step(joint)
        np.testing.assert_array_equal(alone.step(joint[29:30])[0][0], reward[29])
    np.testing.assert_array_equal(alone.get_obs_exact()[0], together.get_obs_exact()[29])


def test_observations_are_not_overwritten_by_later_steps() -> None:
    twin = SpreadTwin(2, seed=0)
    twin.reset()
    first = twin.get_obs()
    copy = first.copy()
    twin.step(np.ones((2, 3, 2)))
    assert twin.get_obs() is not first
    np.testing.assert_array_equal(first, copy)


def test_scalarisation() -> None:
    reward = np.array([[1.0, 2.0, 6.0]])
    np.testing.assert_array_equal(SpreadTwin(1, reward_scalarisation="sum").scalarise(reward), [9.0])
    np.testing.assert_array_equal(SpreadTwin(1, reward_scalarisation="mean").scalarise(reward), [3.0])
    np.testing.assert_array_equal(SpreadTwin(1, common_reward=False).scalarise(reward), reward)


def test_single_precision_physics_stays_close() -> None:
    actions = np.random.default_rng(2).uniform(-1, 1, (25, 64, 3, 2))
    obs = []
    for dtype in ("float64", "float32"):
        twin = SpreadTwin(64, dtype=dtype)
        twin.reset(range(64))
        for joint in actions:
            twin.step(joint)
        obs.append(twin.get_obs())
    assert np.median(np.abs(obs[0] - obs[1])) < 1e-5


def test_misuse_is_one_sentence() -> None:
    twin = SpreadTwin(2, seed=0, time_limit=1)
    with pytest.raises(EnvError, match="call reset first"):
        twin.step(np.zeros((2, 3, 2)))
    with pytest.raises(EnvError, match="not 3"):
        twin.reset([1, 2, 3])
    with pytest.raises(EnvError, match="negative"):
        twin.reset([-1])
    twin.reset()
    with pytest.raises(EnvError, match=r"shape \(2, 3, 2\), not \(2, 3\)"):
        twin.step(np.zeros((2, 3)))
    with pytest.raises(EnvError, match="not finite"):
        twin.step(np.full((2, 3, 2), np.nan))
    twin.step(np.zeros((2, 3, 2)))
    with pytest.raises(EnvError, match="time limit"):
        twin.step(np.zeros((2, 3, 2)))
    moves = SpreadTwin(1, seed=0, continuous_actions=False)
    moves.reset()
    with pytest.raises(EnvError, match="agent 1 has actions 0 to 4, but got 5"):
        moves.step(np.array([[0, 5, 0]]))
