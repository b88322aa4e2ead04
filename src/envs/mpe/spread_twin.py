"""Vectorised environment for OMAR's Cooperative Navigation: thousands of `key=simple_spread` episodes as NumPy arrays.

It computes what `envs.mpe.simple_spread` (the scenario on mpe2) does; a test compares the two to 1e-9. One buffer has
the layout of the observations, with episodes along the last, contiguous axis. Velocities, positions and relative
positions are views of it and are updated in place, so observing costs one transposed copy.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from envs.mpe import constants as c
from envs.mpe.keys import check_time_limit
from envs.multiagentenv import ActionSpace, as_array, check_continuous_actions, check_discrete_actions
from envs.vector_env import VectorEnv
from utils.errors import EnvError

N, M = c.N_AGENTS, c.N_LANDMARKS
PAIRS = tuple(combinations(range(N), 2))
N_COMM = 2 * (N - 1)  # the others' communication, always zero; the papers' observations hold it
OBS_DIM = 4 + 2 * M + 2 * (N - 1) + N_COMM
MOVES = np.array(c.MOVES)  # (5, 2)
# Smallest distance that a contact force is divided by; at distance 0 the force is 0, as in the mpe2 scenario.
TINY = 1e-30


class SpreadTwin(VectorEnv):
    """Up to `n_envs` episodes that start together and are truncated together after `time_limit` steps.

    Observation (18): own velocity, own position, landmarks relative to self, other agents relative to self in index
    order, 4 zeros. State (54): the observations joined. Actions are forces in [-1, 1]^2 (clipped), or mpe2's five moves
    with `continuous_actions=False`. dtype: of the physics, "float64" or "float32".
    """

    def __init__(
        self,
        n_envs: int,
        seed: int | None = None,
        time_limit: int = c.TIME_LIMIT,
        continuous_actions: bool = True,
        common_reward: bool = True,
        reward_scalarisation: str = "sum",
        dtype: str = "float64",
    ) -> None:
        super().__init__(n_envs, common_reward, reward_scalarisation)
        check_time_limit(time_limit)
        self.n_agents = N
        self.episode_limit = time_limit
        self.action_space: ActionSpace = "continuous" if continuous_actions else "discrete"
        self.n_actions = 2 if continuous_actions else len(MOVES)
        self._rng = np.random.default_rng(seed)
        self._dtype = np.dtype(dtype)
        self._n_active = 0
        self._t = 0
        self._obs: np.ndarray | None = None

    # ---------------------------------------------------------------------------------------------------- life cycle

    def reset(self, seeds: Sequence[int] | None = None) -> None:
        """Sample each episode's agent positions in index order, then its landmarks; velocities are zero."""
        n_numbers = 2 * (N + M)
        if seeds is None:
            sampled = self._rng.uniform(-c.START_RANGE, c.START_RANGE, (self.n_envs, n_numbers))
        else:
            checked = self.check_seeds(seeds)
            sampled = np.empty((len(checked), n_numbers))
            for row, seed in zip(sampled, checked, strict=True):
                row[:] = np.random.default_rng(seed).uniform(-c.START_RANGE, c.START_RANGE, n_numbers)
        positions = sampled.reshape(len(sampled), N + M, 2)  # (E, N+M, 2)
        self.set_world_state(positions[:, :N], np.zeros((len(sampled), N, 2)), positions[:, N:])

    def set_world_state(self, positions: np.ndarray, velocities: np.ndarray, landmarks: np.ndarray) -> None:
        """Start E episodes at given agent positions (E, N, 2), velocities (E, N, 2) and landmarks (E, M, 2)."""
        if len(positions) != self._n_active:
            self._allocate(len(positions))
        self._pos[:] = positions.transpose(1, 2, 0)
        self._vel[:] = velocities.transpose(1, 2, 0)
        self._marks[:] = landmarks.transpose(1, 2, 0)
        self._t = 0
        self._relate()

    def get_world_state(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Copies of agent positions (E, N, 2), velocities (E, N, 2) and landmarks (E, M, 2), in the physics' dtype."""
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
        self._add_contact_forces()
        # Velocity first, then position with the new velocity (OMAR's order; mpe2 moves with the old one).
        self._vel *= 1.0 - c.DAMPING
        self._force *= c.DT
        self._vel += self._force
        np.multiply(self._vel, c.DT, out=self._force)
        self._pos += self._force
        self._relate()
        self._t += 1

        n_active = self._n_active
        cut = np.full(n_active, self._t >= self.episode_limit)
        return self._reward(), np.zeros(n_active, dtype=bool), cut, {"episode_limit": cut.copy()}

    def _set_forces(self, actions: np.ndarray) -> None:
        shape = (self._n_active, N)
        if self.action_space == "continuous":
            checked = check_continuous_actions(actions, (*shape, 2))  # (E, N, 2)
            self._force[:] = checked.transpose(1, 2, 0)
            np.clip(self._force, -1.0, 1.0, out=self._force)
        else:
            chosen = check_discrete_actions(actions, shape, np.full(N, len(MOVES)))  # (E, N)
            self._force[:] = MOVES[chosen].transpose(1, 2, 0)
        self._force *= c.GAIN

    def _add_contact_forces(self) -> None:
        """Add equal and opposite contact forces: 100 * (delta / d) * softplus((d_min - d) / k) * k for each pair."""
        depth = (2 * c.AGENT_SIZE - self._pair_dist) / c.CONTACT_MARGIN  # (P, E)
        push = np.logaddexp(0.0, depth, out=depth)  # log(1 + exp(depth)), which would overflow for large depths
        push *= c.CONTACT_FORCE * c.CONTACT_MARGIN
        push /= np.maximum(self._pair_dist, TINY)
        pair_force = np.multiply(self._delta, push[:, None], out=self._pair_work)  # (P, 2, E)
        for pair, (i, j) in enumerate(PAIRS):
            self._force[i] += pair_force[pair]
            self._force[j] -= pair_force[pair]

    def _relate(self) -> None:
        """Recompute all relative positions and pair distances after a move."""
        np.subtract(self._marks[None], self._pos[:, None], out=self._to_marks)  # (N, M, 2, E)
        for pair, (i, j) in enumerate(PAIRS):
            delta = np.subtract(self._pos[i], self._pos[j], out=self._delta[pair])  # (2, E)
            np.negative(delta, out=self._to_others[i, j - 1])
            self._to_others[j, i] = delta
        squares = np.multiply(self._delta, self._delta, out=self._pair_work)
        np.add(squares[:, 0], squares[:, 1], out=self._pair_dist)
        np.sqrt(self._pair_dist, out=self._pair_dist)
        self._obs = None

    def _reward(self) -> np.ndarray:
        """Rewards (E, N): min(1 / nearest agent's distance, 10) summed over landmarks, -5 for each agent touched."""
        squares = np.multiply(self._to_marks, self._to_marks, out=self._mark_work)
        nearest = (squares[:, :, 0] + squares[:, :, 1]).min(axis=0)  # (M, E)
        np.sqrt(nearest, out=nearest)
        np.maximum(nearest, 1.0 / c.MAX_COVER_REWARD, out=nearest)
        cover = np.divide(1.0, nearest, out=nearest).sum(axis=0)  # (E,)
        penalty = np.where(self._pair_dist < 2 * c.AGENT_SIZE, c.COLLISION_PENALTY, 0.0)  # (P, E)
        reward = np.empty((self._n_active, N))
        reward[:] = cover[:, None]
        for pair, (i, j) in enumerate(PAIRS):
            reward[:, i] -= penalty[pair]
            reward[:, j] -= penalty[pair]
        return reward

    # -------------------------------------------------------------------------------------------------------- getters

    def get_obs(self) -> np.ndarray:
        """Observations, float32 (E, N, 18): a new array after every step, of which `get_state` is a view."""
        self._check_started()
        if self._obs is None:
            joined = self._rows.reshape(N * OBS_DIM, self._n_active).T  # (E, N*O)
            self._obs = joined.astype(np.float32, order="C").reshape(self._n_active, N, OBS_DIM)
        return self._obs

    def get_obs_exact(self) -> np.ndarray:
        """Observations (E, N, 18) in the physics' dtype, before they are rounded to float32."""
        self._check_started()
        return self._rows.transpose(2, 0, 1).copy()

    def get_state(self) -> np.ndarray:
        return self.get_obs().reshape(self._n_active, -1)

    def get_avail_actions(self) -> np.ndarray:
        self._check_started()
        return np.ones((self._n_active, N, self.n_actions), dtype=np.int64)

    def get_env_info(self) -> dict[str, Any]:
        info: dict[str, Any] = {
            "state_shape": N * OBS_DIM,
            "obs_shape": OBS_DIM,
            "n_actions": self.n_actions,
            "n_agents": N,
            "episode_limit": self.episode_limit,
            "action_space": self.action_space,
        }
        if self.action_space == "continuous":
            info.update(action_dim=2, action_low=[-1.0, -1.0], action_high=[1.0, 1.0])
        return info

    # -------------------------------------------------------------------------------------------------------- memory

    def _allocate(self, n_active: int) -> None:
        """Allocate buffers for `n_active` episodes; `_vel`, `_pos`, `_to_marks` and `_to_others` view `_rows`."""
        self._n_active = n_active
        self._rows = np.zeros((N, OBS_DIM, n_active), dtype=self._dtype)  # (N, 18, E)
        others = 4 + 2 * M
        self._vel = self._rows[:, 0:2]  # (N, 2, E)
        self._pos = self._rows[:, 2:4]  # (N, 2, E)
        self._to_marks = self._rows[:, 4:others].reshape(N, M, 2, n_active)
        self._to_others = self._rows[:, others : others + 2 * (N - 1)].reshape(N, N - 1, 2, n_active)
        self._marks = np.empty((M, 2, n_active), dtype=self._dtype)
        self._force = np.empty((N, 2, n_active), dtype=self._dtype)
        self._delta = np.empty((len(PAIRS), 2, n_active), dtype=self._dtype)
        self._pair_work = np.empty_like(self._delta)
        self._pair_dist = np.empty((len(PAIRS), n_active), dtype=self._dtype)
        self._mark_work = np.empty((N, M, 2, n_active), dtype=self._dtype)

    def _check_started(self) -> None:
        if not self._n_active:
            raise EnvError("the vectorised environment has no episodes yet: call reset first")
