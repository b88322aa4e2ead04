"""PettingZoo's parallel API and Gymnasium's multi-agent convention behind one interface."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from envs.wrappers.spaces import split_mask
from utils.errors import EnvError, one_line

_PETTINGZOO, _GYMNASIUM = "PettingZoo's parallel API", "Gymnasium's convention for several agents"


@dataclass
class Seen:
    """Result of a reset or step; lists have one entry per agent, in the order of `Simulator.names`."""

    observations: list[Any]  # None where the simulator gives none
    masks: list[Any]  # zeros and ones, one per action of the agent; None without a mask
    acting: list[bool]  # whether the agent acts in the next step
    info: dict[str, float]


@dataclass
class Outcome:
    """Rewards of a step and how it ends the episode.

    rewards: one per agent, 0 for agents that did not act; or one number for the team, where the simulator pays that.
    `terminated` if all agents terminated, `truncated` if it ends in another way.
    """

    rewards: list[float] | float
    terminated: bool
    truncated: bool


@contextmanager
def reading(key: str, call: str, convention: str) -> Iterator[None]:
    """A context that reads what `call` of a simulator gave. Raises `EnvError` for what the convention does not allow.

    The simulator is called outside of it, so an error of its own keeps its traceback.
    """
    try:
        yield
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise EnvError(
            f"{call} of {key} gives what {convention} does not allow ({type(error).__name__}: {one_line(error)}); "
            "wrap the environment so that it follows it"
        ) from error


class Simulator(ABC):
    """An environment of another library; actions and observations are in that library's spaces."""

    names: list[str]
    observation_spaces: list[Any]
    action_spaces: list[Any]
    env: Any

    @abstractmethod
    def reset(self, seed: int | None, options: dict[str, Any] | None) -> Seen:
        """Start an episode."""

    @abstractmethod
    def step(self, actions: Sequence[Any]) -> tuple[Seen, Outcome]:
        """Take one action per agent; actions of agents that have ended are dropped."""

    def state(self) -> np.ndarray:
        """The environment's own global state, float32 (S,). Raises `EnvError` where it has none."""
        try:
            return np.ravel(np.asarray(self.env.state(), dtype=np.float32))
        except (AttributeError, NotImplementedError) as error:
            raise EnvError(
                "the environment has no state() of its own: set env_args.use_env_state=False for joined observations"
            ) from error

    def close(self) -> None:
        self.env.close()


class PettingZooSimulator(Simulator):
    """A PettingZoo `parallel_env`. Agents that leave `env.agents` have ended; the episode ends with the last one.

    An agent may join or come back: it acts while it is in `env.agents` and neither terminated nor truncated.
    """

    def __init__(self, key: str, env: Any) -> None:
        self.env = env
        self._key = key
        try:
            self.names = list(env.possible_agents)
            self.observation_spaces = [env.observation_space(name) for name in self.names]
            self.action_spaces = [env.action_space(name) for name in self.names]
        except AttributeError as error:
            raise EnvError(
                f"{key} is no PettingZoo parallel environment with a fixed set of agents: it lacks {error.name}"
            ) from error

    def reset(self, seed: int | None, options: dict[str, Any] | None) -> Seen:
        given = self.env.reset(seed=seed, options=options)
        with reading(self._key, "reset", _PETTINGZOO):
            observations, infos = given
            self._acting = self._present()
            self._cut: set[Any] = set()  # agents that were truncated, and have not come back
            return self._seen(observations, infos)

    def step(self, actions: Sequence[Any]) -> tuple[Seen, Outcome]:
        joint = {name: action for name, action in zip(self.names, actions, strict=True) if name in self._acting}
        given = self.env.step(joint)
        with reading(self._key, "step", _PETTINGZOO):
            observations, rewards, terminations, truncations, infos = given
            ended = {name for name in self.names if terminations.get(name) or truncations.get(name)}
            self._cut |= {name for name in self._acting & ended if not terminations.get(name)}
            self._acting = self._present() - ended
            self._cut -= self._acting
            over = not self._acting
            earned: list[float] | float
            if is_number(rewards):
                earned = float(rewards)
            else:
                earned = [float(rewards.get(name, 0.0)) if name in joint else 0.0 for name in self.names]
            outcome = Outcome(earned, over and not self._cut, over and bool(self._cut))
            return self._seen(observations, infos), outcome

    def _present(self) -> set[Any]:
        """Agents that the simulator lists now. Raises `EnvError` for one that it did not name beforehand."""
        present = set(self.env.agents)
        for name in present.difference(self.names):
            raise EnvError(
                f"agent {name} of {self._key} joins and is not in possible_agents ({', '.join(map(str, self.names))}): "
                "the environment must name every agent there"
            )
        return present

    def _seen(self, observations: dict[str, Any], infos: dict[str, Any]) -> Seen:
        pairs = [split_mask(observations.get(name), infos.get(name)) for name in self.names]
        info = {
            f"{name}_{entry}": number
            for name in self.names
            for entry, number in numbers(infos.get(name) or {}).items()
        }  # fmt: skip
        acting = [name in self._acting for name in self.names]
        return Seen([seen for seen, _ in pairs], [mask for _, mask in pairs], acting, info)

    def close(self) -> None:
        # mpe2's close shuts pygame down for the whole process, which breaks other environments; without a window it is
        # not needed.
        unwrapped = self.env.unwrapped
        if not _is_mpe2(type(unwrapped)) or getattr(unwrapped, "render_mode", None) == "human":
            self.env.close()


def _is_mpe2(kind: type) -> bool:
    return any(base.__module__.split(".")[0] == "mpe2" for base in kind.__mro__)


class GymnasiumSimulator(Simulator):
    """A Gymnasium environment whose spaces, observations and rewards are tuples or lists, one entry per agent."""

    def __init__(self, key: str, env: Any) -> None:
        self.env = env
        sequences = (spaces.Tuple, list, tuple)
        if not all(isinstance(space, sequences) for space in (env.observation_space, env.action_space)):
            raise EnvError(
                f"{key} is no multi-agent environment: its observation_space and action_space must be tuples or lists "
                f"with an entry for each agent, not {type(env.observation_space).__name__} and "
                f"{type(env.action_space).__name__}"
            )
        self._key = key
        self.observation_spaces = list(env.observation_space)
        self.action_spaces = list(env.action_space)
        self.names = [str(i) for i in range(len(self.action_spaces))]

    def reset(self, seed: int | None, options: dict[str, Any] | None) -> Seen:
        given = self.env.reset(seed=seed, options=options)
        self._ended = np.zeros(len(self.names), dtype=bool)  # (N,)
        self._cut = np.zeros(len(self.names), dtype=bool)  # (N,)
        with reading(self._key, "reset", _GYMNASIUM):
            observations, info = given
            return self._seen(observations, info)

    def step(self, actions: Sequence[Any]) -> tuple[Seen, Outcome]:
        taken = zip(actions, self.action_spaces, self._ended, strict=True)
        joint = tuple(_idle(space) if ended else action for action, space, ended in taken)
        given = self.env.step(joint)
        with reading(self._key, "step", _GYMNASIUM):
            return self._taken_in(*given)

    def _taken_in(
        self, observations: Any, rewards: Any, terminated: Any, truncated: Any, info: Any
    ) -> tuple[Seen, Outcome]:
        n_agents, team = len(self.names), is_number(rewards)
        if not team and np.shape(rewards) != (n_agents,):
            raise EnvError(
                f"{self._key} must give a reward for each of its {n_agents} agents, or one number for the team, not "
                f"{rewards!r}; wrap it so that it returns a list of rewards"
            )
        ends = self._per_agent("terminated", terminated)  # (N,)
        cuts = self._per_agent("truncated", truncated)  # (N,)
        earned: list[float] | float = float(rewards) if team else 0.0
        if not team:
            earned = [0.0 if ended else float(reward) for reward, ended in zip(rewards, self._ended, strict=True)]
        # An agent's end is its first; the environment need not repeat it.
        self._cut |= cuts & ~ends & ~self._ended
        self._ended |= ends | cuts
        over = bool(self._ended.all())
        cut = bool(self._cut.any())
        outcome = Outcome(earned, over and not cut, over and cut)
        return self._seen(observations, info), outcome

    def _per_agent(self, name: str, value: Any) -> np.ndarray:
        """Flags (N,) from one flag or a list of them. Raises `EnvError` for any other number of flags."""
        flags = np.asarray(value)
        shapes = ((), (1,), (len(self.names),))
        if isinstance(value, Mapping) or flags.dtype.kind not in "biufO" or flags.shape not in shapes:
            raise EnvError(
                f"{self._key} gives {name} {value!r} for {len(self.names)} agents; wrap it so that it gives one flag, "
                "or one for each agent"
            )
        return np.broadcast_to(flags.astype(bool), len(self.names))

    def _seen(self, observations: Sequence[Any], info: dict[str, Any]) -> Seen:
        if isinstance(observations, Mapping) or len(observations) != len(self.names):
            raise EnvError(
                f"{self._key} gives a {type(observations).__name__} of {len(observations)} observations for "
                f"{len(self.names)} agents; wrap it so that it gives a list with one for each, also after its end"
            )
        masks = info.get("action_mask")
        infos = [{"action_mask": None if masks is None else masks[i]} for i in range(len(self.names))]
        pairs = [split_mask(seen, own) for seen, own in zip(observations, infos, strict=True)]
        acting = [not ended for ended in self._ended]
        return Seen([seen for seen, _ in pairs], [mask for _, mask in pairs], acting, numbers(info))

    def state(self) -> np.ndarray:
        raise EnvError("a Gymnasium environment has no state() of its own: set env_args.use_env_state=False")


def _idle(space: Any) -> Any:
    """The action that is handed in for an agent that has ended: number 0, or zeros within bounds."""
    if isinstance(space, spaces.Discrete):
        return int(space.start)
    return np.clip(np.zeros(space.shape, space.dtype), space.low, space.high)


def is_number(value: Any) -> bool:
    """Whether a value is one number, of Python, NumPy or an array without dimensions."""
    return isinstance(value, int | float | np.number | np.ndarray) and np.ndim(value) == 0


def numbers(info: dict[str, Any]) -> dict[str, float]:
    """Entries of an info dictionary that are single numbers."""
    return {
        str(key): float(value)
        for key, value in info.items()
        if isinstance(value, bool | int | float | np.number | np.bool_)
    }
