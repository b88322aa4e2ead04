"""mpe2's environments, and our scenarios on them, behind the `MultiAgentEnv` interface."""

import importlib
import inspect
import os
from typing import Any

import numpy as np

from envs.mpe.keys import OWN_KEYS, check_arguments, check_key, check_time_limit
from envs.mpe.replay import write_gif
from envs.multiagentenv import (
    MultiAgentEnv,
    as_array,
    check_continuous_actions,
    check_discrete_actions,
    check_reward_scalarisation,
    scalarise,
)
from utils.errors import EnvError

RENDER_MODES = (None, "rgb_array", "human")
# What the wrapper sets itself, so that env_args may not.
RESERVED = ("max_cycles", "continuous_actions", "render_mode")


class MPEEnv(MultiAgentEnv):
    """`key: simple_spread` (OMAR's variant) or any environment of mpe2 (`simple_spread_v3`, `simple_tag_v3`, ...).

    Shorter observations are padded with zeros to the longest; agents with fewer actions, or action dimensions, than
    the widest have `avail_actions` 0 beyond their own. The state is the joined (padded) observations. Episodes are
    cut after `time_limit` steps: truncated, never terminated, with the last step's real reward.

    Further keywords (`N`, `local_ratio`, `num_good`, ...) go to mpe2's own environment. With
    `render_mode="rgb_array"` every frame is kept until the next reset and `save_replay` writes them to `replay_path`
    as a GIF. Raises `EnvError` for an unknown key or keyword, and for actions of a wrong shape or value.
    """

    def __init__(
        self,
        key: str,
        seed: int | None = None,
        time_limit: int = 25,
        continuous_actions: bool = True,
        common_reward: bool = True,
        reward_scalarisation: str = "sum",
        render_mode: str | None = None,
        replay_path: str = "results/replay.gif",
        **scenario_args: Any,
    ) -> None:
        if render_mode not in RENDER_MODES:
            raise EnvError(f"env_args.render_mode must be null, rgb_array or human, not {render_mode!r}.")
        check_time_limit(time_limit)
        self.key = key
        self.episode_limit = time_limit
        self.common_reward = common_reward
        self.reward_scalarisation = check_reward_scalarisation(reward_scalarisation)
        self.render_mode = render_mode
        self.replay_path = replay_path
        self._env = _make_simulator(key, time_limit, continuous_actions, render_mode, scenario_args)
        if render_mode is None:
            self._env.unwrapped.screen = None  # mpe2's canvas of 2 MB: too much for hundreds of environments
        self._names = list(self._env.possible_agents)
        self.n_agents = len(self._names)
        self._set_spaces(continuous_actions)
        self._seed = seed
        self._next_seed = seed
        self._obs: list[np.ndarray] | None = None
        self._running = False
        self._frames: list[np.ndarray] = []

    def _set_spaces(self, continuous_actions: bool) -> None:
        self._obs_size = max(self._env.observation_space(name).shape[0] for name in self._names)
        spaces = [self._env.action_space(name) for name in self._names]
        if continuous_actions:
            self.action_space = "continuous"
            self._widths = np.array([space.shape[0] for space in spaces])  # (N,)
            widest = spaces[int(self._widths.argmax())]
            self.action_low = [float(value) for value in widest.low]
            self.action_high = [float(value) for value in widest.high]
        else:
            self.action_space = "discrete"
            self._widths = np.array([int(space.n) for space in spaces])  # (N,)
        self._action_spaces = spaces
        width = self.get_total_actions()
        self._avail_actions = [[int(action < own) for action in range(width)] for own in self._widths]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[list[np.ndarray], dict]:
        """Starts an episode; the first without a seed uses `env_args.seed`, later ones continue its random stream."""
        if seed is not None:
            self._seed = seed
        elif self._next_seed is not None:
            seed = self._next_seed
        self._next_seed = None
        observations, _ = self._env.reset(seed=seed, options=options)
        self._obs = self._pad(observations)
        self._running = True
        self._frames = []
        self._keep_frame()
        return self._obs, {}

    def step(self, actions: Any) -> tuple[list[np.ndarray], float | list[float], bool, bool, dict[str, Any]]:
        if not self._running:
            raise EnvError("There is no episode to step: call reset first, and again after every episode's end.")
        observations, rewards, terminations, truncations, _ = self._env.step(self._split(as_array(actions)))
        terminated = all(terminations[name] for name in self._names)
        truncated = not terminated and any(truncations[name] for name in self._names)
        self._running = not (terminated or truncated)
        self._obs = self._pad(observations)
        self._keep_frame()
        reward = scalarise([rewards[name] for name in self._names], self.common_reward, self.reward_scalarisation)
        return self._obs, reward, terminated, truncated, {"episode_limit": truncated}

    def _split(self, actions: np.ndarray) -> dict[str, Any]:
        """Joint actions, (N,), (N, 1) or (N, A), as one action per agent's name, padding dropped, bounds applied."""
        if self.action_space == "discrete":
            chosen = check_discrete_actions(actions, (self.n_agents,), self._widths)
            return {name: int(action) for name, action in zip(self._names, chosen, strict=True)}
        rows = check_continuous_actions(actions, (self.n_agents, self.get_total_actions()))
        # float32 is mpe2's action dtype: anything else it clips with a warning for every agent and step.
        return {
            name: np.clip(row[:own].astype(np.float32), space.low, space.high)
            for name, row, own, space in zip(self._names, rows, self._widths, self._action_spaces, strict=True)
        }

    def _pad(self, observations: dict[str, np.ndarray]) -> list[np.ndarray]:
        padded = []
        for name in self._names:
            row = np.zeros(self._obs_size, dtype=np.float32)
            row[: len(observations[name])] = observations[name]
            padded.append(row)
        return padded

    def _keep_frame(self) -> None:
        if self.render_mode == "rgb_array":
            self._frames.append(self._env.render())

    def get_obs(self) -> list[np.ndarray]:
        if self._obs is None:
            raise EnvError("There is no observation yet: call reset first.")
        return self._obs

    def get_state(self) -> np.ndarray:
        return np.concatenate(self.get_obs())

    def get_avail_actions(self) -> list[list[int]]:
        return [list(own) for own in self._avail_actions]

    def get_obs_size(self) -> int:
        return self._obs_size

    def get_state_size(self) -> int:
        return self.n_agents * self._obs_size

    def get_total_actions(self) -> int:
        return int(self._widths.max())

    def render(self) -> np.ndarray | None:
        """The current frame, uint8 (700, 700, 3); shown in a window, and None, if `render_mode` is human."""
        if self.render_mode is None:
            raise EnvError("Rendering is off: set env_args.render_mode=rgb_array.")
        return self._env.render()

    def save_replay(self) -> None:
        """Writes the frames since the last reset to `replay_path`, as a GIF of 10 frames a second."""
        if self.render_mode != "rgb_array":
            raise EnvError("There are no frames to save: set env_args.render_mode=rgb_array.")
        write_gif(self.replay_path, self._frames)

    def close(self) -> None:
        self._running = False
        self._frames = []
        # mpe2 closes by shutting pygame down for the whole process, other environments included; without a window
        # there is nothing that needs it.
        if self.render_mode == "human":
            self._env.close()

    def seed(self, seed: int | None = None) -> int | None:
        if seed is not None:
            self._seed = self._next_seed = seed
        return self._seed


def _make_simulator(
    key: str, time_limit: int, continuous_actions: bool, render_mode: str | None, scenario_args: dict[str, Any]
) -> Any:
    """A PettingZoo parallel environment; headless unless a window is asked for."""
    if render_mode != "human":
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    check_key(key)
    module = importlib.import_module(f"envs.mpe.{key}" if key in OWN_KEYS else f"mpe2.{key}")
    raw_env = module.SpreadEnv if key in OWN_KEYS else module.raw_env
    own_args = set(inspect.signature(MPEEnv).parameters) - {"key", "scenario_args"}
    simulator_args = set(inspect.signature(raw_env).parameters) - set(RESERVED)
    check_arguments(key, scenario_args, own_args | simulator_args)
    try:
        return module.parallel_env(
            max_cycles=time_limit, continuous_actions=continuous_actions, render_mode=render_mode, **scenario_args
        )
    except AssertionError as error:
        raise EnvError(f"mpe2 refuses the env_args of {key}: {error}") from error
