"""Vectorised physics of OMAR's particle tasks: thousands of episodes as NumPy arrays.

It computes what the scenarios on mpe2 do; tests compare the two to 1e-9. One buffer has the layout of the
observations, with episodes along the last, contiguous axis. Velocities, positions and relative positions are views of
it and are updated in place, so observing costs one transposed copy.
"""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from envs.arguments import check_flag
from envs.mpe import tasks as c
from envs.mpe.keys import check_dtype, check_time_limit
from envs.mpe.tasks import Task
from envs.multiagentenv import ActionSpace, as_array, check_continuous_actions, check_discrete_actions
from envs.vector_env import VectorEnv
from utils.errors import EnvError

MOVES = np.array(c.MOVES)  # (5, 2)
# Smallest distance that a contact force is divided by; at distance 0 the force is 0, as in the mpe2 scenarios.
TINY = 1e-30


class ParticleTwin(VectorEnv):
    """Up to `n_envs` episodes that start together and are truncated together after `time_limit` steps.

    Actions are forces in [-1, 1]^2 (clipped), or mpe2's five moves with `continuous_actions=False`. dtype: of the
    physics, "float64" or "float32". K bodies move: the learning agents `acting`, N of them, and others that a subclass
    moves in `_move_others`. M landmarks stand still.

    A subclass fills the last `n_tail` columns of the observations in `_observe_tail` and pays in `_reward`. A body's
    observation: own velocity, own position, landmarks and other bodies relative to self, tail.
    """

    def __init__(
        self,
        task: Task,
        n_tail: int,
        n_envs: int,
        seed: int | None,
        time_limit: int,
        continuous_actions: bool,
        common_reward: bool,
        reward_scalarisation: str,
        dtype: str,
    ) -> None:
        super().__init__(n_envs, common_reward, reward_scalarisation)
        check_time_limit(time_limit)
        check_flag("continuous_actions", continuous_actions)
        self.task = task
        self.n_bodies, self.n_marks = len(task.sizes), len(task.landmark_sizes)
        self.acting = slice(0, self.n_bodies)
        self.n_agents = self.n_bodies
        self.width = 4 + 2 * self.n_marks + 2 * (self.n_bodies - 1) + n_tail  # of a row of observations
        self.obs_dim = self.width
        self.pairs = tuple(combinations(range(self.n_bodies), 2))
        self.episode_limit = time_limit
        self.action_space: ActionSpace = "continuous" if continuous_actions else "discrete"
        self.n_actions = 2 if continuous_actions else len(MOVES)
        self._rng = np.random.default_rng(seed)
        self._dtype = np.dtype(check_dtype(dtype))
        self._n_active = 0
        self._t = 0
        self._obs: np.ndarray | None = None
        sizes = np.array(task.sizes, self._dtype)
        self._contact = np.array([[sizes[i] + sizes[j]] for i, j in self.pairs], self._dtype)  # (P, 1)
        obstacles = np.array(task.landmark_sizes[: task.n_obstacles], self._dtype)
        self._obstacle_contact = (sizes[:, None] + obstacles)[..., None]  # (K, obstacles, 1)
        self._gains = np.array(task.gains, self._dtype)[:, None, None]  # (K, 1, 1)
        self._limits = np.array(task.max_speeds, self._dtype)[:, None]  # (K, 1)
        self._limited = bool(np.isfinite(self._limits).any())

    # ---------------------------------------------------------------------------------------------------- life cycle

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """Sample each episode's bodies in index order, then its landmarks; velocities are zero."""
        n_bodies, task = self.n_bodies, self.task
        spread = np.repeat((c.START_RANGE, task.landmark_range), (2 * n_bodies, 2 * self.n_marks))  # (2 (K+M),)
        if seeds is None:
            sampled = self._rng.uniform(-spread, spread, (self.n_envs, len(spread)))
        else:
            checked = self.check_seeds(seeds)
            sampled = np.empty((len(checked), len(spread)))
            for row, seed in zip(sampled, checked, strict=True):
                row[:] = np.random.default_rng(seed).uniform(-spread, spread)
        positions = sampled.reshape(len(sampled), -1, 2)  # (E, K+M, 2)
        self.set_world_state(positions[:, :n_bodies], np.zeros((len(sampled), n_bodies, 2)), positions[:, n_bodies:])

    def set_world_state(self, positions: np.ndarray, velocities: np.ndarray, landmarks: np.ndarray) -> None:
        """Start E episodes at given positions (E, K, 2), velocities (E, K, 2) and landmarks (E, M, 2)."""
        if len(positions) != self._n_active:
            self._allocate(len(positions))
        self._pos[:] = positions.transpose(1, 2, 0)
        self._vel[:] = velocities.transpose(1, 2, 0)
        self._marks[:] = landmarks.transpose(1, 2, 0)
        self._t = 0
        self._relate()

    def get_world_state(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Copies of positions (E, K, 2), velocities (E, K, 2) and landmarks (E, M, 2), in the physics' dtype."""
        self._check_started()
        return (
            self._pos.transpose(2, 0, 1).copy(),
            self._vel.transpose(2, 0, 1).copy(),
            self._marks.transpose(2, 0, 1).copy(),
        )

    def close(self) -> None:
        """Do nothing: there is no simulator to release."""

    # ------------------------------------------------------------------------------------------------------- stepping

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        self._check_started()
        if self._t >= self.episode_limit:
            raise EnvError("the episodes have reached their time limit: call reset before the next step")
        self._set_forces(as_array(actions))
        self._move_others()
        self._force *= self._gains
        self._add_contact_forces()
        # Velocity first, then position with the new velocity (OMAR's order; mpe2 moves with the old one).
        self._vel *= 1.0 - c.DAMPING
        self._force *= c.DT
        self._vel += self._force
        self._limit_speeds()
        np.multiply(self._vel, c.DT, out=self._force)
        self._pos += self._force
        self._relate()
        self._t += 1

        n_active = self._n_active
        cut = np.full(n_active, self._t >= self.episode_limit)
        return self._reward(), np.zeros(n_active, dtype=bool), cut, {"episode_limit": cut.copy()}

    def _set_forces(self, actions: np.ndarray) -> None:
        shape, force = (self._n_active, self.n_agents), self._force[self.acting]
        if self.action_space == "continuous":
            checked = check_continuous_actions(actions, (*shape, 2))  # (E, N, 2)
            force[:] = checked.transpose(1, 2, 0)
            np.clip(force, -1.0, 1.0, out=force)
        else:
            chosen = check_discrete_actions(actions, shape, np.full(self.n_agents, len(MOVES)))  # (E, N)
            force[:] = MOVES[chosen].transpose(1, 2, 0)

    def _move_others(self) -> None:
        """Write the actions of bodies that do not learn into `_force`."""

    def _add_contact_forces(self) -> None:
        """Add contact forces, equal and opposite: 100 * (delta / d) * softplus((d_min - d) / k) * k for each pair."""
        push = _push(self._contact, self._pair_dist)  # (P, E)
        pair_force = np.multiply(self._delta, push[:, None], out=self._pair_work)  # (P, 2, E)
        for pair, (i, j) in enumerate(self.pairs):
            self._force[i] += pair_force[pair]
            self._force[j] -= pair_force[pair]
        if self.task.n_obstacles:
            to_obstacles = self._to_marks[:, : self.task.n_obstacles]  # (K, obstacles, 2, E)
            push = _push(self._obstacle_contact, lengths(to_obstacles, axis=2))  # (K, obstacles, E)
            self._force -= (to_obstacles * push[:, :, None]).sum(axis=1)

    def _limit_speeds(self) -> None:
        if self._limited:
            speed = lengths(self._vel, axis=1)  # (K, E)
            over = speed > self._limits
            self._vel *= np.where(over, self._limits / np.maximum(speed, TINY), 1.0)[:, None]

    def _relate(self) -> None:
        """Recompute all relative positions and pair distances after a move."""
        np.subtract(self._marks[None], self._pos[:, None], out=self._to_marks)  # (K, M, 2, E)
        for pair, (i, j) in enumerate(self.pairs):
            delta = np.subtract(self._pos[i], self._pos[j], out=self._delta[pair])  # (2, E)
            np.negative(delta, out=self._to_others[i, j - 1])
            self._to_others[j, i] = delta
        squares = np.multiply(self._delta, self._delta, out=self._pair_work)
        np.add(squares[:, 0], squares[:, 1], out=self._pair_dist)
        np.sqrt(self._pair_dist, out=self._pair_dist)
        self._observe_tail()
        self._obs = None

    def _observe_tail(self) -> None:
        """Write the tail of the observations, `_tail` (K, n_tail, E); zeros unless a subclass does."""

    @abstractmethod
    def _reward(self) -> np.ndarray:
        """Rewards of the learning agents (E, N), after the step."""

    # -------------------------------------------------------------------------------------------------------- getters

    def get_obs(self) -> np.ndarray:
        """Observations, float32 (E, N, O): a new array after every step, of which `get_state` is a view."""
        self._check_started()
        if self._obs is None:
            shape = self._n_active, self.n_agents, self.obs_dim
            joined = self._seen().reshape(self.n_agents * self.obs_dim, self._n_active).T  # (E, N*O)
            self._obs = joined.astype(np.float32, order="C").reshape(shape)
        return self._obs

    def get_obs_exact(self) -> np.ndarray:
        """Observations (E, N, O) in the physics' dtype, before they are rounded to float32."""
        self._check_started()
        return self._seen().transpose(2, 0, 1).copy()

    def _seen(self) -> np.ndarray:
        """The learning agents' observations (N, O, E), a view."""
        return self._rows[self.acting, : self.obs_dim]

    def get_state(self) -> np.ndarray:
        return self.get_obs().reshape(self._n_active, -1)

    def get_avail_actions(self) -> np.ndarray:
        self._check_started()
        return np.ones((self._n_active, self.n_agents, self.n_actions), dtype=np.int64)

    def get_env_info(self) -> dict[str, Any]:
        info: dict[str, Any] = {
            "state_shape": self.n_agents * self.obs_dim,
            "obs_shape": self.obs_dim,
            "n_actions": self.n_actions,
            "n_agents": self.n_agents,
            "episode_limit": self.episode_limit,
            "action_space": self.action_space,
            "available": "all",
        }
        if self.action_space == "continuous":
            info.update(action_dim=2, action_low=[-1.0, -1.0], action_high=[1.0, 1.0])
        return info

    # -------------------------------------------------------------------------------------------------------- memory

    def _allocate(self, n_active: int) -> None:
        """Allocate buffers for `n_active` episodes; velocities, positions, relative positions and tail view `_rows`."""
        self._n_active = n_active
        bodies, marks, n_pairs = self.n_bodies, self.n_marks, len(self.pairs)
        self._rows = np.zeros((bodies, self.width, n_active), dtype=self._dtype)  # (K, width, E)
        others, tail = 4 + 2 * marks, 4 + 2 * marks + 2 * (bodies - 1)
        self._vel = self._rows[:, 0:2]  # (K, 2, E)
        self._pos = self._rows[:, 2:4]  # (K, 2, E)
        self._to_marks = self._rows[:, 4:others].reshape(bodies, marks, 2, n_active)
        self._to_others = self._rows[:, others:tail].reshape(bodies, bodies - 1, 2, n_active)
        self._tail = self._rows[:, tail:]
        self._marks = np.empty((marks, 2, n_active), dtype=self._dtype)
        self._force = np.empty((bodies, 2, n_active), dtype=self._dtype)
        self._delta = np.empty((n_pairs, 2, n_active), dtype=self._dtype)
        self._pair_work = np.empty_like(self._delta)
        self._pair_dist = np.empty((n_pairs, n_active), dtype=self._dtype)
        self._mark_work = np.empty((bodies, marks, 2, n_active), dtype=self._dtype)

    def _check_started(self) -> None:
        if not self._n_active:
            raise EnvError("the vectorised environment has no episodes yet: call reset first")


def _push(contact: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Contact force per unit of distance between two centres, whose bodies touch from `contact` on."""
    depth = (contact - distance) / c.CONTACT_MARGIN
    push: np.ndarray = np.logaddexp(0.0, depth, out=depth)  # log(1 + exp(depth)), which would overflow if large
    push *= c.CONTACT_FORCE * c.CONTACT_MARGIN
    push /= np.maximum(distance, TINY)
    return push


def lengths(vectors: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray(np.sqrt(np.square(vectors).sum(axis=axis)))
