from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch as th

from components.episode_buffer import EpisodeBatch
from envs import REGISTRY as env_REGISTRY
from envs.multiagentenv import MultiAgentEnv
from runners.base_runner import BaseRunner
from utils.errors import ConfigError


class EpisodeRunner(BaseRunner):
    """One environment, one episode per call (stock's `episode` runner)."""

    @staticmethod
    def make_env(args: SimpleNamespace) -> MultiAgentEnv:
        """One environment. Raises ConfigError where more episodes are asked for at a time."""
        if args.batch_size_run != 1:
            raise ConfigError(
                f"batch_size_run={args.batch_size_run}: the episode runner plays one episode at a time; "
                "set batch_size_run=1 or runner=vector"
            )
        return env_REGISTRY[args.env](
            **args.env_args, common_reward=args.common_reward, reward_scalarisation=args.reward_scalarisation
        )

    def save_replay(self) -> None:
        """Write the pictures of the newest episode, where the environment keeps any."""
        (self._test_env or self.env).save_replay()

    def reset(self, test_mode: bool = False) -> MultiAgentEnv:
        """Start an episode; returns the environment it is played in."""
        self.batch = self.new_batch(batch_size=self.batch_size)
        self.t = 0
        if not test_mode:
            env: MultiAgentEnv = self.env
            env.reset()
        else:
            env = self._test_environment()
            env.reset(seed=self.evaluation_seed + self._next_test_episode())
        return env

    @th.no_grad()
    def run(self, test_mode: bool = False) -> EpisodeBatch:
        """Play one episode. Returns (1, episode_limit + 1) rows; the last filled one holds the final state."""
        env = self.reset(test_mode)
        self.mac.init_hidden(batch_size=self.batch_size)
        episode_return: Any = 0.0 if self.args.common_reward else np.zeros(self.args.n_agents)
        done = False
        info: dict[str, Any] = {}
        while not done:
            self._observe(env)
            actions = self._act(test_mode)
            _, reward, terminated, truncated, info = env.step(actions[0])
            done = terminated or truncated
            episode_return = episode_return + np.asarray(reward)
            outcome = {"reward": [np.atleast_1d(reward)], "terminated": [(done != info.get("episode_limit", False),)]}
            self.batch.update(outcome, ts=self.t)
            self.t += 1
        self._observe(env)
        self._act(test_mode)
        numeric = {key: float(value) for key, value in info.items()}
        self._finish([episode_return], [self.t], [numeric], test_mode)
        return self.batch

    def _observe(self, env: MultiAgentEnv) -> None:
        seen = {"state": [env.get_state()], "avail_actions": [env.get_avail_actions()], "obs": [env.get_obs()]}
        self.batch.update(seen, ts=self.t)

    def _act(self, test_mode: bool) -> th.Tensor:
        actions = self.mac.select_actions(self.batch, t_ep=self.t, t_env=self.t_env, test_mode=test_mode)
        self.batch.update({"actions": actions}, ts=self.t)
        return actions
