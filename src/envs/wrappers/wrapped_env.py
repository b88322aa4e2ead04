"""A simulator of another library as a `MultiAgentEnv`."""

from typing import Any

import numpy as np

from envs.mpe.keys import check_time_limit
from envs.mpe.replay import write_gif
from envs.multiagentenv import MultiAgentEnv, as_array, check_reward_scalarisation, scalarise
from envs.wrappers.simulators import Seen, Simulator
from envs.wrappers.spaces import Actions, Observations
from utils.errors import EnvError

RENDER_MODES = (None, "rgb_array", "human")


def check_render_mode(render_mode: str | None) -> None:
    """Raise `EnvError` for an unknown render mode."""
    if render_mode not in RENDER_MODES:
        raise EnvError(f"env_args.render_mode must be null, rgb_array or human, not {render_mode!r}")


class WrappedEnv(MultiAgentEnv):
    """Base of the wrappers: padding, masks, time limits, rewards, seeds, information and rendering.

    Observations are padded with zeros to the longest. Padded actions and action dimensions have `avail_actions` 0. The
    state is the joined padded observations, or the simulator's own with `use_env_state`. An agent that ends before the
    others observes zeros and gets reward 0 from then on. It has only action 0 (continuous: any action), which is not
    executed.

    The episode terminates when all agents have terminated. It is truncated when it ends in another way: at the
    simulator's limit or after `time_limit` steps. That step keeps its reward and has `info["episode_limit"]` True.
    """

    def __init__(
        self,
        key: str,
        simulator: Simulator,
        seed: int | None,
        time_limit: int,
        common_reward: bool,
        reward_scalarisation: str,
        render_mode: str | None,
        replay_path: str,
        use_env_state: bool = False,
    ) -> None:
        check_time_limit(time_limit)
        self.key = key
        self.episode_limit = time_limit
        self.common_reward = common_reward
        self.reward_scalarisation = check_reward_scalarisation(reward_scalarisation)
        self.render_mode = render_mode
        self.replay_path = replay_path
        self._simulator = simulator
        self.n_agents = len(simulator.names)
        self._observations = Observations(key, simulator.names, simulator.observation_spaces)
        self._actions = Actions(key, simulator.names, simulator.action_spaces)
        self.action_space = self._actions.kind
        if self.action_space == "continuous":
            self.action_low, self.action_high = self._actions.low, self._actions.high
        self._avail_actions = self._actions.available
        self._seed = seed
        self._next_seed = seed
        self._obs: list[np.ndarray] | None = None
        self._acting = [True] * self.n_agents
        self._info: dict[str, float] = {}
        self._running = False
        self._t = 0
        self._frames: list[np.ndarray] = []
        self._use_env_state = use_env_state
        if use_env_state:  # only a state tells its size; the seed still decides the first episode
            simulator.reset(seed, None)
            self._state_size = len(simulator.state())

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[list[np.ndarray], dict[str, Any]]:
        """Start an episode. Without a seed, the first uses `env_args.seed`; later ones continue its random stream."""
        if seed is not None:
            self._seed = seed
        elif self._next_seed is not None:
            seed = self._next_seed
        self._next_seed = None
        seen = self._simulator.reset(seed, options)
        self._t = 0
        self._running = True
        self._frames = []
        self._obs = None
        info = self._take_in(seen)
        return self.get_obs(), info

    def step(self, actions: Any) -> tuple[list[np.ndarray], float | list[float], bool, bool, dict[str, Any]]:
        if not self._running:
            raise EnvError("no episode is running: call reset first, and again after the end of every episode")
        seen, outcome = self._simulator.step(self._actions.split(as_array(actions)))
        self._t += 1
        terminated = outcome.terminated
        truncated = not terminated and (outcome.truncated or self._t >= self.episode_limit)
        self._running = not (terminated or truncated)
        info = self._take_in(seen)
        reward = scalarise(outcome.rewards, self.common_reward, self.reward_scalarisation)
        return self.get_obs(), reward, terminated, truncated, {**info, "episode_limit": truncated}

    def _take_in(self, seen: Seen) -> dict[str, float]:
        """Store observations and masks. Return the info, with 0 for entries that are now missing."""
        before = self._obs
        if before is not None:
            # An agent that acted may get no observation: its last row is repeated. An agent that did not act has ended.
            before = [row if acted else np.zeros_like(row) for row, acted in zip(before, self._acting, strict=True)]
            seen.observations = [
                row if acted else None for row, acted in zip(seen.observations, self._acting, strict=True)
            ]
        self._obs = self._observations.rows(seen.observations, before)
        masks = seen.masks
        if any(seen.acting):
            self._acting = seen.acting
        else:  # the simulator truncated the episode: learners bootstrap from the last row as if it continued
            masks = [mask if mask is not None and np.any(mask) else None for mask in masks]
        self._avail_actions = self._actions.masked(masks, self._acting)
        if self.render_mode == "rgb_array":
            self._frames.append(self._simulator.env.render())
        self._info = {**dict.fromkeys(self._info, 0.0), **seen.info}
        return dict(self._info)

    def get_obs(self) -> list[np.ndarray]:
        if self._obs is None:
            raise EnvError("there is no observation yet: call reset first")
        return self._obs

    def get_state(self) -> np.ndarray:
        if self._use_env_state:
            return self._simulator.state()
        return np.concatenate(self.get_obs())

    def get_avail_actions(self) -> list[list[int]]:
        return [list(own) for own in self._avail_actions]

    def get_obs_size(self) -> int:
        return self._observations.size

    def get_state_size(self) -> int:
        return self._state_size if self._use_env_state else self.n_agents * self._observations.size

    def get_total_actions(self) -> int:
        return self._actions.size

    def render(self) -> np.ndarray | None:
        """The current frame, uint8 (height, width, 3); None where render_mode is human, which draws in a window."""
        if self.render_mode is None:
            raise EnvError("rendering is off: set env_args.render_mode=rgb_array")
        frame: np.ndarray | None = self._simulator.env.render()
        return frame

    def save_replay(self) -> None:
        """Write the frames since the last reset to `replay_path`, as a GIF of 10 frames per second."""
        if self.render_mode != "rgb_array":
            raise EnvError("there are no frames to save: set env_args.render_mode=rgb_array")
        write_gif(self.replay_path, self._frames)

    def close(self) -> None:
        self._running = False
        self._frames = []
        self._simulator.close()

    def seed(self, seed: int | None = None) -> int | None:
        if seed is not None:
            self._seed = self._next_seed = seed
        return self._seed
