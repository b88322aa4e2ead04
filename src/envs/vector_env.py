"""Vectorised environments: the interface to many episodes at once, and its implementation as a loop."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from envs.multiagentenv import MultiAgentEnv, as_array, check_reward_scalarisation
from utils.errors import EnvError, shown


class VectorEnv(ABC):
    """Up to `n_envs` episodes at once; E is the number of episodes that the last reset started.

    Rewards are always per agent; `scalarise` applies `common_reward` and `reward_scalarisation`. Where the environment
    pays one number for the team, each agent's is that number and `team_reward` is True from the first step on.
    """

    n_agents: int
    episode_limit: int
    OBSERVATIONS: str = "local"  # as `MultiAgentEnv.OBSERVATIONS`

    def __init__(self, n_envs: int, common_reward: bool, reward_scalarisation: str) -> None:
        if n_envs < 1:
            raise EnvError(f"a vectorised environment needs at least one episode, not n_envs={n_envs}")
        self.n_envs = n_envs
        self.team_reward = False
        self.common_reward = common_reward
        self.reward_scalarisation = check_reward_scalarisation(reward_scalarisation)

    @abstractmethod
    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """Start one episode per seed, or for None `n_envs` episodes from the environment's own random stream.

        The episode with seed s starts exactly as `MultiAgentEnv.reset(seed=s)` of the same key does. Raises `EnvError`
        for an empty list, more than `n_envs` seeds and a negative seed.
        """

    @abstractmethod
    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Take actions (E, N, A), or integers (E, N) or (E, N, 1), as a tensor or an array.

        Returns reward (E, N) float64, terminated (E,) bool, truncated (E,) bool and infos of (E,) arrays. An episode
        that has ended while others continue ignores its actions, gives reward 0 and keeps its flags.
        """

    @abstractmethod
    def get_obs(self) -> np.ndarray:
        """Observations, float32 (E, N, O)."""

    @abstractmethod
    def get_state(self) -> np.ndarray:
        """Global states, float32 (E, S)."""

    @abstractmethod
    def get_avail_actions(self) -> np.ndarray:
        """Available actions as zeros and ones, int64 (E, N, A)."""

    @abstractmethod
    def get_env_info(self) -> dict[str, Any]:
        """The dictionary of `MultiAgentEnv.get_env_info` for the same key."""

    @abstractmethod
    def close(self) -> None:
        """Release the simulators."""

    def scalarise(self, reward: np.ndarray) -> np.ndarray:
        """Rewards per agent (E, N) as team rewards (E,) if `common_reward`, else unchanged."""
        if not self.common_reward:
            return reward
        if self.team_reward:
            return reward[:, 0]
        return np.asarray(reward.sum(axis=1) if self.reward_scalarisation == "sum" else reward.mean(axis=1))

    def rewards_of(self, paid: Any) -> Any:
        """What one episode's step paid, as it is: rewards (N,), or a number for the team, which is then noted.

        Raises EnvError for anything else.
        """
        if np.shape(paid) not in ((), (self.n_agents,)):
            raise EnvError(
                "a vectorised environment needs rewards per agent, or one number for the team: build its parts with "
                "common_reward=False"
            )
        self.team_reward = self.team_reward or np.shape(paid) == ()
        return paid

    def check_seeds(self, seeds: Sequence[int]) -> list[int]:
        """Return the seeds as ints. Raises `EnvError` unless there are 1 to n_envs of them and none is negative."""
        if not 1 <= len(seeds) <= self.n_envs:
            raise EnvError(f"reset needs 1 to n_envs={self.n_envs} seeds, not {len(seeds)}")
        checked = [int(seed) for seed in seeds]
        if min(checked) < 0:
            raise EnvError(f"environment seeds must not be negative, but got {min(checked)}")
        return checked


def episode_end(terminated: bool, truncated: bool, info: Mapping[str, Any], at_limit: bool) -> tuple[bool, bool]:
    """(terminated, truncated) of a step, of which at most one is True: a time limit is a truncation.

    Stock EPyMARL's environments call a time limit terminated, with `info["episode_limit"]` True. Where the info does
    not say, an end on the last step that `episode_limit` allows (`at_limit`) is a time limit.
    """
    over = bool(terminated or truncated)
    cut = over and bool(info.get("episode_limit", at_limit) or not terminated)
    return over and not cut, cut


def stack_infos(infos: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Merge E flat info dictionaries into one of (E,) arrays; entries that an episode lacks are 0.

    Raises EnvError for an entry that is no number.
    """
    keys = dict.fromkeys(key for info in infos for key in info)
    return {key: _stacked(key, [info.get(key, 0) for info in infos]) for key in keys}


def _stacked(key: str, values: list[Any]) -> np.ndarray:
    try:
        stacked = np.array(values)
    except (ValueError, TypeError):  # lists of unequal lengths, a tensor on a GPU
        stacked = np.empty(0)
    if stacked.shape != (len(values),) or stacked.dtype.kind not in "biuf":
        numbers = bool | int | float | np.number | np.bool_
        wrong = next((value for value in values if not isinstance(value, numbers)), values)
        raise EnvError(
            f"the environment gives {shown(wrong)} as {key} of a step's info, whose entries must be numbers: leave it "
            "out there"
        )
    return stacked


class SyncVectorEnv(VectorEnv):
    """A loop over `n_envs` ordinary environments.

    make_env: builds environment i, with `common_reward=False`, because rewards are per agent here.
    """

    def __init__(
        self,
        n_envs: int,
        make_env: Callable[[int], MultiAgentEnv],
        common_reward: bool = True,
        reward_scalarisation: str = "sum",
    ) -> None:
        super().__init__(n_envs, common_reward, reward_scalarisation)
        self.envs = [make_env(i) for i in range(n_envs)]
        self.n_agents = self.envs[0].n_agents
        self.OBSERVATIONS = getattr(self.envs[0], "OBSERVATIONS", "local")  # stock EPyMARL's do not say
        self.episode_limit = self.envs[0].episode_limit
        self._active: list[MultiAgentEnv] = []
        self._terminated = np.zeros(0, dtype=bool)
        self._truncated = np.zeros(0, dtype=bool)
        self._infos: list[dict[str, Any]] = []
        self._t = 0

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        if seeds is None:
            self._active = self.envs
            for env in self._active:
                env.reset()
        else:
            checked = self.check_seeds(seeds)
            self._active = self.envs[: len(checked)]
            for env, seed in zip(self._active, checked, strict=True):
                env.reset(seed=seed)
        self._terminated = np.zeros(len(self._active), dtype=bool)
        self._truncated = np.zeros(len(self._active), dtype=bool)
        self._infos = [{} for _ in self._active]
        self._t = 0

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        self._check_started()
        joint = as_array(actions)  # (E, N, A) or (E, N, 1) or (E, N)
        if len(joint) != len(self._active):
            raise EnvError(f"step needs actions for {len(self._active)} episodes, not {len(joint)}")
        reward = np.zeros((len(self._active), self.n_agents))
        self._t += 1
        for i, env in enumerate(self._active):
            if self._terminated[i] or self._truncated[i]:
                continue
            _, rewards, terminated, truncated, self._infos[i] = env.step(joint[i])
            at_limit = self._t >= env.episode_limit
            self._terminated[i], self._truncated[i] = episode_end(terminated, truncated, self._infos[i], at_limit)
            reward[i] = self.rewards_of(rewards)
        return reward, self._terminated.copy(), self._truncated.copy(), stack_infos(self._infos)

    def get_obs(self) -> np.ndarray:
        self._check_started()
        return np.stack([np.stack(env.get_obs()) for env in self._active])

    def get_state(self) -> np.ndarray:
        self._check_started()
        return np.stack([env.get_state() for env in self._active])

    def get_avail_actions(self) -> np.ndarray:
        self._check_started()
        return np.array([env.get_avail_actions() for env in self._active])

    def get_env_info(self) -> dict[str, Any]:
        return self.envs[0].get_env_info()

    def close(self) -> None:
        for env in self.envs:
            env.close()

    def _check_started(self) -> None:
        if not self._active:
            raise EnvError("the vectorised environment has no episodes yet: call reset first")
