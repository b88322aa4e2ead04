from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch as th

from components.episode_buffer import EpisodeBatch
from controllers.basic_controller import BasicMAC
from envs import make_vector_env
from envs.vector_env import VectorEnv
from runners.base_runner import BaseRunner


class VectorRunner(BaseRunner):
    """Many episodes in one process, stepped together: `batch_size_run` a call, fewer where an evaluation needs fewer.

    Environments that step many episodes as arrays play thousands of them a second; others are stepped one by one.
    """

    @staticmethod
    def make_env(args: SimpleNamespace) -> VectorEnv:
        return make_vector_env(
            args.env, args.batch_size_run, args.env_args, args.common_reward, args.reward_scalarisation
        )

    def setup(self, scheme: dict[str, Any], groups: dict[str, int], preprocess: dict[str, Any], mac: BasicMAC) -> None:
        super().setup(scheme, groups, preprocess, mac)
        # Stock's MADDPG controller selects for whole batches only.
        self._selects_rows = "bs" in inspect.signature(mac.select_actions).parameters

    def _reset(self, test_mode: bool) -> VectorEnv:
        if not test_mode:
            env: VectorEnv = self.env
            env.reset()
        else:
            env = self._test_environment()
            played = self._next_test_episode()
            n_episodes = min(self.batch_size, self.args.test_nepisode - played)
            env.reset([self.evaluation_seed + played + i for i in range(n_episodes)])
        return env

    @th.no_grad()
    def run(self, test_mode: bool = False) -> EpisodeBatch:
        """Play a batch of episodes. Returns (E, episode_limit + 1) rows; each episode's last filled row is its end."""
        env = self._reset(test_mode)
        n_episodes = env.get_obs().shape[0]
        self.batch = self.new_batch(batch_size=n_episodes)
        self.mac.init_hidden(batch_size=n_episodes)
        alive = np.ones(n_episodes, dtype=bool)
        lengths = np.zeros(n_episodes, dtype=np.int64)
        total: Any = 0.0
        infos: dict[str, np.ndarray] = {}
        self.t = 0
        actions = self._observe_and_act(env, alive, test_mode)
        while alive.any():
            self._check_limit()
            reward, terminated, truncated, infos = env.step(actions)  # (E, N), (E,), (E,)
            self._note_team_reward(getattr(env, "team_reward", False))
            self._check_reward(reward, ("episode", "agent"))
            scalarised = env.scalarise(reward)  # (E,) or (E, N)
            rows = _rows(alive)
            outcome = {"reward": scalarised[rows], "terminated": terminated[rows]}
            if "agent_rewards" in self.batch.scheme:  # a run that is recorded as a dataset
                outcome["agent_rewards"] = reward[rows]
            self.batch.update({key: value.reshape(len(value), 1, -1) for key, value in outcome.items()}, rows, self.t)
            total = total + scalarised
            lengths += alive
            played = alive
            alive = alive & ~(terminated | truncated)
            self.t += 1
            # Of those that ended: their final state, and the action the policy would take there. One call per
            # step, for each advances the recurrent state of every episode.
            actions = self._observe_and_act(env, played, test_mode)
        last_infos = [{key: float(value[i]) for key, value in infos.items()} for i in range(n_episodes)]
        self._finish(list(total), lengths.tolist(), last_infos, terminated.tolist(), test_mode)
        return self.batch

    def _observe_and_act(self, env: VectorEnv, which: np.ndarray, test_mode: bool) -> np.ndarray:
        """Record what the episodes `which` see and do at step t; returns every episode's action, zeros elsewhere."""
        rows = _rows(which)
        seen = {"state": env.get_state(), "obs": env.get_obs(), "avail_actions": env.get_avail_actions()}
        self._check_seen(seen["obs"], seen["state"], ("episode",))
        self.batch.update({key: value[rows][:, None] for key, value in seen.items()}, rows, self.t)
        chosen = self._select(rows, test_mode)  # (rows, N) or (rows, N, A)
        self.batch.update({"actions": chosen.unsqueeze(1)}, rows, self.t)
        actions = np.zeros((len(which), *chosen.shape[1:]), dtype=chosen.cpu().numpy().dtype)  # (E, N) or (E, N, A)
        actions[rows] = chosen.cpu().numpy()
        return actions

    def _select(self, rows: Any, test_mode: bool) -> th.Tensor:
        now: dict[str, Any] = {"t_ep": self.t, "t_env": self._exploration_step(), "test_mode": test_mode}
        if self._selects_rows:
            chosen: th.Tensor = self.mac.select_actions(self.batch, bs=rows, **now)
            return chosen
        every: th.Tensor = self.mac.select_actions(self.batch, **now)
        return every[rows]


def _rows(which: np.ndarray) -> Any:
    """The marked episodes as an index; a slice where it is all of them, which keeps writes contiguous."""
    return slice(None) if which.all() else np.flatnonzero(which)
