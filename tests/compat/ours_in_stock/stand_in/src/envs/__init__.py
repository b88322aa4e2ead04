import gymnasium as gym
import numpy as np


class Team:
    """A Gymnasium environment of several agents behind stock's interface."""

    def __init__(self, key, time_limit, pretrained_wrapper, seed, common_reward, reward_scalarisation, **kwargs):
        assert common_reward and reward_scalarisation == "sum"
        self._env = gym.wrappers.TimeLimit(gym.make(key, **kwargs), max_episode_steps=time_limit)
        self.n_agents, self.episode_limit = self._env.unwrapped.n_agents, time_limit
        self._env.reset(seed=seed)

    def step(self, actions):
        self._obs, rewards, terminated, truncated, info = self._env.step([int(action) for action in actions])
        return self._obs, float(sum(rewards)), terminated, truncated, info

    def reset(self, seed=None, options=None):
        self._obs, info = self._env.reset(seed=seed, options=options)
        return self._obs, info

    def get_obs(self):
        return list(self._obs)

    def get_state(self):
        return np.concatenate(self._obs)

    def get_avail_actions(self):
        return [[1] * int(self._env.action_space[0].n) for _ in range(self.n_agents)]

    def get_env_info(self):
        width = self._env.observation_space[0].shape[0]
        return {
            "state_shape": width * self.n_agents,
            "obs_shape": width,
            "n_actions": int(self._env.action_space[0].n),
            "n_agents": self.n_agents,
            "episode_limit": self.episode_limit,
        }

    def save_replay(self):
        pass

    def close(self):
        self._env.close()


REGISTRY = {"gymma": Team}
