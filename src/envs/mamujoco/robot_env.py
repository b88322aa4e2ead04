"""Multi-agent MuJoCo: one of Gymnasium's robots, whose joints are shared among agents."""

import inspect
from typing import Any

import numpy as np

from envs.arguments import check_flag
from envs.mamujoco.division import OBSERVATIONS, Division
from envs.mamujoco.robots import check_names, fingerprint, is_unstable, make_robot
from envs.mpe.keys import check_time_limit
from envs.mpe.replay import write_gif
from envs.multiagentenv import as_array, check_reward_scalarisation
from envs.wrappers.wrapped_env import SeededEnv, check_render_mode
from utils.errors import EnvError


class RobotEnv(SeededEnv):
    """The robot `key` divided by `partition`; `envs.mamujoco.division.Division` says what agents do and see.

    It steps Gymnasium's single robot and divides its action, which is two to five times faster than
    gymnasium-robotics' environment and gives the same numbers. The state is the robot's own observation. All agents
    get the robot's reward, so `team_reward` is True. Actions are moved into each agent's bounds. Episodes terminate
    where the robot's do, and are truncated after `time_limit` steps (None: Gymnasium's limit), with
    `info["episode_limit"]` True. Further keywords go to Gymnasium's robot.
    `threads` is for `RobotVector`, which moves several robots; a single one needs no more than one.

    Where MuJoCo finds the simulation unstable it puts the robot back to its first pose. Such a step ends the episode as
    a truncation, with reward 0, the state before it, and `info["unstable"]` 1.

    Raises EnvError for an unknown robot, partition or keyword, and for actions of a wrong shape or value.
    """

    action_space = "continuous"
    team_reward = True

    def __init__(
        self,
        key: str,
        partition: str,
        observations: str = "full",
        agent_obsk: int = 1,
        observe_torso: bool = True,
        seed: int | None = None,
        time_limit: int | None = None,
        common_reward: bool = True,
        reward_scalarisation: str = "sum",
        render_mode: str | None = None,
        replay_path: str | None = "results/replay.gif",
        threads: int | None = None,
        **robot_args: Any,
    ) -> None:
        check_render_mode(render_mode)
        check_reward_scalarisation(reward_scalarisation)
        check_names(key, partition)
        check_observations(observations, agent_obsk, observe_torso)
        check_threads(threads)
        if time_limit is not None:
            check_time_limit(time_limit)
        known = set(inspect.signature(RobotEnv).parameters) - {"robot_args"}
        self.robot, own_limit = make_robot(key, robot_args, render_mode, known)
        self.key, self.OBSERVATIONS = key, observations
        self.episode_limit = own_limit if time_limit is None else time_limit
        self.division = Division(key, partition, self.robot, observations, agent_obsk, observe_torso)
        self.n_agents = self.division.n_agents
        self.action_low, self.action_high = self.division.bounds
        self.render_mode, self.replay_path = render_mode, replay_path
        super().__init__(seed)
        self._state: np.ndarray | None = None  # (S,) float64
        self._running = False
        self._t = 0
        self._frames: list[np.ndarray] = []

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[list[np.ndarray], dict[str, Any]]:
        """Start an episode. Without a seed, the first uses `env_args.seed`; later ones continue its random stream."""
        self._state, _ = self.robot.reset(seed=self.seed_of_reset(seed), options=options)
        self._t, self._running, self._frames = 0, True, []
        self._draw()
        return self.get_obs(), {}

    def step(self, actions: Any) -> tuple[list[np.ndarray], float | list[float], bool, bool, dict[str, Any]]:
        reward, terminated, truncated, info = self.advance(self.division.joint_action(as_array(actions)))
        return self.get_obs(), reward, terminated, truncated, info

    def advance(self, joint: np.ndarray) -> tuple[float, bool, bool, dict[str, Any]]:
        """One step with the robot's action (actuators,); what `step` returns, without the observations."""
        if not self._running:
            raise EnvError("no episode is running: call reset first, and again after the end of every episode")
        state, reward, terminated, _, info = self.robot.step(joint)
        self._t += 1
        unstable = is_unstable(self.robot.data)
        if unstable:
            reward, terminated = 0.0, False
        else:
            self._state = state
        truncated = not terminated and (unstable or self._t >= self.episode_limit)
        self._running = not (terminated or truncated)
        self._draw()
        numbers = {name: float(value) for name, value in info.items() if np.ndim(value) == 0}
        return (
            float(reward),
            bool(terminated),
            truncated,
            {**numbers, "unstable": float(unstable), "episode_limit": truncated},
        )

    def _draw(self) -> None:
        if self.render_mode == "rgb_array":
            self._frames.append(self.robot.render())

    def get_obs(self) -> list[np.ndarray]:
        return list(self.division.observe(self.exact_state()))

    def get_state(self) -> np.ndarray:
        return self.exact_state().astype(np.float32)

    def exact_state(self) -> np.ndarray:
        """The robot's own observation before it is rounded to float32, (S,)."""
        if self._state is None:
            raise EnvError("there is no observation yet: call reset first")
        return self._state

    def get_avail_actions(self) -> list[list[int]]:
        available: list[list[int]] = self.division.available.tolist()
        return available

    def get_obs_size(self) -> int:
        return self.division.obs_size

    def get_state_size(self) -> int:
        return self.division.state_size

    def get_total_actions(self) -> int:
        return self.division.size

    def get_env_info(self) -> dict[str, Any]:
        """The sizes, and as `simulator` what determines the numbers."""
        own = "all" if self.division.available.all() else self.get_avail_actions()
        return {**super().get_env_info(), "available": own, "simulator": fingerprint(self.robot)}

    def render(self) -> np.ndarray | None:
        """The current frame, uint8 (height, width, 3); None where render_mode is human, which draws in a window.

        It is the one kept for `save_replay`, not to be written to.
        """
        if self.render_mode is None:
            raise EnvError("rendering is off: set env_args.render_mode=rgb_array")
        if self._frames:
            return self._frames[-1]
        frame: np.ndarray | None = self.robot.render()
        return frame

    def save_replay(self) -> None:
        """Write the frames since the last reset to `replay_path`, as a GIF of 10 frames per second."""
        if self.render_mode != "rgb_array":
            raise EnvError("there are no frames to save: set env_args.render_mode=rgb_array")
        write_gif(self.replay_path or "results/replay.gif", self._frames)

    def close(self) -> None:
        self._running, self._frames = False, []
        self.robot.close()


def check_threads(threads: Any) -> None:
    """Raise EnvError unless the number of threads is whole and at least 1, or None."""
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise EnvError(f"env_args.threads must be a whole number of at least 1, not {threads!r}")


def check_observations(observations: Any, agent_obsk: Any, observe_torso: Any) -> None:
    """Raise EnvError for an unknown observation setting, and for values that mean nothing in it."""
    if observations not in OBSERVATIONS:
        raise EnvError(f"env_args.observations must be {' or '.join(OBSERVATIONS)}, not {observations!r}")
    if isinstance(agent_obsk, bool) or not isinstance(agent_obsk, int) or agent_obsk < 0:
        raise EnvError(f"env_args.agent_obsk must be a whole number of at least 0, not {agent_obsk!r}")
    check_flag("observe_torso", observe_torso)
    if observations == "full" and not observe_torso:
        raise EnvError("env_args.observe_torso=False has no meaning for observations=full: set observations=local")
