"""Interface of all environment wrappers: EPyMARL's method names, with the action type in `get_env_info`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from utils.bounds import Bounds, per_agent, shortest
from utils.errors import EnvError

ActionSpace = Literal["continuous", "discrete"]
REWARD_SCALARISATIONS = ("sum", "mean")


def as_array(actions: Any) -> np.ndarray:
    """Joint actions as a NumPy array, from a tensor on any device or anything array-like."""
    if hasattr(actions, "detach"):  # a tensor; torch is not imported, which would take a second per process
        actions = actions.detach().cpu().numpy()
    return np.asarray(actions)


def check_reward_scalarisation(name: str) -> str:
    """Return `name` unchanged. Raises `EnvError` unless it is `sum` or `mean`."""
    if name not in REWARD_SCALARISATIONS:
        raise EnvError(f"reward_scalarisation must be one of {', '.join(REWARD_SCALARISATIONS)}, not {name!r}")
    return name


def check_discrete_actions(actions: np.ndarray, shape: tuple[int, ...], widths: np.ndarray) -> np.ndarray:
    """Convert integer actions of shape `shape` or `shape + (1,)` to int64 of shape `shape`.

    widths: (N,) number of actions of each agent; agents are the last axis of `shape`. Raises `EnvError` for a wrong
    shape, a dtype that is not integer, and an action that an agent does not have.
    """
    if actions.shape == (*shape, 1):
        actions = actions[..., 0]
    if actions.shape != shape or actions.dtype.kind not in "iu":
        raise EnvError(
            f"discrete actions must be integers of shape {shape} or {(*shape, 1)}, not {actions.dtype} {actions.shape}"
        )
    bad = (actions < 0) | (actions >= widths)
    if bad.any():
        agent = int(np.argwhere(bad)[0][-1])
        raise EnvError(
            f"agent {agent} has actions 0 to {widths[agent] - 1}, but got {actions[bad][0]}: respect avail_actions"
        )
    return actions.astype(np.int64, copy=False)


def check_continuous_actions(actions: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return `actions` unchanged. Raises `EnvError` unless they are finite and of shape `shape`."""
    if actions.shape != shape:
        raise EnvError(f"continuous actions must have shape {shape}, not {actions.shape}")
    if not np.isfinite(actions).all():
        raise EnvError("an action is not finite: the policy has diverged, so use an earlier checkpoint")
    return actions


class MultiAgentEnv(ABC):
    """One environment with `n_agents` agents (N) and episodes of at most `episode_limit` steps.

    Constructor keywords: everything in `env_args` (with `seed`), `common_reward` and `reward_scalarisation`. An
    environment with continuous actions sets `action_space`, and `action_low` and `action_high`: A numbers or, where
    agents differ, N lists of A, in which a dimension that an agent lacks is 0. Its `get_total_actions` is the action
    dimension A (EPyMARL's `n_actions := action_dim` convention).

    team_reward: whether the simulator pays one number for the team, not one per agent. `step` then returns that number,
    whatever `common_reward` and `reward_scalarisation` say. It may become known with the first step only.

    OBSERVATIONS: what one agent's observation tells, for comparisons: `local`, or `full` where it is the whole state.
    """

    n_agents: int
    episode_limit: int
    action_space: ActionSpace = "discrete"
    team_reward: bool = False
    OBSERVATIONS: str = "local"
    action_low: Bounds
    action_high: Bounds

    @abstractmethod
    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[list[np.ndarray], dict[str, Any]]:
        """Start an episode. Return the N observations and an info dictionary."""

    @abstractmethod
    def step(self, actions: Any) -> tuple[list[np.ndarray], float | list[float], bool, bool, dict[str, Any]]:
        """Take joint actions, a tensor or array of shape (N,), (N, 1) or (N, A).

        Returns (observations, reward, terminated, truncated, info). `reward` is one float if `common_reward` or
        `team_reward`, else a list of N. `info` is flat and numeric, with the same keys at every step;
        `info["episode_limit"]` is True on a step that the time limit truncates.
        """

    @abstractmethod
    def get_obs(self) -> list[np.ndarray]:
        """Observations of the N agents, float32 (O,) each."""

    @abstractmethod
    def get_state(self) -> np.ndarray:
        """Global state, float32 (S,)."""

    @abstractmethod
    def get_avail_actions(self) -> list[list[int]]:
        """Available actions: N lists of A zeros and ones."""

    @abstractmethod
    def get_obs_size(self) -> int:
        """Length O of the longest observation."""

    @abstractmethod
    def get_state_size(self) -> int:
        """Length S of the state."""

    @abstractmethod
    def get_total_actions(self) -> int:
        """Number A of discrete actions, or of action dimensions, of the agent that has most."""

    @abstractmethod
    def render(self) -> np.ndarray | None:
        """The current frame, uint8 (height, width, 3), or None where the simulator draws in its own window."""

    @abstractmethod
    def save_replay(self) -> None:
        """Write the frames since the last reset to a file."""

    @abstractmethod
    def close(self) -> None:
        """Release the simulator."""

    @abstractmethod
    def seed(self, seed: int | None = None) -> int | None:
        """Seed the next reset if `seed` is given. Return the seed set last."""

    def get_obs_agent(self, agent_id: int) -> np.ndarray:
        return self.get_obs()[agent_id]

    def get_avail_agent_actions(self, agent_id: int) -> list[int]:
        return self.get_avail_actions()[agent_id]

    def get_stats(self) -> dict[str, float]:
        return {}

    def get_env_info(self) -> dict[str, Any]:
        """Sizes for the scheme: stock EPyMARL's keys, the action type, and the bounds of continuous actions.

        An environment that knows which actions its agents have adds `available`: "all", N lists of A zeros and ones
        where they are always the same, or "varies".
        """
        info: dict[str, Any] = {
            "state_shape": self.get_state_size(),
            "obs_shape": self.get_obs_size(),
            "n_actions": self.get_total_actions(),
            "n_agents": self.n_agents,
            "episode_limit": self.episode_limit,
            "action_space": self.action_space,
        }
        if self.action_space == "continuous":
            info["action_dim"] = self.get_total_actions()
            info["action_low"], info["action_high"] = self._bounds()
        return info

    def _bounds(self) -> tuple[Bounds, Bounds]:
        """The bounds as plain lists. Raises `EnvError` unless there is a finite box for every agent."""
        name, shape = type(self).__name__, (self.n_agents, self.get_total_actions())
        try:
            low, high = (per_agent(bounds, self.n_agents) for bounds in (self.action_low, self.action_high))
        except ValueError as error:
            raise EnvError(f"{name}.action_low or action_high is wrong: {error}") from error
        if not (low.shape == high.shape == shape and np.isfinite([low, high]).all() and (low <= high).all()):
            raise EnvError(f"{name} needs finite bounds of {shape[1]} action dimensions, action_low first")
        return shortest(low, high)


def scalarise(rewards: Sequence[float], common_reward: bool, reward_scalarisation: str) -> float | list[float]:
    """Combine N rewards into one float where `common_reward`, else return them as a list of N floats."""
    if not common_reward:
        return [float(reward) for reward in rewards]
    total = float(sum(rewards))
    return total if reward_scalarisation == "sum" else total / len(rewards)
