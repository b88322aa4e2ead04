"""A simulator of another library as a `MultiAgentEnv`."""

from typing import Any

import numpy as np

from envs.finite import check_finite
from envs.mpe.keys import check_time_limit
from envs.mpe.replay import write_gif
from envs.multiagentenv import MultiAgentEnv, as_array, check_reward_scalarisation, scalarise
from envs.wrappers.limits import OwnLimits
from envs.wrappers.simulators import Seen, Simulator
from envs.wrappers.spaces import Actions, Observations, has_mask
from utils.errors import EnvError

RENDER_MODES = (None, "rgb_array", "human")


def says_cut(info: dict[str, float]) -> bool:
    """Whether a simulator's information says that a time limit ended the episode."""
    return any(value == 1 and name.endswith(("TimeLimit.truncated", "episode_limit")) for name, value in info.items())


def check_render_mode(render_mode: str | None) -> None:
    """Raise `EnvError` for an unknown render mode."""
    if render_mode not in RENDER_MODES:
        raise EnvError(f"env_args.render_mode must be null, rgb_array or human, not {render_mode!r}")


def check_agents(key: str, simulator: Simulator) -> None:
    """Raise `EnvError` where there are no agents, or spaces of observations for more or fewer than there are."""
    n_agents, n_spaces = len(simulator.names), len(simulator.observation_spaces)
    if not n_agents:
        raise EnvError(f"{key} has no agents: correct the env_args that say how many, or the environment")
    if n_spaces != n_agents:
        raise EnvError(
            f"{key} has action spaces for {n_agents} agents and observation spaces for {n_spaces}: correct the "
            "environment"
        )


class SeededEnv(MultiAgentEnv):
    """Seeds of resets: the first one takes `env_args.seed`; later ones continue the simulator's random stream."""

    def __init__(self, seed: int | None) -> None:
        self._seed = self._next_seed = seed

    def seed_of_reset(self, seed: int | None) -> int | None:
        """The seed of the reset that begins, of which `seed` was asked; None to continue the stream."""
        if seed is not None:
            self._seed = seed
        elif self._next_seed is not None:
            seed = self._next_seed
        self._next_seed = None
        return seed

    def seed(self, seed: int | None = None) -> int | None:
        if seed is not None:
            self._seed = self._next_seed = seed
        return self._seed


class WrappedEnv(SeededEnv):
    """Base of the wrappers: padding, masks, time limits, rewards, seeds, information and rendering.

    Observations are padded with zeros to the longest. Padded actions and action dimensions have `avail_actions` 0. The
    state is the joined padded observations, or the simulator's own with `use_env_state`. An agent that ends before the
    others observes zeros and gets reward 0 from then on. It has only action 0 (continuous: any action), which is not
    executed. So does an agent that has not come yet; it is seen from the step on in which the simulator lets it act.

    The episode terminates when all agents have terminated. It is truncated when it ends in another way: at the
    simulator's limit or after `time_limit` steps. That step keeps its reward and has `info["episode_limit"]` True.
    Some simulators call their own limit a terminal state: an end exactly at one of `own_limits` is a truncation too.
    Where the simulator pays one number for the team, that is the reward, whatever `common_reward` says.
    MASKS_IN_INFO: whether a simulator may give action masks in `info`, of which nothing is known before they come.
    """

    MASKS_IN_INFO = True

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
        own_limits: OwnLimits,
        use_env_state: bool = False,
    ) -> None:
        check_time_limit(time_limit)
        super().__init__(seed)
        self.key = key
        self.episode_limit = time_limit
        self.common_reward = common_reward
        self.reward_scalarisation = check_reward_scalarisation(reward_scalarisation)
        self.render_mode = render_mode
        self.replay_path = replay_path
        self._simulator = simulator
        self._own_limits = own_limits
        self.n_agents = len(simulator.names)
        check_agents(key, simulator)
        self._observations = Observations(key, simulator.names, simulator.observation_spaces)
        self._actions = Actions(key, simulator.names, simulator.action_spaces)
        self.action_space = self._actions.kind
        if self.action_space == "continuous":
            self.action_low, self.action_high = self._actions.low, self._actions.high
        self._avail_actions = self._actions.available
        self._masks = any(map(has_mask, simulator.observation_spaces))
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
        seed = self.seed_of_reset(seed)
        seen = self._simulator.reset(seed, options)
        self._own_limits.begin()
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
        cut = outcome.terminated and (self._own_limits.reached(self._t) or says_cut(seen.info))
        terminated = outcome.terminated and not cut
        truncated = not terminated and (cut or outcome.truncated or self._t >= self.episode_limit)
        self._running = not (terminated or truncated)
        paid = outcome.rewards
        self.team_reward = not isinstance(paid, list)
        axes = () if self.team_reward else ("agent",)
        check_finite("reward", paid, axes, self.key, self._t)  # here, for a sum would hide whose it is
        info = self._take_in(seen)
        reward = scalarise(paid, self.common_reward, self.reward_scalarisation) if isinstance(paid, list) else paid
        return self.get_obs(), reward, terminated, truncated, {**info, "episode_limit": truncated}

    def _take_in(self, seen: Seen) -> dict[str, float]:
        """Store observations and masks. Return the info, with 0 for entries that are now missing."""
        acted = self._acting if self._obs is not None else [False] * self.n_agents
        over = not any(seen.acting)
        acting = acted if over and self._obs is not None else seen.acting
        before = None
        if self._obs is not None:
            # An agent that acted may get no observation: its last row is repeated.
            before = [row if had else np.zeros_like(row) for row, had in zip(self._obs, acted, strict=True)]
        for i, (had, has) in enumerate(zip(acted, acting, strict=True)):
            if not had and not has:
                seen.observations[i] = None  # it has ended, or has not come yet
            elif not had and seen.observations[i] is None:
                raise EnvError(
                    f"agent {self._simulator.names[i]} of {self.key} is to act after step {self._t} and has no "
                    "observation: the environment must give one for every agent that it lets act"
                )
        self._obs = self._observations.rows(seen.observations, before)
        self._acting = acting
        # Over: the simulator ended the episode. Learners bootstrap from the last row of one that was cut.
        masks = [None if over and mask is not None and not np.any(mask) else mask for mask in seen.masks]
        self._avail_actions = self._actions.masked(masks, acting)
        if self.render_mode == "rgb_array":
            frame: Any = self._simulator.env.render()
            if frame is not None:
                frame = np.array(frame)  # a copy, as a simulator may draw the next one into the same array
            self._frames.append(frame)
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

    def get_env_info(self) -> dict[str, Any]:
        """As the base class, and `available` where it is known which actions, or dimensions of actions, agents have."""
        return super().get_env_info() | self._available()

    def _available(self) -> dict[str, str | list[list[int]]]:
        discrete = self.action_space == "discrete"
        if self._masks and discrete:
            return {"available": "varies"}
        own = self._actions.available
        if not np.all(own):
            return {"available": own}  # masks in `info` can only take more away
        return {} if self.MASKS_IN_INFO and discrete else {"available": "all"}

    def get_obs_size(self) -> int:
        return self._observations.size

    def get_state_size(self) -> int:
        return self._state_size if self._use_env_state else self.n_agents * self._observations.size

    def get_total_actions(self) -> int:
        return self._actions.size

    def render(self) -> np.ndarray | None:
        """The current frame, uint8 (height, width, 3); None where render_mode is human, which draws in a window.

        It is the one kept for `save_replay`, not to be written to.
        """
        if self.render_mode is None:
            raise EnvError("rendering is off: set env_args.render_mode=rgb_array")
        if self._frames:
            return self._frames[-1]
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
