"""Values of env_args that mean something else than they look like, or that a constructor cannot take: one sentence."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import gymnasium
import pytest

from envs import REGISTRY, VECTOR_REGISTRY
from tests.command_line import CommandLine
from tests.envs.test_gymma import TOY, make
from tests.envs.toy_ends import Team
from tests.envs.toy_env import parallel_env
from utils.errors import EnvError

MPE2 = "mpe2.simple_spread_v3"


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(EnvError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------- True and False


@pytest.mark.parametrize(
    ("env", "key", "name"),
    [
        ("mpe", "simple_spread", "continuous_actions"),
        ("mpe", "simple_tag", "continuous_actions"),
        ("mpe", "simple_spread_v3", "continuous_actions"),
        ("mpe", "simple_spread_v3", "dynamic_rescaling"),
        ("gymma", MPE2, "continuous_actions"),
        ("gymma", MPE2, "dynamic_rescaling"),
        ("gymma", "pz-mpe-simple-spread-v3", "continuous_actions"),
        ("gymma", MPE2, "use_env_state"),
        ("gymma", TOY, "cut"),
        ("gymma", f"{TOY}:TwoAgents-v0", "team_reward"),
        ("bridge", None, "start_adjacent"),
    ],
)
@pytest.mark.parametrize("vector", [False, True])
def test_false_in_lower_case_is_not_true(env: str, key: str | None, name: str, vector: bool) -> None:
    env_args: dict[str, Any] = {"time_limit": 3} if env == "gymma" else {}
    env_args |= {} if key is None else {"key": key}

    def made(value: Any) -> Any:
        return (
            VECTOR_REGISTRY[env](2, **env_args, **{name: value})
            if vector
            else REGISTRY[env](**env_args | {name: value})
        )

    assert refused(lambda: made("false")) == f"env_args.{name} must be True or False, not 'false'"
    assert made(False).n_agents == made(True).n_agents


def test_a_command_line_is_told_before_it_collects(cli: CommandLine) -> None:
    """Sacred takes it for a text where no configuration file has the key."""
    update = (
        "env_args.key=simple_spread_v3",
        "env_args.dynamic_rescaling=false",
        "collect=True",
        "collect_to=never.h5",
    )
    result = cli.run(*update, config="random")
    assert result.returncode == 1 and "env_args.dynamic_rescaling must be True or False" in result.stderr
    assert len(result.stderr.splitlines()) == 1 and not cli.runs()


def test_a_registration_tells_flags_too_and_other_arguments_pass() -> None:
    """Texts where an annotation allows them, and numbers, which Python takes for flags."""

    class Flags(Team):
        def __init__(self, pays: Any, mode: bool | str = False, level=False) -> None:  # type: ignore[no-untyped-def]
            self.said = (pays, mode, level)

    class Untyped(Team):
        def __init__(self, pays) -> None:  # type: ignore[no-untyped-def]
            self.said = pays

    gymnasium.register("Flags-v0", entry_point=Flags, kwargs={"pays": 1})
    gymnasium.register("Untyped-v0", entry_point=Untyped, kwargs={"pays": True})
    try:
        env: Any = make("Flags-v0", time_limit=3, pays="text", mode="fast", level=2)
        assert env._simulator.env.unwrapped.said == ("text", "fast", 2)
        assert "env_args.level must be True" in refused(lambda: make("Flags-v0", time_limit=3, level="no"))
        assert "env_args.pays must be True" in refused(lambda: make("Untyped-v0", time_limit=3, pays="false"))
    finally:
        del gymnasium.registry["Flags-v0"], gymnasium.registry["Untyped-v0"]


# ----------------------------------------------------------------------------------------- what a constructor refuses


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"N": "a"}, "N='a': 'str' object cannot be interpreted as an integer"),
        ({"N": 0}, "N=0: zero-size array"),
        ({"local_ratio": "a"}, "local_ratio='a': '<=' not supported"),
        ({"local_ratio": 2.0, "N": 2}, "local_ratio=2.0, N=2: local_ratio is a proportion"),
    ],
)
@pytest.mark.parametrize(("env", "key"), [("mpe", "simple_spread_v3"), ("gymma", MPE2)])
def test_what_mpe2_cannot_take_names_the_argument(env: str, key: str, given: dict[str, Any], said: str) -> None:
    assert f"{key} refuses its env_args {said}" in refused(lambda: REGISTRY[env](key=key, **given))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("red"), "refuses its env_args cut=True: KeyError 'red'"),
        (IndexError("out of range"), "refuses its env_args cut=True: IndexError out of range"),
        (ZeroDivisionError("division by zero"), "refuses its env_args cut=True: division by zero"),
        (AssertionError(), "refuses its env_args cut=True: AssertionError"),
        (
            ModuleNotFoundError("no", name="emulator"),
            "needs the package emulator, which is not installed: pip install it",
        ),
    ],
)
@pytest.mark.parametrize("library", ["pettingzoo", "gymnasium"])
def test_errors_of_constructors(error: Exception, said: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, cut: bool = False) -> None:
        raise error

    module = types.ModuleType("failing_toy")
    module.parallel_env = type("Failing", (parallel_env,), {"__init__": fail})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "failing_toy", module)
    gymnasium.register("Failing-v0", entry_point=type("FailingTeam", (Team,), {"__init__": fail}))
    try:
        key = "failing_toy" if library == "pettingzoo" else "Failing-v0"
        assert refused(lambda: make(key, time_limit=3, cut=True)) == f"{key} {said}"
    finally:
        del gymnasium.registry["Failing-v0"]


@pytest.mark.parametrize("env", ["mpe", "gymma", "mamujoco", "matrix_game"])
@pytest.mark.parametrize("key", [["xor"], {"a": 1}, 3, None])
@pytest.mark.parametrize("vector", [False, True])
def test_a_key_that_is_no_text_is_refused(env: str, key: Any, vector: bool) -> None:
    given = {"key": key} | ({"partition": "3x1"} if env == "mamujoco" else {})
    assert f"env_args.key={key!r}" in refused(
        lambda: VECTOR_REGISTRY[env](2, **given) if vector else REGISTRY[env](**given)
    )


@pytest.mark.parametrize("key", ["simple_spread", "simple_world"])
@pytest.mark.parametrize("dtype", ["foo", "int32", "float16", None, ["float32"]])
def test_the_physics_has_two_types(key: str, dtype: Any) -> None:
    words = f"env_args.dtype must be float64 or float32, not {dtype!r}"
    assert refused(lambda: VECTOR_REGISTRY["mpe"](2, key=key, dtype=dtype)) == words
    assert refused(lambda: REGISTRY["mpe"](key=key, dtype=dtype)) == words
    VECTOR_REGISTRY["mpe"](2, key=key, dtype="float32").reset()


def test_what_plays_one_episode_or_draws_takes_the_type_in_which_it_computes() -> None:
    REGISTRY["mpe"](key="simple_spread", dtype="float64").reset()
    VECTOR_REGISTRY["mpe"](1, key="simple_tag", dtype="float64", render_mode="rgb_array").reset()
    said = refused(lambda: REGISTRY["mpe"](key="simple_spread", dtype="float32"))
    assert said.startswith("env_args.dtype=float32 is for runner=vector without pictures")
    assert "dtype is no argument" in refused(lambda: REGISTRY["mpe"](key="simple_spread_v3", dtype="float64"))


# --------------------------------------------------------------------------------------------------------------- robots


@pytest.mark.parametrize("body", ["nope", 99, 1.5, None])
def test_a_body_that_a_robot_lacks_is_refused_before_it_steps(body: Any) -> None:
    pytest.importorskip("gymnasium_robotics")
    ant = {"key": "Ant", "partition": "2x4"}
    assert f"Ant refuses its env_args main_body={body!r}: " in refused(
        lambda: REGISTRY["mamujoco"](**ant, main_body=body)
    )
    REGISTRY["mamujoco"](**ant, main_body="aux_1")


@pytest.mark.parametrize(
    ("platform", "display", "chosen"),
    [("linux", None, "egl"), ("linux", ":0", None), ("darwin", None, None), ("win32", None, None)],
)
def test_egl_is_chosen_on_linux_alone(
    platform: str, display: str | None, chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gymnasium_robotics")
    from envs.mamujoco import robots

    environment = {} if display is None else {"DISPLAY": display}
    monkeypatch.setattr(robots, "os", types.SimpleNamespace(environ=environment))
    monkeypatch.setattr(robots, "sys", types.SimpleNamespace(platform=platform), raising=False)
    robots.make_robot("Hopper", {}, "rgb_array", set())
    assert environment.get("MUJOCO_GL") == chosen
