"""A trained policy that acts in a user's own program."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch as th
from torch import Tensor

from components.action_selectors import EpsilonGreedyActionSelector, GaussianActionSelector, PolicySelector
from components.episode_buffer import EpisodeBatch
from components.epsilon_schedules import exploration_step
from components.scheme import build_scheme, is_continuous
from controllers.basic_controller import BasicMAC
from deployment.given import availability, joint_observations
from loops.described import DescribedPolicy, described_policy
from modules.layers.sizes import size_of
from modules.policies.noisy_policy import NoisyPolicy
from utils.bounds import per_agent
from utils.checkpoint import find_checkpoint, load_or_refuse
from utils.description import find_description
from utils.errors import CheckpointError, ConfigError, PolicyError, one_line, shown


class LoadedPolicy:
    """The policy of a run's checkpoint: N agents that each act on their own observation.

    n_agents, obs_size, n_actions: N, O, and A, the number of actions or of action dimensions. continuous: whether
    actions are real vectors. action_low, action_high: each agent's own bounds, (N, A), None where actions are discrete.
    environment: `env` and `env_args` of the run, None where it had none. obs_mean, obs_std: (N, O), of the dataset that
    the run learned from, zeros and ones without one. available: (N, A) zeros and ones, what agents have where no
    mask is given; None where that changed in training, and ones for a run that is older than its description of it.
    stateful: whether an action depends on earlier steps; then `act` carries that state and `reset` starts anew.
    """

    def __init__(self, described: DescribedPolicy, seed: int = 0) -> None:
        self.directory, self.description, self.args = described.directory, described.description, described.args
        self.step = int(described.directory.name)
        self._explores_as_at = exploration_step(self.args, self.step)
        self.mac: BasicMAC = described.mac
        _make_greedy(self.mac.action_selector)
        _take_learned_noise(described)
        info = described.description["env_info"]
        self.scheme, self._groups, self._preprocess = build_scheme(info, self.args)
        self.n_agents, self.n_actions = int(info["n_agents"]), int(info["n_actions"])
        self.obs_size, self.continuous = size_of(info["obs_shape"]), is_continuous(info)
        bounds = [
            per_agent(info[key], self.n_agents) if self.continuous else None for key in ("action_low", "action_high")
        ]
        self.action_low, self.action_high = bounds
        self.environment, (self.obs_mean, self.obs_std) = _environment(described), self._moments()
        self.available = self._available()
        self.recurrent = bool(getattr(self.mac.agent, "is_recurrent", True))
        self.stateful = self.recurrent or bool(self.args.obs_last_action)
        self._batch: EpisodeBatch | None = None
        self._t = 0  # 0 at an episode's first step, 1 at any later one, which sees the action written at 0
        self.seed(seed)

    def act(self, observations: Any, avail_actions: Any = None, sample: bool = False) -> np.ndarray:
        """Every agent's action at the next step, and the step is remembered where the policy is stateful.

        observations: (N, O) for one step, (B, N, O) for one step of B episodes side by side; or a list with one entry
        per agent, whose shorter observations are padded with zeros (`joint_observations`).
        avail_actions: (N, A) or (B, N, A) zeros and ones; None: every agent has the actions that it had in training.
        sample: draw the action as in training, exploration included, instead of taking the best one.

        Returns (N,) or (B, N) int64 where actions are discrete, (N, A) or (B, N, A) float32 where they are continuous.
        Raises PolicyError for input of another shape, where the number of episodes changes without a `reset`, and where
        None is given though the available actions changed in training.
        """
        single = self._see(observations, avail_actions)
        assert self._batch is not None
        with th.no_grad(), self._own_randomness():
            chosen = self.mac.select_actions(
                self._batch, t_ep=self._t, t_env=self._explores_as_at, test_mode=not sample
            )
        if self.stateful:
            self._batch.update({"actions": chosen.unsqueeze(1)}, ts=0)  # before the next step, which is at 1
            self._t = 1
        actions = chosen.cpu().numpy()  # (B, N) or (B, N, A)
        return np.asarray(actions[0] if single else actions)

    def outputs(self, observations: Any, avail_actions: Any = None) -> np.ndarray:
        """What the agents' networks say at the next step, which is not taken: (N, P) or (B, N, P) float32.

        Values or probabilities of the A actions; or, where actions are continuous, numbers before tanh, means first.
        """
        single = self._see(observations, avail_actions)
        assert self._batch is not None
        before = self.mac.hidden_states
        with th.no_grad(), self._own_randomness():
            outputs = self.mac.forward(self._batch, self._t, test_mode=True).cpu().numpy()  # (B, N, P)
        self.mac.hidden_states = before
        return np.asarray(outputs[0] if single else outputs)

    def reset(self, episodes: Sequence[int] | None = None) -> None:
        """Forget earlier steps, before an episode's first; episodes: only those of the batch with these indices."""
        if episodes is None or self._batch is None:
            self._batch = None
            return
        last = self._batch.batch_size - 1
        rows = list(episodes) if isinstance(episodes, Iterable) else [episodes]
        if not isinstance(episodes, Iterable) or not all(_is_whole(row, 0, last) for row in rows):
            raise PolicyError(
                f"reset of episodes {shown(episodes)}: give a list of whole numbers; the batch has episodes 0 to {last}"
            )
        if self.recurrent:
            now = self.mac.hidden_states
            self.mac.init_hidden(self._batch.batch_size)
            start = self.mac.hidden_states  # (B, N, H)
            if not isinstance(now, Tensor) or not isinstance(start, Tensor):
                raise PolicyError(f"mac={self.args.mac} keeps no tensor that can be reset in part; reset all episodes")
            self.mac.hidden_states = now.reshape(start.shape).clone()
            self.mac.hidden_states[rows] = start[rows]
        self._batch["actions_onehot"][rows] = 0  # what an episode's first step sees as the last action

    def seed(self, seed: int) -> None:
        """Start the policy's own random stream anew; it is apart from torch's.

        Raises PolicyError unless the seed is a whole number from 0 to 2**63 - 1.
        """
        if not _is_whole(seed, 0, 2**63 - 1):
            raise PolicyError(f"seed={shown(seed)}: this must be a whole number from 0 to 2**63 - 1")
        self._random = [th.Generator(device).manual_seed(seed).get_state() for device in ("cpu", *self._cuda())]

    def state(self) -> dict[str, Tensor]:
        """What the next step will see of earlier ones: `last_action` (B, N, A) and `hidden` (B, N, H), where used."""
        assert self._batch is not None, "there is no state before the first step"
        state = {}
        if self.args.obs_last_action:
            state["last_action"] = self._batch["actions_onehot"][:, 0].float()
        if self.recurrent:
            assert self.mac.hidden_states is not None
            state["hidden"] = self.mac.hidden_states.reshape(self._batch.batch_size, self.n_agents, -1)
        return state

    # -- inside --------------------------------------------------------------------------------------------------------

    def _see(self, observations: Any, avail_actions: Any) -> bool:
        """Write what the agents see into the batch, a new one where there is none; returns whether B is left out."""
        obs, single = joint_observations(observations, self.n_agents, self.obs_size)  # (B, N, O)
        available = availability(avail_actions, obs.shape[:2], self.available, self.n_actions, single)  # (B, N, A)
        if self._batch is not None and self._batch.batch_size != len(obs) and self.stateful:
            raise PolicyError(
                f"the policy remembers {self._batch.batch_size} episodes and is given {len(obs)}; call reset() before "
                "other episodes begin"
            )
        if self._batch is None or self._batch.batch_size != len(obs):
            self._batch = EpisodeBatch(
                self.scheme, self._groups, len(obs), 2, preprocess=self._preprocess, device=self.args.device
            )
            self.mac.init_hidden(len(obs))
            self._t = 0
        self._batch.update({"obs": obs[:, None], "avail_actions": available[:, None]}, ts=self._t)
        return single

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations of observations. Raises KeyError and ValueError for a damaged description."""
        dataset, shape = self.description["dataset"], (self.n_agents, self.obs_size)
        if dataset is None:
            return np.zeros(shape), np.ones(shape)
        mean, std = (np.asarray(dataset["card"][key], np.float64) for key in ("obs_mean", "obs_std"))
        if mean.shape != shape or std.shape != shape or not np.isfinite([mean, std]).all():
            raise ValueError(f"the card's obs_mean and obs_std must be finite and of shape {shape}")
        return mean, std

    def _available(self) -> np.ndarray | None:
        """`available`. Raises ValueError for a damaged description."""
        found, shape = self.description.get("available", "all"), (self.n_agents, self.n_actions)
        if found == "varies":
            return None
        own = np.ones(shape, np.int32) if found == "all" else np.asarray(found)
        if own.shape != shape or not np.isin(own, (0, 1)).all() or not own.any(-1).all():
            raise ValueError(f"its available actions must be zeros and ones of shape {shape}")
        return own

    def _cuda(self) -> tuple[str, ...]:
        return () if self.args.device == "cpu" else (self.args.device,)

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """Selectors draw from torch's global streams: here these are the policy's, and the user's are put back."""
        devices = [th.device(device) for device in self._cuda()]
        with th.random.fork_rng([th.cuda.current_device() for _ in devices]):
            th.set_rng_state(self._random[0])
            for device, stored in zip(devices, self._random[1:], strict=True):
                th.cuda.set_rng_state(stored, device)
            yield
            self._random = [th.get_rng_state(), *(th.cuda.get_rng_state(device) for device in devices)]


def load_policy(path: str | os.PathLike[str], step: int = 0, seed: int = 0, device: str = "cpu") -> LoadedPolicy:
    """The policy that a run saved, ready to act.

    path: the run's directory under results/models, or one of its step directories. step: which checkpoint of the run,
    the nearest one; 0: the newest. seed: of `act(..., sample=True)`. device: cpu or cuda.

    Raises CheckpointError, in one sentence, where there is no checkpoint with a sound run.json, and PolicyError for a
    device that is not here and for a step or seed that is none.
    """
    if not _is_whole(step, 0):
        raise PolicyError(f"step={shown(step)}: this must be a whole number of at least 0; 0 is the newest checkpoint")
    if device not in ("cpu", "cuda") or (device == "cuda" and not th.cuda.is_available()):
        raise PolicyError(f"device={device}: there is no such device here; use device='cpu'")
    directory = find_checkpoint(os.fspath(path), step, "path")
    try:
        with th.random.fork_rng([]):  # networks are initialised before they are loaded
            return LoadedPolicy(described_policy(str(directory), 0, device), seed)
    except ConfigError as error:
        raise CheckpointError(f"{find_description(directory)}: {error}") from error
    except (
        AttributeError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        OverflowError,
        RuntimeError,
        MemoryError,
    ) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise CheckpointError(
            f"{find_description(directory)} describes no policy of this release ({reason}); restore the file, or "
            "write it anew with: python src/policy.py describe --force"
        ) from error


def _is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(least <= value <= most)


def _environment(described: DescribedPolicy) -> dict[str, Any] | None:
    """What makes the run's environment. Raises KeyError and TypeError for a damaged description."""
    there = described.description["environment"]
    if there is None:
        return None
    if not isinstance(there["env"], str) or not isinstance(there["env_args"], dict):
        raise TypeError("its environment must have a name and a mapping env_args")
    return {"env": there["env"], "env_args": there["env_args"]}


def _make_greedy(selector: Any) -> None:
    """In test mode the best action, also where the run's evaluations sample; without it the selector explores."""
    if isinstance(selector, PolicySelector):
        selector.test_greedy = True
    if isinstance(selector, EpsilonGreedyActionSelector):
        selector.evaluation_epsilon = 0.0


def _take_learned_noise(described: DescribedPolicy) -> None:
    """Explore with the noise that MAPPO and IPPO have learned, where their checkpoint still holds it."""
    file, selector = described.directory / "policy.th", described.mac.action_selector
    if not isinstance(selector, GaussianActionSelector) or not file.exists():
        return
    noisy = NoisyPolicy(described.args, initial_std=1.0)
    load_or_refuse(lambda: noisy.load_state_dict(th.load(file, map_location="cpu", weights_only=True)), file.parent)
    selector.policy = noisy
