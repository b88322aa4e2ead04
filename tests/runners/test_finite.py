"""Numbers that are not finite are named where an environment gives them, on every runner."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th

from envs import REGISTRY as env_REGISTRY
from envs import VECTOR_REGISTRY
from envs.matrix_game import MatrixGameEnv
from loops.evaluator import Evaluator
from tests.envs.test_own_limits import Own
from tests.runners.made import DISCRETE, build
from utils.errors import EnvError

WRONG, JOINS = "tests.envs.toy_ends:Wrong-v0", "tests.envs.toy_joins"


EVERY = [(runner, test) for runner in ("episode", "vector") for test in (False, True)] + [("parallel", False)]


@pytest.mark.parametrize(("runner", "test_mode"), EVERY)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    ("what", "at", "place"),
    [
        ("observation", 2, "agent 1, component 1, step 2"),
        ("observation", 0, "agent 1, component 1, step 0"),
        ("observation", 4, "agent 1, component 1, step 4"),
        ("reward", 3, "agent 1, step 3"),
    ],
)
def test_a_number_is_named_at_its_step(
    what: str, at: int, place: str, value: str, runner: str, test_mode: bool
) -> None:
    env_args = {"key": WRONG, "time_limit": 9, "what": what, "value": value, "at": at, "seed": 0}
    made, args, _ = build(runner, env="gymma", env_args=env_args, **DISCRETE)
    with pytest.raises(EnvError, match=rf"Wrong-v0\)? gives {value} as {what} \(.*{place}\)") as caught:
        Evaluator(made, args, None).evaluate(0) if test_mode else made.run()
    assert "diverged" not in str(caught.value) and "dataset" not in str(caught.value)


@pytest.mark.parametrize("runner", ["episode", "vector"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_state_is_named_at_its_step(runner: str, value: float) -> None:
    env_args = {"key": JOINS, "time_limit": 9, "use_env_state": True, "wrong": ("state", "a0", value, 1), "seed": 0}
    made, _, _ = build(runner, env="gymma", env_args=env_args, **DISCRETE)
    with pytest.raises(EnvError, match=rf"gives {value} as state \(.*component 1, step 1\)"):
        made.run()


def test_the_last_observation_counts_and_that_of_an_agent_that_has_ended_does_not() -> None:
    plan = {"a0": [(0, 4)], "a1": [(0, 2)]}
    for agent, at, wrong in (("a0", 4, True), ("a1", 2, True), ("a1", 3, False)):
        env_args = {"key": JOINS, "time_limit": 9, "plan": plan, "wrong": ("observation", agent, np.nan, at), "seed": 0}
        made, _, _ = build("vector", env="gymma", env_args=env_args, **DISCRETE)
        if not wrong:
            assert made.run()["obs"].isfinite().all()
            continue
        with pytest.raises(EnvError, match=f"agent {agent[1]}, component 0, step {at}"):
            made.run()


class Sick(Own):
    """A user's own environment, for which no wrapper watches."""

    def __init__(self, common_reward: bool = True, reward_scalarisation: str = "sum", seed: Any = None) -> None:
        super().__init__({})
        self.common_reward = common_reward

    def step(self, actions: Any) -> Any:
        obs, _, terminated, truncated, info = super().step(actions)
        return obs, float("nan") if self.common_reward else [float("nan")], terminated, truncated, info


@pytest.mark.parametrize("runner", ["episode", "vector"])
def test_a_users_own_environment_is_watched_too(runner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from envs import _looped

    monkeypatch.setitem(env_REGISTRY, "sick", Sick)
    monkeypatch.setitem(VECTOR_REGISTRY, "sick", _looped(Sick))
    made, _, _ = build(runner, env="sick", env_args={"seed": 0}, **DISCRETE)
    with pytest.raises(EnvError, match=r"^sick gives nan as reward \(.*step 1\)"):
        made.run()


def test_games_are_watched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MatrixGameEnv, "get_state", lambda self: np.array([0, np.inf, 0, 0], np.float32))
    made, _, _ = build("vector", env="matrix_game", env_args={"key": "xor", "seed": 0}, **DISCRETE)
    with pytest.raises(EnvError, match="matrix_game .xor. gives inf as observation .episode 0, agent 0, component 1"):
        made.run()


@pytest.mark.parametrize("runner", ["episode", "vector"])
def test_only_an_action_that_is_not_finite_means_a_diverged_policy(runner: str) -> None:
    made, _, _ = build(runner)
    for parameter in made.mac.parameters():
        with th.no_grad():
            parameter.fill_(float("nan"))
    with pytest.raises(EnvError, match="an action is not finite: the policy has diverged"):
        made.run()
