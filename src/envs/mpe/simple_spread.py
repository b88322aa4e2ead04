"""OMAR's Cooperative Navigation as a scenario on mpe2.

It differs from mpe2's `simple_spread_v3` in three points: agents move with the new velocity; a landmark pays the
inverse distance of its nearest agent, and a collision costs 5; an action is a force in [-1, 1]^2. Observations are the
same.
"""

import numpy as np
from mpe2._mpe_utils.core import Agent
from mpe2._mpe_utils.simple_env import SimpleEnv, make_env
from pettingzoo.utils.conversions import parallel_wrapper_fn

from envs.mpe import tasks as c
from envs.mpe.particle_env import ParticleEnv, ParticleScenario, ParticleWorld, distance


class Scenario(ParticleScenario):
    """Three agents that share the reward for covering three landmarks; each pays for its own collisions."""

    def make_world(self) -> ParticleWorld:
        return ParticleWorld(c.SPREAD, [f"agent_{i}" for i in range(len(c.SPREAD.sizes))])

    def reward(self, agent: Agent, world: ParticleWorld) -> float:
        """Sum over landmarks of min(1 / nearest agent's distance, 10), minus 5 for each other agent touched."""
        cover = 0.0
        for landmark in world.landmarks:
            nearest = min(distance(other, landmark) for other in world.agents)
            cover += 1.0 / nearest if nearest > 1.0 / c.MAX_COVER_REWARD else c.MAX_COVER_REWARD
        touched = sum(distance(agent, other) < agent.size + other.size for other in world.agents if other is not agent)
        return float(cover - c.COLLISION_PENALTY * touched)

    def observation(self, agent: Agent, world: ParticleWorld) -> np.ndarray:
        """(18,) float64: own velocity, own position, landmarks and other agents relative to self, others' channels."""
        others = [other for other in world.agents if other is not agent]
        own = agent.state.p_pos
        return np.concatenate(
            [agent.state.p_vel, own]
            + [landmark.state.p_pos - own for landmark in world.landmarks]
            + [other.state.p_pos - own for other in others]
            + [other.state.c for other in others]
        )


class SpreadEnv(ParticleEnv):
    """mpe2's environment with this scenario."""

    metadata = {**SimpleEnv.metadata, "name": "simple_spread"}

    def __init__(
        self,
        max_cycles: int = c.TIME_LIMIT,
        continuous_actions: bool = True,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(Scenario(), max_cycles, continuous_actions, render_mode)


raw_env = SpreadEnv
parallel_env = parallel_wrapper_fn(make_env(SpreadEnv))
