"""OMAR's Cooperative Navigation as a scenario on mpe2 (Pan et al., 2022: "Plan Better Amid Conservatism").

It differs from mpe2's `simple_spread_v3` in three points: agents move with the new velocity; a landmark pays the
inverse distance of its nearest agent, and a collision costs 5; an action is a force in [-1, 1]^2. Observations are the
same.
"""

from typing import Any

import numpy as np
from gymnasium import spaces
from mpe2._mpe_utils.core import Agent, Entity, Landmark, World
from mpe2._mpe_utils.scenario import BaseScenario
from mpe2._mpe_utils.simple_env import SimpleEnv, make_env
from pettingzoo.utils.conversions import parallel_wrapper_fn

from envs.mpe import constants as c


class SpreadWorld(World):
    """mpe2's world, except that agents move with the new velocity and not with the old one."""

    def __init__(self) -> None:
        super().__init__()
        self.dim_c = 2  # agents are silent, but the papers' observations hold these zeros
        self.dt = c.DT
        self.damping = c.DAMPING
        self.contact_force = c.CONTACT_FORCE
        self.contact_margin = c.CONTACT_MARGIN

    def integrate_state(self, p_force: list[np.ndarray | float | None]) -> None:
        for entity, force in zip(self.entities, p_force, strict=True):
            if not entity.movable:
                continue
            applied = 0.0 if force is None else force
            entity.state.p_vel = entity.state.p_vel * (1 - self.damping) + applied / entity.mass * self.dt
            entity.state.p_pos = entity.state.p_pos + entity.state.p_vel * self.dt

    def get_collision_force(self, entity_a: Entity, entity_b: Entity) -> list[np.ndarray | None]:
        if np.array_equal(entity_a.state.p_pos, entity_b.state.p_pos):
            return [None, None]  # at distance 0 there is no direction, and mpe2 would divide zero by zero
        forces: list[np.ndarray | None] = super().get_collision_force(entity_a, entity_b)
        return forces


class Scenario(BaseScenario):
    """Three agents that share the reward for covering three landmarks; each pays for its own collisions."""

    def make_world(self) -> SpreadWorld:
        world = SpreadWorld()
        world.agents = [Agent() for _ in range(c.N_AGENTS)]
        for i, agent in enumerate(world.agents):
            agent.name = f"agent_{i}"
            agent.silent = True
            agent.size = c.AGENT_SIZE
            agent.color = np.array([0.35, 0.35, 0.85])
        world.landmarks = [Landmark() for _ in range(c.N_LANDMARKS)]
        for i, landmark in enumerate(world.landmarks):
            landmark.name = f"landmark {i}"
            landmark.collide = False
            landmark.size = c.LANDMARK_SIZE
            landmark.color = np.array([0.25, 0.25, 0.25])
        return world

    def reset_world(self, world: World, np_random: np.random.Generator) -> None:
        """Sample the agents' positions in index order, then the landmarks'; velocities are zero."""
        for agent in world.agents:
            agent.state.p_pos = np_random.uniform(-c.START_RANGE, c.START_RANGE, world.dim_p)
            agent.state.p_vel = np.zeros(world.dim_p)
            agent.state.c = np.zeros(world.dim_c)
        for landmark in world.landmarks:
            landmark.state.p_pos = np_random.uniform(-c.START_RANGE, c.START_RANGE, world.dim_p)
            landmark.state.p_vel = np.zeros(world.dim_p)

    def reward(self, agent: Agent, world: World) -> float:
        """Sum over landmarks of min(1 / nearest agent's distance, 10), minus 5 for each other agent touched."""
        cover = 0.0
        for landmark in world.landmarks:
            nearest = min(_distance(other, landmark) for other in world.agents)
            cover += 1.0 / nearest if nearest > 1.0 / c.MAX_COVER_REWARD else c.MAX_COVER_REWARD
        touched = sum(_distance(agent, other) < agent.size + other.size for other in world.agents if other is not agent)
        return float(cover - c.COLLISION_PENALTY * touched)

    def observation(self, agent: Agent, world: World) -> np.ndarray:
        """(18,) float64: own velocity, own position, landmarks and other agents relative to self, others' channels."""
        others = [other for other in world.agents if other is not agent]
        own = agent.state.p_pos
        return np.concatenate(
            [agent.state.p_vel, own]
            + [landmark.state.p_pos - own for landmark in world.landmarks]
            + [other.state.p_pos - own for other in others]
            + [other.state.c for other in others]
        )


class SpreadEnv(SimpleEnv):
    """mpe2's environment with this scenario; continuous actions are forces in [-1, 1]^2, not mpe2's five values."""

    metadata = {**SimpleEnv.metadata, "name": "simple_spread"}

    def __init__(
        self,
        max_cycles: int = c.TIME_LIMIT,
        continuous_actions: bool = True,
        render_mode: str | None = None,
    ) -> None:
        scenario = Scenario()
        super().__init__(
            scenario=scenario,
            world=scenario.make_world(),
            max_cycles=max_cycles,
            render_mode=render_mode,
            continuous_actions=continuous_actions,
            local_ratio=None,
        )
        if continuous_actions:
            for agent in self.world.agents:
                self.action_spaces[agent.name] = spaces.Box(-1.0, 1.0, shape=(self.world.dim_p,), dtype=np.float32)

    def _set_action(self, action: Any, agent: Agent, action_space: spaces.Space[Any], time: Any = None) -> None:
        if self.continuous_actions:
            force = np.asarray(action[0], dtype=np.float64)  # (2,)
        else:
            force = np.array(c.MOVES[int(action[0])])
        agent.action.u = c.GAIN * force
        agent.action.c = np.zeros(self.world.dim_c)


def _distance(a: Entity, b: Entity) -> float:
    return float(np.sqrt(np.sum(np.square(a.state.p_pos - b.state.p_pos))))


parallel_env = parallel_wrapper_fn(make_env(SpreadEnv))
