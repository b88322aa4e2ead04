"""Logged transitions of the particle tasks, replayed in our simulator: columns that do not fit together are found."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.mpe.particle_twin import ParticleTwin
from envs.mpe.pursuit_twin import PursuitTwin
from envs.mpe.spread_twin import SpreadTwin
from envs.mpe.tasks import TASKS, Task

_OBS_ERROR = 1e-3  # float32's rounding, magnified by stiff contacts
_REWARD_ERROR = 1e-3  # relative to the larger of 1 and the reward
NEXT_START = (
    "it may be the next episode's first observation; record the one that the last step leads to, before the "
    "environment starts anew"
)
_SHARE = 0.02  # of transitions that may differ, as where rounding decides a contact


@dataclass(frozen=True)
class Transitions:
    """A sample of R transitions, each with those before and after it in its episode where `inner`.

    obs, next_obs (R, N, O), actions (R, N, A), reward (R, N), of the learning agents. rows: (R,) where they lie.
    prey_actions: (R, 2), None where they are not logged.
    """

    obs: np.ndarray
    actions: np.ndarray
    reward: np.ndarray
    next_obs: np.ndarray
    rows: np.ndarray
    prey_actions: np.ndarray | None = None


class _Led(PursuitTwin):
    """Predators and a prey that acts as logged."""

    led: np.ndarray  # (E, 2)

    def prey_actions(self) -> np.ndarray:
        return np.asarray(np.clip(self.led, -1.0, 1.0))


def replayed(key: str, sample: Transitions, prey: str | None) -> tuple[np.ndarray, np.ndarray]:
    """What the simulator makes of logged observations and actions: next observations (R, N, O) and rewards (R, N).

    key: of `envs.mpe.tasks.TASKS`. prey: its file, None for the bundled one; a logged prey acts as logged.
    """
    twin = _twin(key, sample, prey)
    twin.set_world_state(*world_of(TASKS[key], sample.obs))
    reward, *_ = twin.step(sample.actions)
    return twin.get_obs(), reward


def world_of(task: Task, obs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions and velocities (R, K, 2) of all bodies, and landmarks (R, M, 2), from observations (R, N, O)."""
    seen = obs.astype(np.float64)
    n_rows, n_agents = seen.shape[:2]
    n_bodies, n_marks = len(task.sizes), len(task.landmark_sizes)
    velocity, position = seen[..., :2], seen[..., 2:4]  # (R, N, 2) each
    marks = position[:, :1] + seen[:, 0, 4 : 4 + 2 * n_marks].reshape(n_rows, n_marks, 2)
    if n_bodies > n_agents:  # the prey is the last of the others, and its velocity follows
        start = 4 + 2 * n_marks + 2 * (n_bodies - 2)
        position = np.concatenate([position, position[:, :1] + seen[:, :1, start : start + 2]], axis=1)  # (R, K, 2)
        velocity = np.concatenate([velocity, seen[:, :1, start + 2 : start + 4]], axis=1)
    return position, velocity, marks


def prey_is(key: str, sample: Transitions, prey: str | None) -> bool:
    """Whether the logged actions of the prey are those of this policy, None for the bundled one."""
    twin = PursuitTwin(len(sample.rows), key=key, prey=prey)
    twin.set_world_state(*world_of(TASKS[key], sample.obs))
    assert sample.prey_actions is not None
    wrong = np.abs(twin.prey_actions() - sample.prey_actions).max(axis=1) > _OBS_ERROR  # (R,)
    return bool(wrong.mean() <= _SHARE)


def wrong_observations(found: np.ndarray, logged: np.ndarray, forests: int) -> np.ndarray:
    """Which of the transitions lead elsewhere, (R,) bool; forests: how many last columns a rounding may flip."""
    width = logged.shape[-1] - forests
    return _beyond(np.abs(found - logged)[..., :width] > _OBS_ERROR)


def wrong_rewards(found: np.ndarray, logged: np.ndarray) -> np.ndarray:
    """Which of the transitions pay otherwise, (R,) bool."""
    return _beyond(np.abs(found - logged) > _REWARD_ERROR * np.maximum(1.0, np.abs(logged)))


def too_many(wrong: np.ndarray) -> bool:
    """Whether more transitions differ than rounding explains."""
    return bool(wrong.mean() > _SHARE)


def _beyond(different: np.ndarray) -> np.ndarray:
    return np.asarray(different.reshape(len(different), -1).any(axis=1))


def _twin(key: str, sample: Transitions, prey: str | None) -> ParticleTwin:
    arguments: dict[str, Any] = {"n_envs": len(sample.rows)}
    if key == "simple_spread":
        return SpreadTwin(**arguments)
    if sample.prey_actions is None:
        return PursuitTwin(key=key, prey=prey, **arguments)
    twin = _Led(key=key, prey=prey, **arguments)
    twin.led = sample.prey_actions
    return twin
