"""A policy is scored in the environment of its data: what a card leaves out has its default there."""

from __future__ import annotations

import importlib
import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from datasets.agreement import environment_mismatch
from datasets.names import BUNDLED
from datasets.readings import Readings
from envs import REGISTRY
from envs.defaults import _UNSTATED, is_default
from sweeps.cells import environment_of
from utils.config import environment

HOPPER: dict[str, Any] = {"key": "Hopper", "partition": "3x1", "observations": "full", "agent_obsk": 1}
BRIDGE: dict[str, Any] = {"start_adjacent": True}
TAG: dict[str, Any] = {"key": "simple_tag", "time_limit": 25, "continuous_actions": True}
PREY = {"simulator": {"prey": "a" * 64}}


def mismatch(env: str, there: dict[str, Any], *more: dict[str, Any], **here: Any) -> str | None:
    """Between a card that states `there` and a run with `here` too. more: of the card, and of the environment."""
    card = {"environment": {"env": env, "env_args": there, **(more[0] if more else {})}}
    return environment_mismatch(SimpleNamespace(env=env, env_args=there | here), card, *more[1:])


@pytest.mark.parametrize(
    ("env", "there", "name", "value"),
    [
        ("mamujoco", HOPPER, "healthy_reward", 100.0),
        ("mamujoco", HOPPER, "healthy_z_range", [0.1, 5.0]),
        ("mamujoco", HOPPER, "observe_torso", False),
        ("mamujoco", HOPPER, "time_limit", 50),
        ("bridge", BRIDGE, "episode_limit", 20),
        ("mpe", TAG, "control", "prey"),
        ("mpe", TAG, "prey", "another.npz"),
        ("gymma", {"key": "my_env-v0"}, "time_limit", 50),
        ("not_here", {"key": "a"}, "size", 3),
    ],
)
def test_an_argument_that_a_card_leaves_out_must_have_its_default(
    env: str, there: dict[str, Any], name: str, value: Any
) -> None:
    assert mismatch(env, there, **{name: value}) == f"env_args.{name} is not stated there and {value} here"


@pytest.mark.parametrize(
    ("env", "there", "here"),
    [
        ("mamujoco", HOPPER, {"time_limit": None, "observe_torso": True, "seed": 3, "threads": 2}),
        ("bridge", BRIDGE, {"episode_limit": 50, "render_mode": "rgb_array"}),
        ("matrix_game", {"key": "xor"}, {"episode_limit": 50}),
        ("mpe", TAG, {"control": "predators", "prey": None, "replay_path": "x.gif", "dtype": "float64"}),
        ("gymma", {"key": "my_env-v0"}, {"use_env_state": False}),
    ],
)
def test_a_default_is_as_good_as_not_stated(env: str, there: dict[str, Any], here: dict[str, Any]) -> None:
    assert mismatch(env, there, **here) is None


def test_arguments_of_another_environment_are_not_listed() -> None:
    card = {"environment": {"env": "bridge", "env_args": {}}}
    found = environment_mismatch(SimpleNamespace(env="mamujoco", env_args=HOPPER | {"reset_noise_scale": 1.0}), card)
    assert found == "env is bridge there and mamujoco here"


def test_a_prey_that_is_known_is_told_by_its_checksum_alone() -> None:
    assert mismatch("mpe", TAG, PREY, PREY, prey="elsewhere.npz") is None
    other = {"simulator": {"prey": "b" * 64}}
    assert "the prey's checksum is" in str(mismatch("mpe", TAG, PREY, other, prey="elsewhere.npz"))


def test_credentials_are_not_shown() -> None:
    assert mismatch("gymma", {"key": "a"}, password="1234") == "env_args.password is not stated there and *** here"


class Mine:
    def __init__(self, key: str, size: int = 3, **rest: Any) -> None:
        """An environment of the user's own that no file in config/envs is of."""


def test_the_constructor_of_an_environment_of_one_s_own_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "mine", Mine)  # type: ignore[arg-type]
    assert is_default("mine", "size", 3) and not is_default("mine", "size", 4) and not is_default("mine", "key", "a")


@pytest.mark.parametrize(("env", "place"), [("mamujoco", "mamujoco.robot_env.RobotEnv"),
                                            ("mpe", "mpe.spread_twin.SpreadTwin")])  # fmt: skip
def test_defaults_in_no_file_are_the_constructors(env: str, place: str) -> None:
    pytest.importorskip("gymnasium_robotics")
    module, _, name = f"envs.{place}".rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    assert _UNSTATED[env] == {key: parameters[key].default for key in _UNSTATED[env]}


def test_bundled_sets_are_of_their_files_environments() -> None:
    readings = Readings()
    for dataset in BUNDLED:
        name, differing = environment_of(dataset, readings)
        args = SimpleNamespace(env=environment(name)["env"], env_args=environment(name)["env_args"] | differing)
        assert environment_mismatch(args, readings.outline(dataset).card) is None, dataset
