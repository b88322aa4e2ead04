"""Who moves which joint and sees which numbers: the single robot's action and state, divided among agents."""

import contextlib
import io
from typing import Any

import numpy as np

from envs.multiagentenv import check_continuous_actions
from utils.bounds import shortest
from utils.errors import EnvError

OBSERVATIONS = ("full", "local")


class Division:
    """Index tables for joint actions and observations of any number of episodes at once.

    widths: (N,) actuators of each agent. A: the largest of them. Rows of agents with fewer are padded with zeros, and
    `available` is 0 there.

    observations: `full`: every agent sees the whole state with its one-hot index behind, and this vector is
    standardised: minus its mean, divided by its standard deviation over the entries (the setting of OMIGA and
    ComaDICE). `local`: gymnasium-robotics' choice of the state's entries: an agent's own joints, those up to
    `agent_obsk` joints away, and the torso's; shorter observations are padded with zeros. torso: False leaves the
    torso's out, as in OMAR's and SPaCQL's HalfCheetah.

    Raises EnvError where a robot has no local observations.
    """

    def __init__(
        self, key: str, partition: str, robot: Any, observations: str, agent_obsk: int, torso: bool = True
    ) -> None:
        owners = actuators_of(key, partition)
        self.n_agents = len(owners)
        self.widths = np.array([len(own) for own in owners])  # (N,)
        self.size = int(self.widths.max())
        self.available = (np.arange(self.size) < self.widths[:, None]).astype(np.int64)  # (N, A)
        # Actuator j is entry `_slot[j]` of agent `_agent[j]`.
        self._agent = np.zeros(robot.model.nu, dtype=np.int64)
        self._slot = np.zeros(robot.model.nu, dtype=np.int64)
        low, high = (np.zeros((self.n_agents, self.size)) for _ in range(2))  # (N, A) each
        for agent, own in enumerate(owners):
            for slot, actuator in enumerate(own):
                self._agent[actuator], self._slot[actuator] = agent, slot
                low[agent, slot] = robot.action_space.low[actuator]
                high[agent, slot] = robot.action_space.high[actuator]
        self.low, self.high = low, high
        self.bounds = shortest(low, high, self.available > 0)
        self.state_size = int(robot.observation_space.shape[0])
        self._index: np.ndarray | None = None
        self.obs_size: int = self.state_size + self.n_agents
        if observations == "local":
            self._index = self._padded(local_entries(key, partition, robot, agent_obsk, torso))  # (N, O)
            self.obs_size = self._index.shape[1]

    def _padded(self, entries: list[np.ndarray]) -> np.ndarray:
        """Rows of equal length; entry S, one behind the state's last, stands for a zero."""
        index = np.full((self.n_agents, max(len(own) for own in entries)), self.state_size)
        for row, own in zip(index, entries, strict=True):
            row[: len(own)] = own
        return index

    def joint_action(self, actions: np.ndarray) -> np.ndarray:
        """Agents' actions (..., N, A), moved into the bounds, as the robot's actions (..., actuators), float64.

        Raises EnvError unless they are finite and of that shape.
        """
        checked = check_continuous_actions(actions, (*actions.shape[:-2], self.n_agents, self.size))
        inside = np.clip(checked.astype(np.float64), self.low, self.high)  # (..., N, A)
        return np.asarray(inside[..., self._agent, self._slot])

    def observe(self, states: np.ndarray) -> np.ndarray:
        """What agents see of states (..., S): float32 (..., N, O)."""
        lead = states.shape[:-1]
        if self._index is not None:
            padded = np.concatenate([states, np.zeros((*lead, 1))], axis=-1)  # (..., S+1)
            return np.asarray(padded[..., self._index], dtype=np.float32)
        seen = np.zeros((*lead, self.n_agents, self.obs_size))  # (..., N, S+N)
        seen[..., : self.state_size] = states[..., None, :]
        seen[..., self.state_size :] = np.eye(self.n_agents)
        seen -= seen.mean(axis=-1, keepdims=True)
        seen /= np.sqrt(np.square(seen).mean(axis=-1, keepdims=True))
        return seen.astype(np.float32)


def _robotics() -> Any:
    """gymnasium-robotics' multi-agent module, without what importing it prints about robots that are not used here."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        from gymnasium_robotics.envs.multiagent_mujoco import mujoco_multi
    return mujoco_multi


def actuators_of(key: str, partition: str) -> list[list[int]]:
    """The actuators of each agent, in the order of its action's entries."""
    parts, _, _ = _robotics().get_parts_and_edges(key, partition)
    return [[int(node.act_ids) for node in part] for part in parts]


def local_entries(key: str, partition: str, robot: Any, agent_obsk: int, torso: bool = True) -> list[np.ndarray]:
    """The state's entries that each agent sees. Raises EnvError for a robot whose state has no such structure."""
    if not hasattr(robot, "observation_structure"):
        raise EnvError(f"{key} has no local observations: set env_args.observations=full")
    try:
        multi = _robotics().MultiAgentMujocoEnv(
            key,
            partition,
            agent_obsk=min(agent_obsk, robot.model.njnt),  # none is further away, and every number costs a search
            gym_env=robot,
            global_categories=None if torso else (),
        )
    except (IndexError, ValueError, AssertionError, KeyError) as error:
        raise EnvError(
            f"{key} has no local observations with these env_args, for they leave out parts of its state: set "
            "env_args.observations=full"
        ) from error
    return [np.asarray(own, dtype=np.int64) for own in multi.observation_factorization.values()]
