"""The gymma wrapper: keys, spaces, masks, agents that end early, time limits, seeds and processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs import REGISTRY, VECTOR_REGISTRY, MultiAgentEnv
from envs.process_env import ProcessVectorEnv
from envs.vector_env import stack_infos
from utils.errors import EnvError

SRC = Path(__file__).resolve().parents[2] / "src"
TOY = "tests.envs.toy_env"
FORAGING = "lbforaging:Foraging-5x5-2p-1f-v3"


def make(key: str, **env_args: Any) -> MultiAgentEnv:
    return REGISTRY["gymma"](key=key, **env_args)


def random_actions(env: MultiAgentEnv, rng: np.random.Generator) -> np.ndarray:
    if env.action_space == "continuous":
        return rng.uniform(env.action_low, env.action_high, (env.n_agents, env.get_total_actions()))
    return np.array([rng.choice(np.flatnonzero(avail)) for avail in env.get_avail_actions()])


def play(env: MultiAgentEnv, seed: int | None, actions_seed: int = 0) -> list[Any]:
    """One episode's states, rewards and flags."""
    rng = np.random.default_rng(actions_seed)
    env.reset(seed=seed)
    log: list[Any] = [env.get_state().tolist()]
    over = False
    while not over:
        _, reward, terminated, truncated, info = env.step(random_actions(env, rng))
        log.append((env.get_state().tolist(), reward, terminated, truncated, info))
        over = terminated or truncated
    return log


# ------------------------------------------------------------------------------------------------------------- sources


@pytest.mark.parametrize("continuous", [True, False])
@pytest.mark.parametrize("key", ["mpe2.simple_spread_v3", "pz-mpe-simple-spread-v3"])
def test_gymma_plays_what_mpe_plays(key: str, continuous: bool) -> None:
    gymma = make(key, continuous_actions=continuous, common_reward=False)
    mpe = REGISTRY["mpe"](key="simple_spread_v3", continuous_actions=continuous, common_reward=False)
    told = mpe.get_env_info()
    assert told.pop("available") == "all"  # of gymma's discrete environments masks may come in `info`
    assert {key: value for key, value in gymma.get_env_info().items() if key != "available"} == told
    assert play(gymma, 3) == play(mpe, 3)


def test_seeds_decide_an_episode_of_level_based_foraging() -> None:
    env, other = make(FORAGING, seed=7), make(FORAGING, seed=7)
    assert env.get_env_info() == {
        "state_shape": 18, "obs_shape": 9, "n_actions": 6, "n_agents": 2, "episode_limit": 50,
        "action_space": "discrete",
    }  # fmt: skip
    first = play(env, None)
    assert first == play(other, None) and first == play(env, 7)
    assert play(env, None) != first and play(env, 8) != first


def test_foraging_terminates_when_the_food_is_gone_and_is_cut_otherwise() -> None:
    """Its simulator calls its own limit a terminal state; a random policy on a small field meets both ends."""
    ends = {}
    env = make(FORAGING, time_limit=50, common_reward=False)
    for seed in range(60):
        *_, last = play(env, seed, seed)
        _, reward, terminated, truncated, info = last
        assert terminated is not truncated and info["episode_limit"] is truncated
        assert (sum(reward) > 0) is terminated  # one food: the reward is the end of it
        ends[terminated] = True
    assert set(ends) == {True, False}
    cut = make(FORAGING, time_limit=3)
    assert [entry[2:4] for entry in play(cut, 0)[1:]] == [(False, False), (False, False), (False, True)]


def test_foraging_in_a_vector_environment() -> None:
    vector = VECTOR_REGISTRY["gymma"](3, key=FORAGING, time_limit=5, seed=1)
    vector.reset()
    assert vector.get_obs().shape == (3, 2, 9) and vector.get_state().shape == (3, 18)
    parts = [make(FORAGING, time_limit=5, seed=1 + i) for i in range(3)]
    for part in parts:
        part.reset()
    np.testing.assert_array_equal(vector.get_state(), np.stack([part.get_state() for part in parts]))


# ---------------------------------------------------------------------------------------------------- PettingZoo's way


def test_unequal_agents_are_padded_and_masked() -> None:
    env = make(TOY, time_limit=9, common_reward=False)
    assert env.get_env_info() == {
        "state_shape": 8, "obs_shape": 4, "n_actions": 3, "n_agents": 2, "episode_limit": 9, "action_space": "discrete",
        "available": "varies",  # b's space has a mask
    }  # fmt: skip
    env.reset()
    assert [row.tolist() for row in env.get_obs()] == [[1, 1, 1, 1], [1, 0, 0, 0]]  # a flat box; one-hot, then padding
    assert env.get_avail_actions() == [[1, 1, 1], [1, 0, 0]]
    env.step(np.array([2, 0]))
    assert env.get_avail_actions() == [[1, 1, 1], [1, 1, 0]]
    assert env._simulator.env.taken == [{"a": 2, "b": 1}]  # type: ignore[attr-defined]  # b's actions start at 1
    np.testing.assert_array_equal(env.get_state(), np.concatenate(env.get_obs()))


def test_an_agent_that_ends_early_gets_zeros_and_does_nothing() -> None:
    env = make(TOY, time_limit=9, common_reward=False)
    env.reset()
    env.step(np.array([2, 0]))
    obs, rewards, terminated, truncated, info = env.step(np.array([2, 1]))  # a ends here
    assert obs[0].tolist() == [3, 3, 3, 3] and rewards == [2, 20] and not terminated and not truncated
    assert info == {"a_speed": 1.5, "episode_limit": False}
    assert env.get_avail_actions()[0] == [1, 0, 0]
    obs, rewards, terminated, truncated, info = env.step(np.array([0, 0]))
    assert not obs[0].any() and obs[1].tolist() == [1, 0, 0, 0] and rewards == [0, 30]
    assert info == {"a_speed": 0, "episode_limit": False}  # the same keys at every step
    assert env._simulator.env.taken[-1] == {"b": 1}  # type: ignore[attr-defined]
    _, rewards, terminated, truncated, _ = env.step(np.array([0, 1]))
    assert rewards == [0, 40] and terminated and not truncated


@pytest.mark.parametrize(
    ("env_args", "length", "terminated"),
    [
        ({"time_limit": 9}, 4, True),
        ({"time_limit": 9, "cut": True}, 4, False),  # the simulator's own limit
        ({"time_limit": 3}, 3, False),  # ours
        ({"time_limit": 4}, 4, True),  # a true end on the last step allowed
        ({"time_limit": 4, "cut": True}, 4, False),
    ],
)
def test_14_1_time_limits_are_no_terminals_and_keep_their_reward(
    env_args: dict[str, Any], length: int, terminated: bool
) -> None:
    """Stock stores a time limit as a terminal state and PettingZoo's last reward as 0."""
    log = play(make(TOY, **env_args, common_reward=False), 0)[1:]
    assert len(log) == length
    assert [entry[1][1] for entry in log] == [10.0 * (t + 1) for t in range(length)]
    _, _, ended, cut, info = log[-1]
    assert (ended, cut, info["episode_limit"]) == (terminated, not terminated, not terminated)


@pytest.mark.parametrize("name", ["mpe", "gymma"])
def test_14_1_mpe_keeps_its_last_reward(name: str) -> None:
    key = "simple_spread_v3" if name == "mpe" else "pz-mpe-simple-spread-v3"
    log = play(REGISTRY[name](key=key, time_limit=25), 1)[1:]
    assert len(log) == 25 and log[-1][1] != 0 and log[-1][2:4] == (False, True) and log[-1][4]["episode_limit"] is True


def test_continuous_actions_keep_each_agents_shape_and_bounds() -> None:
    env = make(TOY, time_limit=9, continuous=True)
    info = env.get_env_info()
    assert info["available"] == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert info["n_actions"] == 4
    assert (info["action_low"], info["action_high"]) == ([[-1] * 4, [-5, 0, 0, 0]], [[2] * 4, [1, 0, 0, 0]])
    assert env.get_avail_actions() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    env.reset()
    env.step(np.full((2, 4), 1.5))
    env.step(np.full((2, 4), -3.0))
    first, second = env._simulator.env.taken  # type: ignore[attr-defined]
    np.testing.assert_array_equal(first["a"], np.full((2, 2), 1.5))
    np.testing.assert_array_equal(second["a"], np.full((2, 2), -1.0))
    assert first["b"].tolist() == [1.0] and second["b"].tolist() == [-3.0]
    with pytest.raises(EnvError, match=r"shape \(2, 4\)"):
        env.step(np.zeros((2, 3)))


def test_the_environments_own_state_is_used_where_asked() -> None:
    env = make(TOY, time_limit=9, use_env_state=True)
    assert env.get_env_info()["state_shape"] == 6
    env.reset()
    env.step(np.array([0, 0]))
    assert env.get_state().tolist() == [1.0] * 6 and env.get_state().dtype == np.float32
    with pytest.raises(EnvError, match="use_env_state=False"):
        make(FORAGING, use_env_state=True)


# ----------------------------------------------------------------------------------------------------- Gymnasium's way


def test_gymnasium_masks_information_and_time_limit() -> None:
    env = make(f"{TOY}:TwoAgents-v0", common_reward=False)
    assert env.episode_limit == 3 and env.get_obs_size() == 5
    _, info = env.reset()
    assert info == {"steps": 0} and env.get_avail_actions() == [[1, 0, 0], [0, 1, 1]]
    assert [row.tolist() for row in env.get_obs()] == [[0, 0, 0, 0, 0], [1, 0, 0, 0, 1]]
    steps = [env.step(np.array([0, 1])) for _ in range(3)]
    assert [step[1] for step in steps] == [[1.0, 2.0]] * 3
    assert [step[2:4] for step in steps] == [(False, False), (False, False), (False, True)]
    assert [step[4]["only_now"] for step in steps] == [1, 0, 0] and steps[2][4]["episode_limit"] is True


def test_gymnasium_episodes_end_when_all_agents_have() -> None:
    env = make(f"{TOY}:TwoAgents-v0", ends_at=2, per_agent_ends=True)
    assert [entry[2:4] for entry in play(env, 0)[1:]] == [(False, False), (True, False)]


def test_vector_information_may_lack_keys() -> None:
    vector = VECTOR_REGISTRY["gymma"](2, key=TOY, time_limit=9)
    vector.reset()
    infos = vector.step(np.zeros((2, 2), dtype=np.int64))[3]
    assert infos["a_speed"].tolist() == [1.5, 1.5]
    joined = stack_infos([{"a": 1.0}, {"b": 2.0}])
    assert joined["a"].tolist() == [1.0, 0.0] and joined["b"].tolist() == [0.0, 2.0]


# ----------------------------------------------------------------------------------------------------------- processes


def test_processes_step_as_the_loop_does() -> None:
    args: dict[str, Any] = {"key": FORAGING, "time_limit": 12, "seed": 3}
    processes, loop = ProcessVectorEnv(3, "gymma", args), VECTOR_REGISTRY["gymma"](3, **args)
    assert processes.get_env_info() == loop.get_env_info()
    with pytest.raises(EnvError, match="call reset first"):
        processes.get_obs()
    rng = np.random.default_rng(0)
    for seeds in (None, [5, 6]):
        processes.reset(seeds)
        loop.reset(seeds)
        for _ in range(12):
            for getter in ("get_obs", "get_state", "get_avail_actions"):
                ours, theirs = getattr(processes, getter)(), getattr(loop, getter)()
                np.testing.assert_array_equal(ours, theirs)
                assert ours.dtype == theirs.dtype
            actions = rng.integers(0, 6, (len(seeds or range(3)), 2))
            ours, theirs = processes.step(actions), loop.step(actions)
            for one, other in zip(ours[:3], theirs[:3], strict=True):
                np.testing.assert_array_equal(one, other)
            assert {key: value.tolist() for key, value in ours[3].items()} == {
                key: value.tolist() for key, value in theirs[3].items()
            }
    workers = [worker.process for worker in processes._workers]
    assert all(os.getpgid(worker.pid) != os.getpgid(0) for worker in workers)  # Ctrl-C reaches this process only
    processes.close()
    assert [worker.returncode for worker in workers] == [0, 0, 0]


def test_processes_end_with_a_killed_parent() -> None:
    code = (
        "import os, signal\n"
        "from envs.process_env import ProcessVectorEnv\n"
        f"env = ProcessVectorEnv(1, 'gymma', {{'key': {FORAGING!r}}})\n"
        "print(env._workers[0].process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SRC, capture_output=True, text=True, timeout=120)
    assert done.returncode == -9, done.stderr
    status = Path(f"/proc/{int(done.stdout)}/stat")
    assert _ends(status)


def _ends(status: Path) -> bool:
    """Whether a process ends (or is a zombie that nobody reaps) within thirty seconds."""
    for _ in range(600):
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False
