"""Small environments in the two conventions of the gymma wrapper, with all that makes wrapping them hard."""

from __future__ import annotations

import os
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class parallel_env:
    """Agent a leaves after `a_ends` steps; b goes on to `length`, and is `cut` there or terminates.

    a observes a 2x2 box and has 3 actions; b observes one of 3 (with a mask) and has the actions 1 and 2.
    """

    metadata: dict[str, Any] = {"render_modes": []}
    possible_agents = ["a", "b"]

    def __init__(
        self, a_ends: int = 2, length: int = 4, cut: bool = False, crash: str = "", continuous: bool = False
    ) -> None:
        self.a_ends, self.length, self.cut, self.crash, self.continuous = a_ends, length, cut, crash, continuous
        self.unwrapped = self
        self.taken: list[dict[str, Any]] = []

    def observation_space(self, agent: str) -> spaces.Space:
        if agent == "a":
            return spaces.Box(-1.0, 100.0, (2, 2))
        return spaces.Dict({"observation": spaces.Discrete(3), "action_mask": spaces.MultiBinary(2)})

    def action_space(self, agent: str) -> spaces.Space:
        if self.continuous:
            return spaces.Box(-1.0, 2.0, (2, 2)) if agent == "a" else spaces.Box(-5.0, 1.0, (1,))
        return spaces.Discrete(3) if agent == "a" else spaces.Discrete(2, start=1)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.t = 0
        self.agents = ["a", "b"]
        self.taken = []
        return self._see(self.agents)

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        if self.crash == "raise":
            raise ValueError("the wheels\ncame off")
        if self.crash == "die":
            os._exit(3)
        self.taken.append(actions)
        acted = list(self.agents)
        assert sorted(actions) == acted
        self.t += 1
        ends = {"a": self.t >= self.a_ends, "b": self.t >= self.length}
        self.agents = [name for name in acted if not ends[name]]
        rewards = {name: float(self.t) * (1 if name == "a" else 10) for name in acted}
        observations, infos = self._see(acted)
        terminations = {name: ends[name] and not (self.cut and name == "b") for name in acted}
        truncations = {name: ends[name] and not terminations[name] for name in acted}
        return observations, rewards, terminations, truncations, infos

    def _see(self, names: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        mask = np.array([1, self.t % 2], dtype=np.int8)
        values = {"a": np.full((2, 2), self.t + 1.0), "b": {"observation": self.t % 3, "action_mask": mask}}
        infos = {"a": {"speed": 1.5, "word": "text"}, "b": {"array": np.zeros(3)}}
        return {name: values[name] for name in names}, {name: infos[name] for name in names}

    def state(self) -> np.ndarray:
        return np.full((2, 3), float(self.t))

    def close(self) -> None:
        pass


class TwoAgents(gymnasium.Env):
    """Two agents that observe the step; reward 1 and 2; each agent may do at step t what `action_mask` allows."""

    observation_space = spaces.Tuple((spaces.Box(0.0, 9.0, (1,)), spaces.MultiDiscrete([2, 3])))
    action_space = spaces.Tuple((spaces.Discrete(2), spaces.Discrete(3)))

    def __init__(self, ends_at: int = 99, team_reward: bool = False, per_agent_ends: bool = False) -> None:
        self.ends_at, self.team_reward, self.per_agent_ends = ends_at, team_reward, per_agent_ends

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return self._see()

    def step(self, actions: Any) -> Any:
        self.t += 1
        observations, info = self._see()
        rewards = 3.0 if self.team_reward else [1.0, 2.0]
        over: Any = self.t >= self.ends_at
        if self.per_agent_ends:
            over = [self.t >= 1, over]
        return observations, rewards, over, False, info

    def _see(self) -> tuple[Any, dict[str, Any]]:
        info: dict[str, Any] = {"action_mask": [[1, self.t % 2], [0, 1, 1]], "steps": self.t}
        if self.t == 1:
            info["only_now"] = True
        return (np.array([self.t], dtype=np.float32), np.array([self.t % 2, 2])), info


gymnasium.register("TwoAgents-v0", entry_point=TwoAgents, max_episode_steps=3)
gymnasium.register("Boundless-v0", entry_point=TwoAgents)
