"""Predator-Prey and World: the vectorised environments against the scenarios on mpe2, and known answers."""

from pathlib import Path

import numpy as np
import pytest
import torch as th
from safetensors.numpy import save_file

from envs import REGISTRY, make_vector_env
from envs.mpe import tasks
from envs.mpe.particle_env import ParticleEnv
from envs.mpe.prey import load_prey
from envs.mpe.pursuit_twin import PursuitTwin
from envs.mpe.simple_tag import TagEnv
from envs.mpe.simple_world import WorldEnv
from utils.errors import EnvError

ENVS: dict[str, type[ParticleEnv]] = {"simple_tag": TagEnv, "simple_world": WorldEnv}
PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "omar_prey"
KEYS = pytest.mark.parametrize("key", list(ENVS))
CONTROL = pytest.mark.parametrize("control", ["predators", "prey"])


def set_world(env: ParticleEnv, positions: np.ndarray, velocities: np.ndarray, landmarks: np.ndarray) -> None:
    for i, agent in enumerate(env.world.agents):
        agent.state.p_pos, agent.state.p_vel = positions[i].copy(), velocities[i].copy()
    for i, landmark in enumerate(env.world.landmarks):
        landmark.state.p_pos = landmarks[i].copy()


def seen(env: ParticleEnv) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positions and velocities of all bodies, observations and rewards of those that learn, in float64."""
    bodies, acting = env.world.agents, env.world.policy_agents
    return (
        np.array([body.state.p_pos for body in bodies]),
        np.array([body.state.p_vel for body in bodies]),
        np.array([env.scenario.observation(agent, env.world) for agent in acting]),
        np.array([env.rewards[agent.name] for agent in acting]),
    )


@KEYS
@CONTROL
def test_both_are_equal_through_whole_episodes(key: str, control: str) -> None:
    """Every second episode starts crowded, so that bodies, obstacles, food and forests are touched."""
    n_episodes, rng = 60, np.random.default_rng(0)
    twin = PursuitTwin(n_episodes, key=key, control=control)
    scale = np.where(np.arange(n_episodes) % 2 == 0, 1.0, 0.3)[:, None, None]
    shape = (n_episodes, len(twin.task.sizes), 2)
    start = rng.uniform(-1, 1, shape) * scale, rng.uniform(-1, 1, shape), None
    marks = rng.uniform(-0.9, 0.9, (n_episodes, len(twin.task.landmark_sizes), 2)) * scale
    twin.set_world_state(start[0], start[1], marks)
    actions = rng.uniform(-1, 1, (25, n_episodes, twin.n_agents, 2))
    ours = []
    for joint in actions:
        reward, *_ = twin.step(joint)
        positions, velocities, _ = twin.get_world_state()
        ours.append((positions, velocities, twin.get_obs_exact(), reward))
    hits = obstacles = fast = 0
    env = ENVS[key](control=control)
    for episode in range(n_episodes):
        env.reset(seed=0)
        set_world(env, start[0][episode], start[1][episode], marks[episode])
        for t in range(25):
            for row in actions[t, episode]:
                env.step(row)
            theirs = seen(env)
            for name, values, expected in zip(("pos", "vel", "obs", "reward"), ours[t], theirs, strict=True):
                np.testing.assert_allclose(values[episode], expected, rtol=0, atol=1e-9, err_msg=f"{name} at {t}")
            gaps = np.linalg.norm(theirs[0][:3] - theirs[0][3], axis=1)
            hits += int((gaps < twin.task.sizes[0] + twin.task.sizes[3]).sum())
            obstacles += int((np.linalg.norm(theirs[0] - marks[episode, 0], axis=1) < 0.27).sum())
            fast += int((np.linalg.norm(theirs[1][:3], axis=1) > 1 - 1e-9).sum())
        assert set(env.truncations.values()) == {True}
        assert set(env.terminations.values()) == {False}
    assert min(hits, obstacles, fast) > 20, "the episodes must touch everything that they compare"
    if key == "simple_world" and control == "predators":
        flags = np.concatenate([step[2][..., -2:] for step in ours])
        assert {-1.0, 1.0} == set(np.unique(flags))


@KEYS
@CONTROL
def test_equal_seeds_give_equal_episodes_behind_the_wrapper(key: str, control: str) -> None:
    arguments = {"key": key, "control": control}
    seeds, rng = [3, 0, 77], np.random.default_rng(1)
    twin = make_vector_env("mpe", 3, arguments, common_reward=False, reward_scalarisation="sum")
    assert isinstance(twin, PursuitTwin)
    env = REGISTRY["mpe"](**arguments, common_reward=False)
    assert env.get_env_info() == twin.get_env_info()
    twin.reset(seeds)
    actions = rng.uniform(-1, 1, (25, 3, twin.n_agents, 2)).astype(np.float32)
    rows = [(twin.get_obs(), twin.get_state(), np.zeros((3, twin.n_agents)))]
    for joint in actions:
        reward, *_ = twin.step(joint)
        rows.append((twin.get_obs(), twin.get_state(), reward))
    for i, seed in enumerate(seeds):
        env.reset(seed=seed)
        for t in range(26):
            paid = env.step(actions[t - 1, i])[1] if t else [0.0] * twin.n_agents
            for ours, theirs in zip(rows[t], (np.stack(env.get_obs()), env.get_state(), paid), strict=True):
                np.testing.assert_allclose(ours[i], theirs, rtol=0, atol=1e-5)


def test_rewards_known_by_hand() -> None:
    still, marks = np.zeros((1, 4, 2)), np.full((1, 2, 2), 50.0) + np.arange(2)[None, :, None] * 9
    twin = PursuitTwin(1, key="simple_tag")
    bodies = np.array([[[0.11, 0.0], [3.0, 0.0], [0.0, 4.0], [0.0, 0.0]]])
    twin.set_world_state(bodies, still, marks)
    paid, *_ = twin.step(np.zeros((1, 3, 2)))
    positions = twin.get_world_state()[0][0]
    gaps = np.linalg.norm(positions[:3] - positions[3], axis=1)
    expected = 10.0 * (gaps < 0.125).sum() - 0.1 * gaps.sum()
    np.testing.assert_allclose(paid, [[expected] * 3], atol=1e-12)


def test_no_body_is_faster_than_its_limit() -> None:
    twin = PursuitTwin(50, key="simple_tag", seed=0)
    twin.reset()
    for _ in range(25):
        twin.step(np.ones((50, 3, 2)))
        speed = np.linalg.norm(twin.get_world_state()[1], axis=-1)
        assert (speed <= np.array(tasks.TAG.max_speeds) + 1e-12).all()
    assert speed[:, :3].max() > 1 - 1e-9


@pytest.mark.parametrize(("key", "mean"), [("simple_tag", -4.13), ("simple_world", -6.83)])
def test_uniform_predators_against_the_published_prey_score_as_published(key: str, mean: float, tmp_path: Path) -> None:
    from deployment.prey import write_prey

    source = PUBLISHED / key / "pretrained_adv_model.pt"
    if not source.is_file():
        pytest.skip(f"the published prey is not here: {source}")
    file = tmp_path / "prey.safetensors"
    write_prey(str(source), key, str(file))
    twin, rng = PursuitTwin(10_000, key=key, seed=0, prey=str(file)), np.random.default_rng(1)
    twin.reset()
    returns = sum(twin.step(rng.uniform(-1, 1, (10_000, 3, 2)))[0][:, 0] for _ in range(25))
    assert abs(returns.mean() - mean) < 3 * returns.std() / 100
    content = th.load(source, weights_only=True, map_location="cpu")["agent_params"][3]["policy"]
    obs = np.random.default_rng(2).normal(size=(5, content["fc1.weight"].shape[1]))
    x = th.nn.functional.batch_norm(
        th.tensor(obs), *(content[f"in_fn.{name}"].double() for name in ("running_mean", "running_var")),
        *(content[f"in_fn.{name}"].double() for name in ("weight", "bias")),
    )  # fmt: skip
    for i in (1, 2):
        x = th.relu(x @ content[f"fc{i}.weight"].double().T + content[f"fc{i}.bias"].double())
    theirs = th.tanh(x @ content["fc3.weight"].double().T + content["fc3.bias"].double())
    np.testing.assert_allclose(load_prey(key, str(file), obs.shape[1]).act(obs), theirs.numpy(), atol=1e-9)


def layers(width: int, n_out: int = 2) -> dict[str, np.ndarray]:
    sizes = [(8, width), (8, 8), (n_out, 8)]
    return {f"{i}.weight": np.ones(size) for i, size in enumerate(sizes)} | {
        f"{i}.bias": np.zeros(size[0]) for i, size in enumerate(sizes)
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (layers(22), "is it another task's"),
        (layers(14, n_out=3), "2 actions"),
        ({**layers(14), "0.bias": np.full(8, np.nan)}, "finite"),
        ({"other": np.zeros(3)}, "no policy of a prey"),
        (b"damaged", "no safetensors file"),
        (None, "there is no file"),
    ],
)
def test_a_wrong_prey_is_refused_in_one_sentence(content: dict | bytes | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "prey.safetensors"
    if isinstance(content, dict):
        save_file(content, file)
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(EnvError, match=words) as caught:
        PursuitTwin(1, prey=str(file))
    assert "\n" not in str(caught.value)


def test_a_pickle_is_refused_and_never_read(tmp_path: Path) -> None:
    th.save({"a": th.zeros(1)}, tmp_path / "prey.pt")
    with pytest.raises(EnvError, match="policy.py prey"):
        PursuitTwin(1, prey=str(tmp_path / "prey.pt"))
    with pytest.raises(EnvError, match="control"):
        PursuitTwin(1, control="everyone")
