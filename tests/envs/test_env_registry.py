"""The registries: lazy imports, missing simulators, and vector environments against their parts."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs import REGISTRY, VECTOR_REGISTRY, MultiAgentEnv, SyncVectorEnv
from envs.mpe.spread_twin import SpreadTwin
from utils.errors import EnvError

SRC = Path(__file__).resolve().parents[2] / "src"


def test_importing_envs_and_running_the_twin_imports_no_simulator() -> None:
    code = (
        "import sys, envs\n"
        "twin = envs.VECTOR_REGISTRY['mpe'](2, key='simple_spread', seed=0)\n"
        "twin.reset([1, 2])\n"
        "bad = sorted({'mpe2', 'pygame', 'pettingzoo', 'gymnasium'} & set(sys.modules))\n"
        "sys.exit(f'imported {bad}' if bad else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SRC, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_missing_simulator_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpe2", None)
    with pytest.raises(EnvError, match="mpe2, which is not installed: pip install"):
        REGISTRY["mpe"](key="simple_spread")


def test_the_twin_is_used_where_it_can_be() -> None:
    args: dict[str, Any] = {"key": "simple_spread", "seed": 0, "time_limit": 5, "replay_path": "unused.gif"}
    assert isinstance(VECTOR_REGISTRY["mpe"](2, **args), SpreadTwin)
    assert isinstance(VECTOR_REGISTRY["mpe"](2, **args, render_mode="rgb_array"), SyncVectorEnv)
    with pytest.raises(EnvError, match="did you mean 'time_limit'"):
        VECTOR_REGISTRY["mpe"](2, key="simple_spread", time_limits=5)
    with pytest.raises(EnvError, match="did you mean 'simple_spread"):
        VECTOR_REGISTRY["mpe"](2, key="simple_sprea")


@pytest.mark.parametrize("continuous", [True, False])
@pytest.mark.parametrize("key", ["simple_spread_v3", "simple_speaker_listener_v4"])
def test_sync_vector_env_equals_its_parts(key: str, continuous: bool) -> None:
    args: dict[str, Any] = {"key": key, "continuous_actions": continuous, "time_limit": 6}
    vector = VECTOR_REGISTRY["mpe"](4, seed=0, reward_scalarisation="mean", **args)
    parts = [REGISTRY["mpe"](common_reward=False, **args) for _ in range(3)]
    assert isinstance(vector, SyncVectorEnv) and vector.get_env_info() == parts[0].get_env_info()
    vector.reset([5, 6, 7])
    for i, part in enumerate(parts):
        part.reset(seed=5 + i)
    rng = np.random.default_rng(0)
    n_agents, width = vector.n_agents, parts[0].get_total_actions()
    for t in range(6):
        joint = rng.uniform(0, 1, (3, n_agents, width)) if continuous else rng.integers(0, 3, (3, n_agents, 1))
        reward, terminated, truncated, infos = vector.step(joint)
        assert reward.shape == (3, n_agents) and vector.scalarise(reward).shape == (3,)
        assert not terminated.any() and (truncated == (t == 5)).all() and (infos["episode_limit"] == (t == 5)).all()
        for i, part in enumerate(parts):
            assert part.step(joint[i])[1] == reward[i].tolist()
            np.testing.assert_array_equal(np.stack(part.get_obs()), vector.get_obs()[i])
            np.testing.assert_array_equal(part.get_state(), vector.get_state()[i])
            assert part.get_avail_actions() == vector.get_avail_actions()[i].tolist()
    reward, _, truncated, _ = vector.step(joint)
    assert not reward.any() and truncated.all()
    vector.close()


def test_unseeded_sync_environments_differ_and_follow_seed_plus_i() -> None:
    vector = VECTOR_REGISTRY["mpe"](3, key="simple_spread_v3", seed=10)
    vector.reset()
    unseeded = vector.get_state()
    vector.reset([10, 11, 12])
    np.testing.assert_array_equal(unseeded, vector.get_state())
    assert not np.array_equal(unseeded[0], unseeded[1])


def test_sync_vector_env_freezes_episodes_that_ended_early() -> None:
    limits = (2, 4)

    def make_env(i: int) -> MultiAgentEnv:
        return REGISTRY["mpe"](key="simple_spread", time_limit=limits[i], common_reward=False)

    vector = SyncVectorEnv(2, make_env)
    with pytest.raises(EnvError, match="call reset first"):
        vector.get_obs()
    vector.reset([0, 1])
    ends, kept = [], []
    for _ in range(4):
        reward, _, truncated, infos = vector.step(np.ones((2, 3, 2)))
        ends.append(truncated.tolist())
        kept.append(reward[0].any())
        assert (infos["episode_limit"] == truncated).all()
    assert ends == [[False, False], [True, False], [True, False], [True, True]]
    assert kept == [True, True, False, False]


def test_sync_vector_env_takes_one_number_for_the_team() -> None:
    vector = SyncVectorEnv(1, lambda i: REGISTRY["mpe"](key="simple_spread", common_reward=True))
    vector.reset([0])
    reward = vector.step(np.zeros((1, 3, 2)))[0]
    assert vector.team_reward and reward.shape == (1, 3) and np.ptp(reward) == 0
