"""What the gymma wrapper refuses, in one sentence: bad keys and arguments, missing packages, failing processes."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from envs import REGISTRY, VECTOR_REGISTRY
from envs.process_env import ProcessVectorEnv
from tests.envs.test_gymma import FORAGING, SRC, TOY, make
from utils.errors import EnvError


@pytest.mark.parametrize(
    ("key", "env_args", "sentence"),
    [
        (None, {}, "names no environment: write package:EnvId-v0"),
        ("pz-mpe-", {}, "names no environment"),
        ("nowhere:Env-v0", {}, "needs the package nowhere, which is not installed"),
        ("nowhere.env_v0", {}, "needs the package nowhere, which is not installed"),
        ("mpe2.simple_spred_v3", {}, "the package mpe2 has no module simple_spred_v3"),
        ("pz-mpe-simple-spred-v3", {}, "the package mpe2 has no module simple_spred_v3"),
        ("json", {}, "the module json has no parallel_env"),
        ("CartPole-v1", {}, "CartPole-v1 is no multi-agent environment"),
        ("Foraging-5x5-2p-1f-v77", {}, "is no Gymnasium environment"),
        ("lbforaging:Foraging-5x5-2p-1f-v77", {}, "did you mean 'Foraging-5x5-2p-1f-v3'"),
        (FORAGING, {"max_episode_steps": 3}, "set by env_args.time_limit"),
        (FORAGING, {"sigth": 3}, "refuses its env_args sigth=3: .*'sigth'$"),
        (FORAGING, {"time_limit": 0}, "at least 1"),
        (FORAGING, {"render_mode": "rgb_array"}, "draws in the modes human"),
        ("mpe2.simple_spread_v3", {"max_cycles": 3}, "set by env_args.time_limit"),
        ("mpe2.simple_spread_v3", {"local_ration": 1}, "did you mean 'local_ratio'"),
        ("mpe2.simple_spread_v3", {"local_ratio": 2.0}, "local_ratio is a proportion"),
        (TOY, {}, "set env_args.time_limit"),
        (TOY, {"lenght": 3, "time_limit": 3}, "did you mean 'length'"),
        (f"{TOY}:Boundless-v0", {}, "set env_args.time_limit"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*render_mode")
def test_bad_arguments_are_one_sentence(key: Any, env_args: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EnvError, match=sentence) as caught:
        make(key, **env_args)
    assert "\n" not in str(caught.value)


def test_a_missing_key_and_rewards_of_other_agents_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvError, match="env_args.key is missing"):
        REGISTRY["gymma"]()
    toy = importlib.import_module(TOY)
    step = toy.TwoAgents.step
    env = make(f"{TOY}:TwoAgents-v0")
    paid: Any
    for paid in ([1.0, 2.0, 3.0], {"0": 1.0, "1": 2.0}, None, "3"):
        result = paid, False, False, {}
        monkeypatch.setattr(toy.TwoAgents, "step", lambda self, a, result=result: (step(self, a)[0], *result))
        env.reset()
        with pytest.raises(EnvError, match="a reward for each of its 2 agents, or one number for the team, not"):
            env.step(np.array([0, 1]))


@pytest.mark.parametrize(
    ("observed", "acted", "sentence"),
    [
        (0, 0, "TwoAgents-v0 has no agents: "),
        (2, 1, "has action spaces for 1 agents and observation spaces for 2: "),
        (1, 2, "has action spaces for 2 agents and observation spaces for 1: "),
    ],
)
def test_spaces_for_no_agents_or_for_others_are_refused(
    observed: int, acted: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = importlib.import_module(TOY)
    for name, size in (("observation_space", observed), ("action_space", acted)):
        every = getattr(toy.TwoAgents, name).spaces
        monkeypatch.setattr(toy.TwoAgents, name, list(every[:size]))
    with pytest.raises(EnvError, match=sentence):
        make(f"{TOY}:TwoAgents-v0")


@pytest.mark.parametrize("mask", [[0, 0], [1, float("nan")], [0.5, 1], [2, 1], [1, -1]])
def test_masks_that_are_not_zeros_and_a_one_are_refused(mask: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    env = make(f"{TOY}:TwoAgents-v0")
    toy = importlib.import_module(TOY)
    seen = (np.zeros(1, dtype=np.float32), np.zeros(2, dtype=np.int64))
    monkeypatch.setattr(toy.TwoAgents, "_see", lambda self: (seen, {"action_mask": [mask, [1, 1, 1]]}))
    said = re.escape(str(np.asarray(mask).tolist()))
    with pytest.raises(EnvError, match=f"agent 0 has 2 actions, and its action_mask is {said}"):
        env.reset()


def test_use_out_of_turn_is_one_sentence() -> None:
    env = make(TOY, time_limit=1)
    with pytest.raises(EnvError, match="call reset first"):
        env.get_obs()
    env.reset()
    env.step(np.array([0, 0]))
    with pytest.raises(EnvError, match="call reset first"):
        env.step(np.array([0, 0]))
    vector = VECTOR_REGISTRY["gymma"](2, key=TOY, time_limit=3)
    vector.reset()
    with pytest.raises(EnvError, match="actions for 2 episodes, not 3"):
        vector.step(np.zeros((3, 2), dtype=np.int64))


@pytest.mark.parametrize("package", ["pettingzoo", "gymnasium"])
def test_14_7_a_missing_package_is_one_sentence(package: str) -> None:
    """Stock's `envs` imports a simulator unconditionally: without it no run works."""
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, *rest):\n"
        f"        if name.split('.')[0] == {package!r}:\n"
        f"            raise ModuleNotFoundError('none', name={package!r})\n"
        "sys.meta_path.insert(0, Missing())\n"
        "import envs\n"
        "from utils.errors import EnvError\n"
        "try:\n    envs.REGISTRY['gymma'](key='pz-sisl-pursuit-v5', time_limit=3)\n"
        "except EnvError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SRC, capture_output=True, text=True, timeout=120)
    assert f"the package {package}, which is not installed: pip install" in done.stdout, done.stderr


def test_14_7_importing_envs_imports_no_simulator_and_no_torch() -> None:
    code = (
        "import sys, envs, envs.process_env\n"
        "bad = {'mpe2', 'pygame', 'pettingzoo', 'gymnasium', 'lbforaging', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'imported {bad}' if bad else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SRC, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("crash", "sentence"),
    [
        ("raise", "failed with ValueError: the wheels came off; set runner=vector to see where"),
        ("die", r"process of environment 0 has died \(exit status 3\)"),
    ],
)
def test_a_failing_process_is_one_sentence(crash: str, sentence: str) -> None:
    processes = ProcessVectorEnv(2, "gymma", {"key": TOY, "time_limit": 9, "crash": crash})
    workers = [worker.process for worker in processes._workers]
    processes.reset()
    with pytest.raises(EnvError, match=sentence) as caught:
        processes.step(np.zeros((2, 2), dtype=np.int64))
    assert "\n" not in str(caught.value)
    assert all(worker.returncode is not None for worker in workers)  # none is left behind


def test_a_process_refuses_what_the_environment_refuses() -> None:
    with pytest.raises(EnvError, match="needs the package nowhere"):
        ProcessVectorEnv(2, "gymma", {"key": "nowhere.env_v0"})
