"""Vectorised environment for OMAR's Cooperative Navigation: thousands of `key=simple_spread` episodes as arrays."""

import numpy as np

from envs.mpe import tasks as c
from envs.mpe.particle_twin import ParticleTwin


class SpreadTwin(ParticleTwin):
    """Three agents cover three landmarks; `envs.mpe.particle_twin.ParticleTwin` says the rest.

    Observation (18): own velocity, own position, landmarks relative to self, other agents relative to self in index
    order, 4 zeros: the others' communication, which the papers' observations hold. State (54): the observations joined.
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
        super().__init__(
            c.SPREAD, 4, n_envs, seed, time_limit, continuous_actions, common_reward, reward_scalarisation, dtype
        )

    def _reward(self) -> np.ndarray:
        """Rewards (E, N): min(1 / nearest agent's distance, 10) summed over landmarks, -5 for each agent touched."""
        squares = np.multiply(self._to_marks, self._to_marks, out=self._mark_work)
        nearest = (squares[:, :, 0] + squares[:, :, 1]).min(axis=0)  # (M, E)
        np.sqrt(nearest, out=nearest)
        np.maximum(nearest, 1.0 / c.MAX_COVER_REWARD, out=nearest)
        cover = np.divide(1.0, nearest, out=nearest).sum(axis=0)  # (E,)
        penalty = np.where(self._pair_dist < self._contact, c.COLLISION_PENALTY, 0.0)  # (P, E)
        reward = np.empty((self._n_active, self.n_agents))
        reward[:] = cover[:, None]
        for pair, (i, j) in enumerate(self.pairs):
            reward[:, i] -= penalty[pair]
            reward[:, j] -= penalty[pair]
        return reward
