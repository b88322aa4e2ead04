"""Small Gymnasium multi-agent environments that end in every way, and say wrong numbers where a test asks for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

LIMIT = 4  # steps of an episode that nothing else ends


class Team(gymnasium.Env):
    """Two agents that observe the step count; reward 1 and 2. A time limit is called a terminal state.

    Where the limit is known from is for subclasses; here it has a name that says nothing.
    """

    observation_space = spaces.Tuple([spaces.Box(-np.inf, np.inf, (2,))] * 2)
    action_space = spaces.Tuple([spaces.Discrete(3), spaces.Discrete(2, start=1)])
    hidden = LIMIT
    solved = 99  # the step that truly ends an episode

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.t = 0
        return self.see(), {}

    def step(self, actions: Any) -> Any:
        self.t += 1
        return self.see(), [1.0, 2.0], self.t >= min(self.hidden, self.solved), False, {}

    def see(self) -> Any:
        return [np.full(2, float(self.t + 1), np.float32) for _ in range(2)]


class Rware(Team):
    """Names its limit as robotic warehouses do."""

    def __init__(self, max_steps: int = 500, max_inactivity_steps: int | None = None, solved: int = 99) -> None:
        self.hidden, self.solved = max_steps, solved


class Configured(Team):
    def __init__(self, config: dict[str, Any]) -> None:
        self.hidden = config["run"]["horizon"]


class Attribute(Team):
    def __init__(self) -> None:
        self.episode_limit = LIMIT


class ClassAttribute(Team):
    MAX_STEPS = LIMIT


class Property(Team):
    @property
    def _max_cycles(self) -> int:
        return LIMIT


class Inside(Team):
    def __init__(self) -> None:
        self.world = SimpleNamespace(max_episode_length=LIMIT)


class Late(Team):
    """Compares with > instead of >=."""

    def __init__(self, max_steps: int = LIMIT - 1) -> None:
        self.hidden = max_steps + 1


class Chosen(Team):
    """Chooses a limit for every episode."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.max_steps = self.hidden = 2 + (seed or 0) % 3
        return super().reset()


class Says(Team):
    """Says in its information that a limit ended the episode."""

    def step(self, actions: Any) -> Any:
        seen, rewards, over, cut, _ = super().step(actions)
        return seen, rewards, over, cut, {"TimeLimit.truncated": over, "episode_limit": 50}


class Nameless(Team):
    """Nothing tells its limit."""


class Sometimes(Team):
    """Nothing tells its limit, and every third episode truly ends before it."""

    played = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.played += 1
        self.H, self.solved = LIMIT, 2 if self.played % 3 == 0 else 99
        return super().reset()


class Leaving(Team):
    """Agent i ends after `ends[i]` steps, by a terminal unless it is among `cut`; the flags say so `once` or always."""

    def __init__(self, ends: Any = (5, 2), cut: Any = (), once: bool = False, gone: Any = "number") -> None:
        self.ends, self.cut, self.once, self.gone = ends, cut, once, gone
        self.taken: list[Any] = []

    def step(self, actions: Any) -> Any:
        self.t += 1
        self.taken.append(actions)
        over = [self.t == end if self.once else self.t >= end for end in self.ends]
        rewards: list[Any] = [1.0, 2.0]
        seen: list[Any] = self.see()
        for agent, end in enumerate(self.ends):
            if self.t > end and self.gone != "number":
                rewards[agent] = seen[agent] = self.gone
        cut = [flag and agent in self.cut for agent, flag in enumerate(over)]
        flags = [flag and agent not in self.cut for agent, flag in enumerate(over)]
        return seen, rewards, flags, cut, {"action_mask": [[0, 1, 1], [0, 1]]}


class Changing(Team):
    """Sorts, empties and fills what it was given."""

    def __init__(self, layout: Any = None, rules: Any = None, pair: Any = None) -> None:
        assert type(layout) is list and type(rules) is dict and type(rules["walls"]) is list, "no plain containers"
        layout.sort()
        self.seen = (list(layout), [list(wall) for wall in rules["walls"]], pair)
        rules["walls"][0].append(9)
        rules["new"] = rules.pop("old")
        if pair is not None:
            pair[1].clear()


class Wrong(Team):
    """Gives `value` as the `what` of agent 1 after `at` steps."""

    def __init__(self, what: str = "observation", value: str = "nan", at: int = 2) -> None:
        self.what, self.value, self.at = what, float(value), at

    def step(self, actions: Any) -> Any:
        seen, rewards, over, cut, info = super().step(actions)
        if self.what == "reward" and self.t == self.at:
            rewards[1] = self.value
        return seen, rewards, over, cut, info

    def see(self) -> Any:
        seen = super().see()
        if self.what == "observation" and self.t == self.at:
            seen[1][1] = self.value
        return seen


gymnasium.register("Rware-v0", entry_point=Rware, kwargs={"max_steps": LIMIT, "max_inactivity_steps": None})
for kind in (Configured, Attribute, ClassAttribute, Property, Inside, Late, Chosen, Says, Nameless, Sometimes, Leaving,
             Changing, Wrong):  # fmt: skip
    gymnasium.register(f"{kind.__name__}-v0", entry_point=kind)
gymnasium.register("Registered-v0", entry_point=Team, max_episode_steps=LIMIT)
