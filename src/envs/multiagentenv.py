"""The interface every environment wrapper offers; EPyMARL's method names, with the action type in `get_env_info`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from utils.errors import EnvError

ActionSpace = Literal["continuous", "discrete"]
REWARD_SCALARISATIONS = ("sum", "mean")


def as_array(actions: Any) -> np.ndarray:
    """Joint actions as a NumPy array, from a tensor on any device (with or without a graph) or anything array-like."""
    if hasattr(actions, "detach"):  # a tensor; worker processes do without torch, which takes a second to import
        actions = actions.detach().cpu().numpy()
    return np.asarray(actions)


def check_reward_scalarisation(name: str) -> str:
    """Returns `name` if it is a known way of turning N rewards into one; raises `EnvError` otherwise."""
    if name not in REWARD_SCALARISATIONS:
        raise EnvError(f"reward_scalarisation must be one of {', '.join(REWARD_SCALARISATIONS)}, not {name!r}.")
    return name


def check_discrete_actions(actions: np.ndarray, shape: tuple[int, ...], widths: np.ndarray) -> np.ndarray:
    """Integer actions of shape `shape`, or `shape + (1,)`, as int64 of shape `shape`.

    `widths` (N,) holds the number of actions of each agent, the last axis of `shape`. Raises `EnvError` on a wrong
    shape, a non-integer dtype or an action an agent does not have.
    """
    if actions.shape == (*shape, 1):
        actions = actions[..., 0]
    if actions.shape != shape or actions.dtype.kind not in "iu":
        raise EnvError(
            f"Discrete actions must be integers of shape {shape} or {(*shape, 1)}, not {actions.dtype} {actions.shape}."
        )
    bad = (actions < 0) | (actions >= widths)
    if bad.any():
        agent = int(np.argwhere(bad)[0][-1])
        raise EnvError(
            f"Agent {agent} has actions 0 to {widths[agent] - 1}, but got {actions[bad][0]}: respect avail_actions."
        )
    return actions.astype(np.int64, copy=False)


def check_continuous_actions(actions: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns `actions` if they are finite and of shape `shape`; raises `EnvError` otherwise."""
    if actions.shape != shape:
        raise EnvError(f"Continuous actions must have shape {shape}, not {actions.shape}.")
    if not np.isfinite(actions).all():
        raise EnvError("An action is not finite (NaN or infinite): the policy that produced it has diverged.")
    return actions


class MultiAgentEnv(ABC):
    """One environment with `n_agents` agents (N) and episodes of at most `episode_limit` steps.

    Constructor keywords are everything in `env_args` (with `seed`), `common_reward` and `reward_scalarisation`.
    Continuous action spaces set `action_space`, `action_low` and `action_high`; `get_total_actions` is then the action
    dimension (EPyMARL's `n_actions := action_dim` convention).
    """

    n_agents: int
    episode_limit: int
    action_space: ActionSpace = "discrete"
    action_low: list[float]
    action_high: list[float]

    @abstractmethod
    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[list[np.ndarray], dict[str, Any]]:
        """Starts an episode; returns the N observations and an info dictionary."""

    @abstractmethod
    def step(self, actions: Any) -> tuple[list[np.ndarray], float | list[float], bool, bool, dict[str, Any]]:
        """Takes joint actions, a tensor or array of shape (N,), (N, 1) or (N, A).

        Returns (observations, reward, terminated, truncated, info). `reward` is one float if `common_reward`, else a
        list of N. `info` is flat and numeric with the same keys at every step; `info["episode_limit"]` is True on the
        step that the time limit cut, which is a truncation and never a terminal state.
        """

    @abstractmethod
    def get_obs(self) -> list[np.ndarray]:
        """N float32 observations of equal length O."""

    @abstractmethod
    def get_state(self) -> np.ndarray:
        """Global state, float32 (S,)."""

    @abstractmethod
    def get_avail_actions(self) -> list[list[int]]:
        """N lists of A zeros and ones."""

    @abstractmethod
    def get_obs_size(self) -> int:
        """O, the length of the longest agent's observation."""

    @abstractmethod
    def get_state_size(self) -> int:
        """S."""

    @abstractmethod
    def get_total_actions(self) -> int:
        """A: the number of discrete actions, or the dimension of a continuous one, of the widest agent."""

    @abstractmethod
    def render(self) -> np.ndarray | None:
        """The current frame, uint8 (height, width, 3), or None where the simulator shows it in a window itself."""

    @abstractmethod
    def save_replay(self) -> None:
        """Writes the frames since the last reset to a file."""

    @abstractmethod
    def close(self) -> None:
        """Releases the simulator."""

    @abstractmethod
    def seed(self, seed: int | None = None) -> int | None:
        """Seeds the next reset if `seed` is given; returns the seed set last."""

    def get_obs_agent(self, agent_id: int) -> np.ndarray:
        return self.get_obs()[agent_id]

    def get_avail_agent_actions(self, agent_id: int) -> list[int]:
        return self.get_avail_actions()[agent_id]

    def get_stats(self) -> dict[str, float]:
        return {}

    def get_env_info(self) -> dict[str, Any]:
        """Sizes that the scheme is built from: stock's keys, plus the action type and, if continuous, its bounds."""
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
            info["action_low"] = list(self.action_low)
            info["action_high"] = list(self.action_high)
        return info


def scalarise(rewards: Sequence[float], common_reward: bool, reward_scalarisation: str) -> float | list[float]:
    """N rewards as the one float that `common_reward` asks for, or as a list of N."""
    if not common_reward:
        return [float(reward) for reward in rewards]
    total = float(sum(rewards))
    return total if reward_scalarisation == "sum" else total / len(rewards)
