"""An environment's own time limit is a limit, whatever it is called and wherever it stands."""

from __future__ import annotations

import sys
import types
from collections import namedtuple
from collections.abc import Callable
from dataclasses import make_dataclass
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch as th

from envs import REGISTRY, VECTOR_REGISTRY, MultiAgentEnv
from envs.process_env import ProcessVectorEnv
from envs.vector_env import SyncVectorEnv, episode_end
from envs.wrappers.limits import OwnLimits, is_limit_argument
from tests.envs.toy_ends import LIMIT, Team

TOY = "tests.envs.toy_ends"


def make(key: str, **env_args: Any) -> MultiAgentEnv:
    return REGISTRY["gymma"](key=key, common_reward=False, **env_args)


def end(env: MultiAgentEnv, seed: int | None = None) -> tuple[int, bool, bool]:
    """Length of an episode, and whether it terminated and was cut."""
    env.reset(seed=seed)
    for t in range(1, 100):
        _, _, terminated, truncated, info = env.step(np.zeros(env.n_agents, dtype=np.int64))
        if terminated or truncated:
            assert info["episode_limit"] is truncated
            return t, terminated, truncated
    raise AssertionError("no end")


NAMES = [
    "max_steps", "max_cycles", "max_episode_length", "episode_limit", "horizon", "time_limit_steps", "maxSteps",
    "_max_t", "T", "t_max", "ep_len", "steps", "n_steps", "num_rounds", "episode_length", "max_turns", "step_limit",
    "timelimit", "maxsteps", "steps_per_episode", "MAX_TIMESTEPS", "timeout", "max_num_steps", "game_length",
    "duration", "limit", "max_steps_in_episode", "max_step_count", "episode_cutoff", "time_out", "truncation_steps",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_is_known_by_the_name_of_its_argument(name: str) -> None:
    """Given by the user, by the registration, and as a default."""
    made: dict[str, Any] = {}
    exec(f"def __init__(self, {name}={LIMIT}):\n    self.hidden = {name}", made)
    kind = type("Named", (Team,), {"__init__": made["__init__"]})
    gymnasium.register("Named-v0", entry_point=kind)
    gymnasium.register("Spec-v0", entry_point=kind, kwargs={name: LIMIT - 1})
    try:
        for time_limit in (LIMIT, LIMIT + 1, 500):
            assert end(make("Named-v0", time_limit=time_limit)) == (LIMIT, False, True)
        assert end(make("Named-v0")) == (LIMIT, False, True)
        assert end(make("Named-v0", **{name: 6}, time_limit=9)) == (6, False, True)
        assert end(make("Named-v0", **{name: 6})) == (6, False, True)
        assert end(make("Named-v0", **{name: 6}, time_limit=5)) == (5, False, True)
        assert end(make("Spec-v0", time_limit=9)) == end(make("Spec-v0")) == (LIMIT - 1, False, True)
    finally:
        del gymnasium.registry["Named-v0"], gymnasium.registry["Spec-v0"]


OTHERS = [
    "max_inactivity_steps", "max_speed", "n_agents", "max_agents", "length", "n_actions", "step", "frame_skip",
    "n_frames", "max_steps_per_turn", "sight", "max_episodes", "planning_horizon", "max_num_food", "field_size",
    "solved", "ends_at", "t", "time",
]  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_arguments_are_no_limits(name: str) -> None:
    assert not is_limit_argument(name)


@pytest.mark.parametrize(
    ("key", "env_args"),
    [
        ("Rware-v0", {}),
        ("Rware-v0", {"max_inactivity_steps": 2}),
        ("Rware-v0", {"max_steps": LIMIT}),
        ("Configured-v0", {"config": {"run": {"horizon": LIMIT}}}),
        ("Attribute-v0", {}),
        ("ClassAttribute-v0", {}),
        ("Property-v0", {}),
        ("Inside-v0", {}),
        ("Late-v0", {}),
        ("Says-v0", {}),
        ("Registered-v0", {}),
    ],
)
@pytest.mark.parametrize("time_limit", [LIMIT, LIMIT + 1, 500])
def test_a_limit_is_known_wherever_it_stands(key: str, env_args: dict[str, Any], time_limit: int) -> None:
    assert end(make(f"{TOY}:{key}", time_limit=time_limit, **env_args)) == (LIMIT, False, True)


SETTINGS: dict[str, Callable[[], dict[str, Any]]] = {
    "private": lambda: {"_Team__max_steps": LIMIT},
    "array": lambda: {"max_steps": np.array(LIMIT)},
    "tensor": lambda: {"max_steps": th.tensor(LIMIT)},
    "dataclass": lambda: {"rules": make_dataclass("Rules", [("max_steps", int)])(LIMIT)},
    "slots": lambda: {"rules": make_dataclass("Rules", [("max_steps", int)], slots=True)(LIMIT)},
    "named tuple": lambda: {"_rules": namedtuple("Rules", "horizon")(LIMIT)},
    "mapping": lambda: {"rules": {"length": {"max_steps": LIMIT}}},
    "class": lambda: {"env_params": type("Params", (), {"MAX_STEPS": LIMIT})},
    "nested": lambda: {"_settings": types.SimpleNamespace(run=namedtuple("Run", "n_steps max_steps")(2, LIMIT))},
    "part": lambda: {"base_env": types.SimpleNamespace(simulator=types.SimpleNamespace(max_steps=LIMIT))},
}


@pytest.mark.parametrize("place", SETTINGS)
def test_a_limit_is_known_in_every_form_of_settings(place: str) -> None:
    kind = type("Held", (Team,), {"__init__": lambda self: vars(self).update(SETTINGS[place]())})
    gymnasium.register("Held-v0", entry_point=kind)
    try:
        assert end(make("Held-v0", time_limit=9)) == (LIMIT, False, True)
    finally:
        del gymnasium.registry["Held-v0"]


def test_a_limit_that_every_episode_chooses_is_known() -> None:
    env = make(f"{TOY}:Chosen-v0", time_limit=9)
    assert [end(env, seed) for seed in range(4)] == [
        (2, False, True),
        (3, False, True),
        (4, False, True),
        (2, False, True),
    ]


@pytest.mark.parametrize("place", ["argument", "argument and registration", "registration"])
@pytest.mark.parametrize("time_limit", [None, 2, LIMIT, LIMIT + 1, 50])
def test_time_limit_lengthens_what_gymnasium_calls_the_limit(place: str, time_limit: int | None) -> None:
    """By either way in which an environment may have `max_episode_steps`; an argument's limit is called a terminal."""

    def __init__(self: Any, max_episode_steps: int = LIMIT) -> None:
        self.hidden = max_episode_steps

    own = {"__init__": __init__} if "argument" in place else {"hidden": 99}
    registered: dict[str, Any] = {"max_episode_steps": LIMIT} if "registration" in place else {}
    gymnasium.register("Long-v0", entry_point=type("Long", (Team,), own), **registered)
    try:
        length = LIMIT if time_limit is None else time_limit
        env = make("Long-v0", **({} if time_limit is None else {"time_limit": time_limit}))
        assert env.episode_limit == length and end(env) == (length, False, True)
        solved = make("Long-v0", time_limit=50)
        solved._simulator.env.unwrapped.solved = 20  # type: ignore[attr-defined]
        assert end(solved) == (20, True, False)
    finally:
        del gymnasium.registry["Long-v0"]


def test_a_true_end_stays_a_terminal() -> None:
    for solved in (1, 2, 3):
        assert end(make(f"{TOY}:Rware-v0", solved=solved, time_limit=500)) == (solved, True, False)
    assert end(make(f"{TOY}:Rware-v0", solved=3, time_limit=3)) == (3, True, False)  # ours is not the environment's
    assert end(make(f"{TOY}:Nameless-v0", time_limit=9)) == (LIMIT, True, False)


def test_counters_are_no_limits() -> None:
    class Counting:
        def __init__(self) -> None:
            self.episode_steps = self.total_steps = self.ep_len = 0

    env = Counting()
    limits = OwnLimits(env, {})
    env.episode_steps = env.total_steps = env.ep_len = 3
    limits.begin()
    assert limits.own is None and not limits.reached(3)


def test_a_pettingzoo_limit_is_known_by_argument_attribute_and_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert end(make("tests.envs.toy_joins", horizon=3, time_limit=9)) == (3, False, True)
    assert end(make("tests.envs.toy_joins", horizon=3)) == (3, False, True)
    assert end(make("tests.envs.toy_joins", time_limit=9)) == (6, True, False)
    from tests.envs import toy_joins

    class Hidden(toy_joins.parallel_env):
        """Takes nothing; its attribute tells."""

        def __init__(self) -> None:
            super().__init__(horizon=5)

    class Default(toy_joins.parallel_env):
        def __init__(self, n_cycles: int = 2) -> None:
            super().__init__()
            self.plan = {"a0": [(0, n_cycles)]}
            self.possible_agents = ["a0"]

    for name, kind, length in (("hidden_toy", Hidden, 5), ("default_toy", Default, 2)):
        module = types.ModuleType(name)
        module.parallel_env = kind  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
        assert end(make(name, time_limit=9)) == end(make(name)) == (length, False, True)


@pytest.mark.parametrize("time_limit", [LIMIT, 9])
def test_vector_and_process_environments_agree(time_limit: int) -> None:
    args: dict[str, Any] = {"key": f"{TOY}:Rware-v0", "time_limit": time_limit}
    processes = ProcessVectorEnv(2, "gymma", args)
    for vector in (processes, VECTOR_REGISTRY["gymma"](2, **args)):
        vector.reset([0, 1])
        for _ in range(LIMIT):
            _, terminated, truncated, infos = vector.step(np.zeros((2, 2), dtype=np.int64))
        assert truncated.all() and not terminated.any() and infos["episode_limit"].all()
    processes.close()


class Own(MultiAgentEnv):
    """An environment of a user's, in stock EPyMARL's manner: what ends it is always `terminated`."""

    n_agents, episode_limit = 1, 3

    def __init__(self, info: dict[str, Any], length: int = 3, truncated: bool = False) -> None:
        self.info, self.length, self.truncated = info, length, truncated

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.t = 0
        return self.get_obs(), {}

    def step(self, actions: Any) -> Any:
        self.t += 1
        over = self.t >= self.length
        return self.get_obs(), [1.0], over and not self.truncated, over and self.truncated, self.info if over else {}

    def get_obs(self) -> Any:
        return [np.zeros(1, np.float32)]

    def get_state(self) -> Any:
        return np.zeros(1, np.float32)

    def get_avail_actions(self) -> Any:
        return [[1]]

    def get_obs_size(self) -> int:
        return 1

    get_state_size = get_total_actions = get_obs_size

    def render(self) -> None: ...
    def save_replay(self) -> None: ...
    def close(self) -> None: ...
    def seed(self, seed: int | None = None) -> None: ...


@pytest.mark.parametrize("name", ["sim_steps", "n_iterations", "turns"])
def test_a_count_beside_a_limit_is_of_something_else(name: str) -> None:
    """Such as a simulator's steps in one of the environment's, though alone the name would be taken for a limit."""
    made: dict[str, Any] = {}
    exec(f"def __init__(self, max_steps=40, {name}={LIMIT}):\n    self.hidden = {LIMIT}", made)
    gymnasium.register("Named-v0", entry_point=type("Named", (Team,), {"__init__": made["__init__"]}))
    try:
        for arguments in ({}, {name: LIMIT}):
            env = make("Named-v0", **arguments)
            assert env.episode_limit == 40 and end(env) == (LIMIT, True, False)
    finally:
        del gymnasium.registry["Named-v0"]


@pytest.mark.parametrize(
    ("info", "length", "truncated", "is_terminal"),
    [
        ({"episode_limit": True}, 3, False, False),  # as StarCraft in stock
        ({"episode_limit": True}, 2, False, False),
        ({}, 3, False, False),  # says nothing, and the limit is reached
        ({}, 2, False, True),
        ({"episode_limit": False}, 3, False, True),  # says that it is a true end
        ({}, 2, True, False),
        ({"episode_limit": False}, 2, True, False),
    ],
)
def test_ends_of_a_users_environment(info: dict[str, Any], length: int, truncated: bool, is_terminal: bool) -> None:
    vector = SyncVectorEnv(1, lambda i: Own(info, length, truncated))
    vector.reset([0])
    for _ in range(length):
        _, terminals, cuts, _ = vector.step(np.zeros((1, 1), dtype=np.int64))
    assert terminals.tolist() == [is_terminal] and cuts.tolist() == [not is_terminal]
    flags = (not truncated, truncated)
    assert episode_end(*flags, info, length >= 3) == (is_terminal, not is_terminal)
    assert episode_end(False, False, {}, False) == (False, False)
