"""Two agents, three actions, five numbers each; copied beside the checkouts under test and imported by its key."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

WIDTH, N_ACTIONS, N_AGENTS = 5, 3, 2


class TinyTeam(gym.Env):
    """An agent earns 1 where its action is 0 and its first number positive, or 1 and negative. Both at 2 end it.

    counting: instead, an episode's return is how many were begun before it, and only the time limit ends it.
    """

    n_agents = N_AGENTS
    action_space = spaces.Tuple([spaces.Discrete(N_ACTIONS)] * N_AGENTS)
    observation_space = spaces.Tuple([spaces.Box(-9.0, 9.0, (WIDTH,), np.float32)] * N_AGENTS)

    def __init__(self, counting: bool = False) -> None:
        self.counting, self.begun = counting, -1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.begun += 1
        self.first = True
        return self.look(), {}

    def look(self) -> tuple[np.ndarray, ...]:
        self.obs = self.np_random.normal(size=(N_AGENTS, WIDTH)).astype(np.float32)
        return tuple(self.obs)

    def step(self, action: Any) -> Any:
        if self.counting:
            rewards, done = [float(self.begun * self.first), 0.0], False
        else:
            rewards = [float(choice == (seen[0] <= 0)) for choice, seen in zip(action, self.obs, strict=True)]
            done = all(choice == 2 for choice in action)
        self.first = False
        return self.look(), rewards, done, False, {}


gym.register("TinyTeam-v0", entry_point=TinyTeam, disable_env_checker=True)
gym.register("CountingTeam-v0", entry_point=TinyTeam, kwargs={"counting": True}, disable_env_checker=True)
