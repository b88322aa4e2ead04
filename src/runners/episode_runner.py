from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch as th

from components.episode_buffer import EpisodeBatch
from envs import make_env
from envs.multiagentenv import MultiAgentEnv
from envs.vector_env import episode_end, stack_infos
from runners.base_runner import BaseRunner
from utils.errors import ConfigError, EnvError


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
        return make_env(args.env, args.env_args, args.common_reward, args.reward_scalarisation)

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
        terminated = truncated = False
        info: dict[str, Any] = {}
        while not (terminated or truncated):
            self._check_limit()
            self._observe(env)
            actions = self._act(test_mode)
            _, reward, terminated, truncated, info = env.step(actions[0])
            reward = self._paid(reward)
            lacks_own = not self.args.common_reward and np.ndim(reward) == 0
            self._note_team_reward(lacks_own or getattr(env, "team_reward", False))
            if lacks_own:
                reward = [float(np.asarray(reward))] * self.args.n_agents  # a dataset holds the team's for each agent
            terminated, truncated = episode_end(terminated, truncated, info, self.t + 1 >= self.episode_limit)
            episode_return = episode_return + np.asarray(reward)
            outcome = {"reward": [np.atleast_1d(reward)], "terminated": [(terminated,)]}
            self.batch.update(outcome, ts=self.t)
            self.t += 1
        self._observe(env)
        self._act(test_mode)
        numeric = {key: float(value[0]) for key, value in stack_infos([info]).items()}
        self._finish([episode_return], [self.t], [numeric], [terminated], test_mode)
        return self.batch

    def _paid(self, reward: Any) -> Any:
        """A step's reward as it is: a number, or one per agent. Raises `EnvError` for another, or one not finite."""
        common, shape = self.args.common_reward, np.shape(reward)
        if common and shape == (1,):  # the only agent's
            reward, shape = reward[0], ()
        if shape and (common or shape != (self.args.n_agents,)):
            wanted = "a number" if common else f"{self.args.n_agents} of them, or a number for the team"
            raise EnvError(
                f"{self.environment} gives rewards of shape {shape}; with common_reward={common} its step must return "
                f"{wanted}"
            )
        self._check_reward(reward, ("agent",) if shape else ())
        return reward

    def _observe(self, env: MultiAgentEnv) -> None:
        state, obs = env.get_state(), env.get_obs()
        self._check_seen(obs, state, ())
        seen = {"state": [state], "avail_actions": [env.get_avail_actions()], "obs": [obs]}
        self.batch.update(seen, ts=self.t)

    def _act(self, test_mode: bool) -> th.Tensor:
        t_env = self._exploration_step()
        actions = self.mac.select_actions(self.batch, t_ep=self.t, t_env=t_env, test_mode=test_mode)
        self.batch.update({"actions": actions}, ts=self.t)
        return actions
