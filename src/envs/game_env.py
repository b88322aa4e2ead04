"""Base of the small games with known optima: two agents that observe the state, one team reward, no randomness."""

from abc import abstractmethod
from typing import Any

import numpy as np

from envs.mpe.keys import check_time_limit
from envs.multiagentenv import (
    MultiAgentEnv,
    as_array,
    check_discrete_actions,
    check_reward_scalarisation,
    scalarise,
)
from utils.errors import EnvError

NO_PICTURES = "the matrix game and Bridge cannot be drawn: leave out render=True and env_args.render_mode"


class GameEnv(MultiAgentEnv):
    """A deterministic game of two agents; a subclass states its rules in `_start`, `_play` and `get_state`.

    Both agents observe the state (O = S) and all actions are always available. Each agent is paid the team's reward, so
    `reward_scalarisation="mean"` gives the team's reward and "sum" twice that. Episodes are truncated after
    `episode_limit` steps, with `info["episode_limit"]` True. `seed` changes nothing. Raises `EnvError` for a limit
    below 1, an unknown scalarisation, and actions of a wrong shape or value.
    """

    n_agents = 2
    OBSERVATIONS = "full"

    def __init__(
        self, n_actions: int, seed: int | None, episode_limit: int, common_reward: bool, reward_scalarisation: str
    ) -> None:
        check_time_limit(episode_limit, "episode_limit")
        self.episode_limit = episode_limit
        self.common_reward = common_reward
        self.reward_scalarisation = check_reward_scalarisation(reward_scalarisation)
        self._n_actions = n_actions
        self._seed = seed
        self._running = False
        self._t = 0

    @abstractmethod
    def _start(self) -> None:
        """Put the game in its first state."""

    @abstractmethod
    def _play(self, first: int, second: int, last_step: bool) -> tuple[float, bool]:
        """Apply both actions. Return the team's reward and whether the episode terminates.

        last_step: whether the time limit cuts the episode after this step.
        """

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[list[np.ndarray], dict[str, Any]]:
        self.seed(seed)
        self._start()
        self._t = 0
        self._running = True
        return self.get_obs(), {}

    def step(self, actions: Any) -> tuple[list[np.ndarray], float | list[float], bool, bool, dict[str, Any]]:
        if not self._running:
            raise EnvError("no episode is running: call reset first, and again after the end of every episode")
        widths = np.full(self.n_agents, self._n_actions)
        first, second = check_discrete_actions(as_array(actions), (self.n_agents,), widths)
        self._t += 1
        last_step = self._t >= self.episode_limit
        team_reward, terminated = self._play(int(first), int(second), last_step)
        truncated = last_step and not terminated
        self._running = not (terminated or truncated)
        reward = scalarise([team_reward] * self.n_agents, self.common_reward, self.reward_scalarisation)
        return self.get_obs(), reward, terminated, truncated, {"episode_limit": truncated}

    def get_obs(self) -> list[np.ndarray]:
        return [self.get_state() for _ in range(self.n_agents)]

    def get_avail_actions(self) -> list[list[int]]:
        return [[1] * self._n_actions for _ in range(self.n_agents)]

    def get_env_info(self) -> dict[str, Any]:
        return super().get_env_info() | {"available": "all"}

    def get_obs_size(self) -> int:
        return self.get_state_size()

    def get_total_actions(self) -> int:
        return self._n_actions

    def render(self) -> np.ndarray | None:
        """Raise `EnvError`: games cannot be drawn."""
        raise EnvError(NO_PICTURES)

    def save_replay(self) -> None:
        """Raise `EnvError`: games cannot be drawn."""
        raise EnvError(NO_PICTURES)

    def close(self) -> None:
        self._running = False

    def seed(self, seed: int | None = None) -> int | None:
        if seed is not None:
            self._seed = seed
        return self._seed
