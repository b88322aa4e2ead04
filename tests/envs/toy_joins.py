"""A PettingZoo environment whose agents come and go as a plan says."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

PLAN = {"a0": [(0, 6)], "a1": [(2, 4)]}


class parallel_env:
    """Agent `name` is there from step `start` of each of its intervals and ends after step `end`.

    kept: whether those that ended stay in `agents`. silent: a joining agent has no observation at first. wrong: what
    the environment gives, (observation or state, agent, value, step).
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(
        self, plan: Any = None, stranger: bool = False, silent: bool = False, kept: bool = False, cut: Any = (),
        wrong: Any = None, horizon: int | None = None,
    ) -> None:  # fmt: skip
        self.plan = PLAN if plan is None else plan
        self.possible_agents = [name for name in self.plan if not (stranger and name == "a1")]
        self.silent, self.kept, self.cut, self.wrong, self.horizon = silent, kept, cut, wrong, horizon
        self.unwrapped = self

    def observation_space(self, agent: str) -> spaces.Space:
        return spaces.Box(-np.inf, np.inf, (2,))

    def action_space(self, agent: str) -> spaces.Space:
        return spaces.Discrete(3)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.t = 0
        self.agents = self._there()
        self.taken: list[dict[str, Any]] = []
        return self._see(self.agents), {name: {} for name in self.agents}

    def step(self, actions: dict[str, Any]) -> Any:
        self.taken.append(actions)
        self.t += 1
        over = [name for name in actions if any(end == self.t for _, end in self.plan[name])]
        ended = dict.fromkeys(over, True)
        flags = {name: ended.get(name, False) and name not in self.cut for name in actions}
        cut = {name: ended.get(name, False) and name in self.cut for name in actions}
        if self.horizon == self.t:
            flags = dict.fromkeys(actions, True)
            over = list(actions)
        seen = self._see([*actions, *self._there()])
        self.agents = [name for name in self._there() if name not in over]
        if self.kept:
            self.agents = list(self.plan)
            flags |= {name: True for name in self.plan if name not in self._there()}
        return seen, dict.fromkeys(self.plan, 1.0), flags, cut, {}

    def _there(self) -> list[str]:
        return [name for name, times in self.plan.items() if any(start <= self.t < end for start, end in times)]

    def _see(self, names: list[str]) -> dict[str, Any]:
        seen = {name: np.full(2, 10.0 * int(name[1:]) + self.t + 1, np.float32) for name in names}
        if self.wrong is not None and self.wrong[0] == "observation" and self.t == self.wrong[3]:
            seen[self.wrong[1]] = np.full(2, self.wrong[2], np.float32)
        return {name: row for name, row in seen.items() if not (self.silent and name == "a1")}

    def state(self) -> np.ndarray:
        wrong = self.wrong is not None and self.wrong[0] == "state" and self.t == self.wrong[3]
        return np.array([1.0, self.wrong[2] if wrong else 0.0])

    def close(self) -> None:
        pass
