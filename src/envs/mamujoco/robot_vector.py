"""Many robots at once: stepped by several threads, observed as arrays."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from envs.mamujoco.robot_env import RobotEnv, check_threads
from envs.multiagentenv import as_array
from envs.vector_env import VectorEnv, stack_infos
from utils.cores import update_threads
from utils.errors import EnvError


class RobotVector(VectorEnv):
    """Up to `n_envs` episodes of `RobotEnv(**env_args)`; number i has seed + i.

    MuJoCo releases Python's lock while it computes, so threads share the work: `threads` of them, or None for those
    that `threads: auto` gives an update. Each robot is moved by one thread at a time, and its numbers do not depend on
    how many there are.
    """

    def __init__(
        self,
        n_envs: int,
        seed: int | None = None,
        common_reward: bool = True,
        reward_scalarisation: str = "sum",
        threads: int | None = None,
        **env_args: Any,
    ) -> None:
        super().__init__(n_envs, common_reward, reward_scalarisation)
        check_threads(threads)
        self.envs = [RobotEnv(**env_args, seed=None if seed is None else seed + i) for i in range(n_envs)]
        self.team_reward = True
        self.OBSERVATIONS = self.envs[0].OBSERVATIONS
        self.division = self.envs[0].division
        self.n_agents, self.episode_limit = self.envs[0].n_agents, self.envs[0].episode_limit
        wanted = update_threads("auto") if threads is None else threads
        self._threads = max(1, min(wanted, n_envs))
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None
        self._n_active = 0

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        own: Sequence[int | None] = [None] * self.n_envs if seeds is None else self.check_seeds(seeds)
        self._n_active = len(own)
        for env, seed in zip(self.envs[: self._n_active], own, strict=True):
            env.reset(seed=seed)
        self._terminated = np.zeros(self._n_active, dtype=bool)
        self._truncated = np.zeros(self._n_active, dtype=bool)
        self._infos: list[dict[str, Any]] = [{} for _ in own]
        self._look()

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        self._check_started()
        joint = as_array(actions)  # (E, N, A)
        if len(joint) != self._n_active:
            raise EnvError(f"step needs actions for {self._n_active} episodes, not {len(joint)}")
        motors = self.division.joint_action(joint)  # (E, actuators)
        reward = np.zeros(self._n_active)
        alive = np.flatnonzero(~(self._terminated | self._truncated))

        def move(which: np.ndarray) -> None:
            for i in which:
                outcome = self.envs[i].advance(motors[i])
                reward[i], self._terminated[i], self._truncated[i], self._infos[i] = outcome

        if self._pool is None or len(alive) < 2:
            move(alive)
        else:
            for done in [self._pool.submit(move, part) for part in np.array_split(alive, self._threads)]:
                done.result()
        self._look()
        paid = np.repeat(reward[:, None], self.n_agents, axis=1)  # (E, N)
        return paid, self._terminated.copy(), self._truncated.copy(), stack_infos(self._infos)

    def _look(self) -> None:
        self._states = np.stack([env.exact_state() for env in self.envs[: self._n_active]])  # (E, S)

    def get_obs(self) -> np.ndarray:
        self._check_started()
        return self.division.observe(self._states)

    def get_state(self) -> np.ndarray:
        self._check_started()
        return self._states.astype(np.float32)

    def get_avail_actions(self) -> np.ndarray:
        self._check_started()
        return np.repeat(self.division.available[None], self._n_active, axis=0)

    def get_env_info(self) -> dict[str, Any]:
        return self.envs[0].get_env_info()

    def close(self) -> None:
        self._n_active = 0
        if self._pool is not None:
            self._pool.shutdown()
        for env in self.envs:
            env.close()

    def _check_started(self) -> None:
        if not self._n_active:
            raise EnvError("the vectorised environment has no episodes yet: call reset first")
