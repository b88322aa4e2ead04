"""env_args: plain copies for every environment, and keys that are the run's."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from sacred.config.custom_containers import make_read_only

from envs import REGISTRY, VECTOR_REGISTRY, make_env, make_vector_env
from envs.arguments import check_run_arguments, own_copy
from envs.process_env import ProcessVectorEnv
from tests.command_line import CommandLine
from tests.envs.test_gymma import FORAGING, make
from tests.runners.made import AT_ONCE, DISCRETE, RUNNERS, build
from utils.errors import EnvError

ENDS = "tests.envs.toy_ends"
LAYOUT = {"layout": [3, 1, 2], "rules": {"old": 1, "walls": [[1, 2], [3]]}, "pair": (1, [5, 6])}


def read_only() -> dict[str, Any]:
    """As Sacred hands them out."""
    return {**make_read_only(copy.deepcopy(LAYOUT)), "key": f"{ENDS}:Changing-v0", "time_limit": 3}


@pytest.mark.parametrize("runner", RUNNERS)
def test_environments_get_plain_copies_that_no_other_shares(runner: str) -> None:
    """Training's and evaluation's, several at once, in this process and in others."""
    env_args = {**read_only(), "seed": 1}
    made, _, _ = build(runner, env="gymma", env_args=env_args, **DISCRETE)
    made.run()
    made.run(test_mode=True)
    assert {key: own_copy(env_args[key]) for key in LAYOUT} == LAYOUT
    if runner != "parallel":
        envs = [each for env in (made.env, made._test_env) for each in (env.envs if runner == "vector" else [env])]
        assert len(envs) == 2 * AT_ONCE[runner]
        for env in envs:
            assert env._simulator.env.unwrapped.seen[:2] == ([1, 2, 3], [[1, 2], [3]])
            assert type(env._simulator.env.unwrapped.seen[2]) is tuple


def test_environments_made_directly_get_plain_copies() -> None:
    for given in (read_only(), {**read_only(), "rules": OrderedDict(LAYOUT["rules"])}):  # type: ignore[call-overload]
        before = own_copy(given)
        make_env("gymma", given, True, "sum")
        make_vector_env("gymma", 3, given, True, "sum")
        ProcessVectorEnv(2, "gymma", given).close()
        assert own_copy(given) == before


def test_a_copy_keeps_what_is_no_container() -> None:
    array = np.arange(3)
    copied = own_copy({"a": (array, {1, 2}), "b": "text", "c": None, 3: 1.5})
    assert copied["a"][0] is not array and copied["a"][0].tolist() == [0, 1, 2] and copied["a"][1] == {1, 2}
    assert copied["b"] == "text" and copied["c"] is None and copied[3] == 1.5


# ---------------------------------------------------------------------------------------------- keys that are the run's


@pytest.mark.parametrize("name", ["common_reward", "reward_scalarisation"])
@pytest.mark.parametrize("env", ["mpe", "gymma", "matrix_game", "bridge"])
def test_keys_of_the_run_are_refused_with_their_place(env: str, name: str) -> None:
    env_args = {"key": "simple_spread", name: False}
    calls = (
        lambda: make_env(env, env_args, True, "sum"),
        lambda: make_vector_env(env, 2, env_args, True, "sum"),
        lambda: ProcessVectorEnv(2, env, env_args),
    )
    for call in calls:
        with pytest.raises(EnvError, match=rf"env_args.{name}=False: .* set {name}=False without env_args"):
            call()


def test_a_seed_is_set_for_the_run() -> None:
    for env_args in ({"seed": 5}, {"seed": None}, {}):
        check_run_arguments(env_args, 5)
    with pytest.raises(EnvError, match=r"env_args.seed=50: .* set seed=50 without env_args"):
        check_run_arguments({"seed": 50}, 5)


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize(
    ("env", "env_args"),
    [
        ("mpe", {"key": "simple_spread"}),
        ("mpe", {"key": "simple_spread_v3"}),
        ("gymma", {"key": "mpe2.simple_spread_v3"}),
        ("gymma", {"key": "tests.envs.toy_joins", "time_limit": 3}),
        ("matrix_game", {}),
        ("bridge", {}),
    ],
)
@pytest.mark.parametrize(
    "name", ["common_rewards", "reward_scalarization", "sede", "max_cycle", "n_envs", "factory", "render_mod", "gamma"]
)
def test_hints_name_nothing_that_is_refused(env: str, env_args: dict[str, Any], vector: bool, name: str) -> None:
    made = (lambda **own: VECTOR_REGISTRY[env](2, **own)) if vector else REGISTRY[env]
    with pytest.raises(EnvError, match=f"env_args.{name} ") as caught:
        made(**env_args, **{name: 1})
    sentence = str(caught.value).partition(";")[2]
    for refused in ("common_reward", "reward_scalarisation", "seed", "max_cycles", "max_episode_steps"):
        assert refused not in sentence
    if name == "gamma":
        assert "write gamma=... without env_args" in str(caught.value)


@pytest.mark.parametrize(("env", "key"), [("mpe", "simple_spread"), ("gymma", "mpe2.simple_spread_v3")])
@pytest.mark.parametrize("vector", [False, True])
def test_a_simulators_own_limit_argument_is_refused_with_ours(env: str, key: str, vector: bool) -> None:
    made = (lambda **own: VECTOR_REGISTRY[env](2, **own)) if vector else REGISTRY[env]
    with pytest.raises(EnvError, match="env_args.max_cycles is set by env_args.time_limit"):
        made(key=key, max_cycles=3)


@pytest.mark.filterwarnings("ignore:.*render_mode")
def test_a_mode_that_an_environment_does_not_draw_in_says_how_to_go_on() -> None:
    with pytest.raises(EnvError, match="the modes human: leave out render=True and env_args.render_mode, or set"):
        make(FORAGING, time_limit=3, render_mode="rgb_array")


@pytest.mark.parametrize(
    ("update", "sentence"),
    [
        ("env_args.seed=50", "set seed=50 without env_args"),
        ("env_args.common_reward=False", "set common_reward=False without env_args"),
    ],
)
def test_a_command_line_is_refused_before_a_run_begins(update: str, sentence: str, cli: CommandLine) -> None:
    result = cli.run(update)
    assert result.returncode == 1 and sentence in result.stderr and len(result.stderr.splitlines()) == 1
    assert not cli.runs()


@pytest.mark.parametrize("registry", [REGISTRY, VECTOR_REGISTRY])
@pytest.mark.parametrize("name", ["mpe", "gymma", "mamujoco"])
def test_an_environment_without_a_name_is_refused_in_one_sentence(name: str, registry: dict[str, Any]) -> None:
    given = (2,) if registry is VECTOR_REGISTRY else ()
    with pytest.raises(EnvError, match=r"env_args\.key"):
        registry[name](*given)
