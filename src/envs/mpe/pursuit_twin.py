"""Vectorised environments for OMAR's Predator-Prey and World: thousands of episodes as arrays."""

from typing import Any

import numpy as np

from envs.mpe import tasks as c
from envs.mpe.particle_twin import ParticleTwin, lengths
from envs.mpe.prey import PREDATORS, PREY, chase, check_control, load_prey


class PursuitTwin(ParticleTwin):
    """Three predators chase a prey; `envs.mpe.particle_twin.ParticleTwin` says the rest.

    key: `simple_tag` (Predator-Prey) or `simple_world` (World). prey: its policy file; None takes the bundled one.
    control: who learns. `predators` against the prey of the file, or the `prey` against predators that run straight at
    it, which is how a prey is trained.

    Observation of a predator, 16 or 24 numbers: own velocity, own position, landmarks and others relative to self
    (other predators, then the prey), the prey's velocity; in World also, for each forest, 1 inside and -1 outside of
    it. The prey sees the same without the prey's velocity. State: the learning agents' observations joined.
    """

    def __init__(
        self,
        n_envs: int,
        key: str = "simple_tag",
        seed: int | None = None,
        time_limit: int = c.TIME_LIMIT,
        continuous_actions: bool = True,
        common_reward: bool = True,
        reward_scalarisation: str = "sum",
        dtype: str = "float64",
        prey: str | None = None,
        control: str = "predators",
    ) -> None:
        task = c.TASKS[key]
        n_forests = len(task.forests)
        super().__init__(
            task, 2 + n_forests, n_envs, seed, time_limit, continuous_actions, common_reward, reward_scalarisation,
            dtype,
        )  # fmt: skip
        self.control = check_control(control)
        if control == "predators":
            self.acting, self.n_agents = PREDATORS, self.n_bodies - 1
            self._prey = load_prey(key, prey, task.prey_obs_dim)
        else:
            self.acting, self.n_agents, self.obs_dim = slice(PREY, None), 1, task.prey_obs_dim
        sizes = np.array(task.sizes, self._dtype)
        radii = np.array([task.landmark_sizes[i] for i in task.forests], self._dtype)
        self._in_forest = (sizes[:, None] + radii)[..., None]  # (K, forests, 1)
        eaten = np.array([task.landmark_sizes[i] for i in task.food], self._dtype)
        self._eaten = (sizes[PREY] + eaten)[:, None]  # (food, 1)
        self._hit_pairs = [i for i, pair in enumerate(self.pairs) if PREY in pair]

    def get_env_info(self) -> dict[str, Any]:
        simulator = {"prey": self._prey.checksum} if self.control == "predators" else {}
        return super().get_env_info() | ({"simulator": simulator} if simulator else {})

    def prey_actions(self) -> np.ndarray:
        """What the prey's policy does now, (E, 2)."""
        return self._prey.act(self._rows[PREY, : self.task.prey_obs_dim].T)

    def _move_others(self) -> None:
        if self.control == "predators":
            self._force[PREY] = self.prey_actions().T
        else:
            self._force[PREDATORS] = chase(self._to_others[PREDATORS, -1])  # the prey is the last of the others

    def _observe_tail(self) -> None:
        self._tail[PREDATORS, :2] = self._vel[PREY]
        if self.task.forests:
            away = lengths(self._to_marks[:, list(self.task.forests)], axis=2)  # (K, forests, E)
            inside = np.where(away < self._in_forest, 1.0, -1.0)
            self._tail[PREDATORS, 2:] = inside[PREDATORS]
            self._tail[PREY, :-2] = inside[PREY]

    def _reward(self) -> np.ndarray:
        """Rewards (E, N) of the predators, all equal: 10 (World: 5) for each that touches the prey, less 0.1 distance.

        The prey (E, 1) is paid the opposite, less what leaving the field costs, in World with a reward for food.
        """
        distances = self._pair_dist[self._hit_pairs]  # (3, E)
        hits = (distances < self._contact[self._hit_pairs]).sum(axis=0)
        paid = self.task.hit_reward * hits - c.SHAPING * distances.sum(axis=0)  # (E,)
        if self.control == "predators":
            return np.repeat(paid[:, None].astype(np.float64), self.n_agents, axis=1)
        earned = -paid - self.task.wall_weight * wall_cost(self._pos[PREY]).sum(axis=0)
        if self.task.food:
            away = lengths(self._to_marks[PREY, list(self.task.food)], axis=1)  # (food, E)
            earned += c.FOOD_REWARD * (away < self._eaten).sum(axis=0) + c.FOOD_SHAPING * away.min(axis=0)
        return np.asarray(earned[:, None], np.float64)


def wall_cost(position: np.ndarray) -> Any:
    """What the prey pays for its distance from the middle, per axis: from 0 at 0.9 over 1 at 1 up to 10."""
    away = np.abs(position)
    with np.errstate(over="ignore"):
        outside = np.minimum(np.exp(2 * away - 2), 10.0)
    return np.where(away < c.WALL, 0.0, np.where(away < 1.0, 10 * (away - c.WALL), outside))
