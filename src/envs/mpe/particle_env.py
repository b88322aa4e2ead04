"""What OMAR's particle tasks (Pan et al., 2022: "Plan Better Amid Conservatism") share as scenarios on mpe2.

They differ from mpe2's environments of similar names: bodies move with the new velocity; an action is a force in
[-1, 1]^2; rewards are OMAR's.
"""

from typing import Any

import numpy as np
from gymnasium import spaces
from mpe2._mpe_utils.core import Agent, Entity, Landmark, World
from mpe2._mpe_utils.scenario import BaseScenario
from mpe2._mpe_utils.simple_env import SimpleEnv
from pettingzoo.utils import AgentSelector

from envs.mpe import tasks as c
from envs.mpe.tasks import Task


class ParticleWorld(World):
    """mpe2's world, except that bodies move with the new velocity and not with the old one."""

    def __init__(self, task: Task, names: list[str]) -> None:
        super().__init__()
        self.task = task
        self.dim_c = 2  # agents are silent, but the papers' observations hold these zeros
        self.dt = c.DT
        self.damping = c.DAMPING
        self.contact_force = c.CONTACT_FORCE
        self.contact_margin = c.CONTACT_MARGIN
        self.agents = [Agent() for _ in names]
        for agent, name, size, speed in zip(self.agents, names, task.sizes, task.max_speeds, strict=True):
            agent.name, agent.size, agent.silent = name, size, True
            agent.color = np.array([0.35, 0.35, 0.85])
            agent.max_speed = speed if np.isfinite(speed) else None
        self.landmarks = [Landmark() for _ in task.landmark_sizes]
        for i, (landmark, size) in enumerate(zip(self.landmarks, task.landmark_sizes, strict=True)):
            landmark.name, landmark.size, landmark.collide = f"landmark {i}", size, i < task.n_obstacles
            landmark.color = np.array([0.25, 0.25, 0.25])

    def gain(self, agent: Agent) -> float:
        """Force per unit of action."""
        return self.task.gains[self.agents.index(agent)]

    def integrate_state(self, p_force: list[np.ndarray | float | None]) -> None:
        for entity, force in zip(self.entities, p_force, strict=True):
            if not entity.movable:
                continue
            applied = 0.0 if force is None else force
            velocity = entity.state.p_vel * (1 - self.damping) + applied / entity.mass * self.dt
            speed = float(np.hypot(*velocity))
            if entity.max_speed is not None and speed > entity.max_speed:
                velocity = velocity / speed * entity.max_speed
            entity.state.p_vel = velocity
            entity.state.p_pos = entity.state.p_pos + velocity * self.dt

    def get_collision_force(self, entity_a: Entity, entity_b: Entity) -> list[np.ndarray | None]:
        if np.array_equal(entity_a.state.p_pos, entity_b.state.p_pos):
            return [None, None]  # at distance 0 there is no direction, and mpe2 would divide zero by zero
        forces: list[np.ndarray | None] = super().get_collision_force(entity_a, entity_b)
        return forces


class ParticleScenario(BaseScenario):
    """Starts of OMAR's tasks; a subclass adds observations and rewards."""

    def reset_world(self, world: ParticleWorld, np_random: np.random.Generator) -> None:
        """Sample the agents' positions in index order, then the landmarks'; velocities are zero."""
        for entities, spread in ((world.agents, c.START_RANGE), (world.landmarks, world.task.landmark_range)):
            for entity in entities:
                entity.state.p_pos = np_random.uniform(-spread, spread, world.dim_p)
                entity.state.p_vel = np.zeros(world.dim_p)
        for agent in world.agents:
            agent.state.c = np.zeros(world.dim_c)


class ParticleEnv(SimpleEnv):
    """mpe2's environment with such a scenario. Agents with an `action_callback` are moved by it and not seen outside.

    Continuous actions are forces in [-1, 1]^2, not mpe2's five values.
    """

    def __init__(
        self, scenario: ParticleScenario, max_cycles: int, continuous_actions: bool, render_mode: str | None
    ) -> None:
        world = scenario.make_world()
        super().__init__(
            scenario=scenario,
            world=world,
            max_cycles=max_cycles,
            render_mode=render_mode,
            continuous_actions=continuous_actions,
            local_ratio=None,
        )
        self.agents = [agent.name for agent in world.policy_agents]
        self.possible_agents = self.agents[:]
        self._index_map = {name: i for i, name in enumerate(self.agents)}
        self._agent_selector = AgentSelector(self.agents)
        self.current_actions = [None] * self.num_agents
        if continuous_actions:
            for agent in world.agents:
                self.action_spaces[agent.name] = spaces.Box(-1.0, 1.0, shape=(world.dim_p,), dtype=np.float32)
        width = sum(self.observation_spaces[name].shape[0] for name in self.agents)
        self.state_space = spaces.Box(-np.inf, np.inf, shape=(width,), dtype=np.float32)

    def observe(self, agent: str) -> np.ndarray:
        seen: np.ndarray = self.scenario.observation(self.world.policy_agents[self._index_map[agent]], self.world)
        return seen.astype(np.float32)

    def state(self) -> np.ndarray:
        return np.concatenate([self.observe(agent) for agent in self.possible_agents])

    def _execute_world_step(self) -> None:
        acting = self.world.policy_agents
        for agent, action in zip(acting, self.current_actions, strict=True):
            agent.action.u = self.force(agent, action)
            agent.action.c = np.zeros(self.world.dim_c)
        self.world.step()
        for agent in acting:
            self.rewards[agent.name] = float(self.scenario.reward(agent, self.world))

    def force(self, agent: Agent, action: Any) -> np.ndarray:
        """The force (2,) of an agent's action."""
        unit = np.asarray(action, dtype=np.float64) if self.continuous_actions else np.array(c.MOVES[int(action)])
        return np.asarray(self.world.gain(agent) * unit)


def distance(a: Entity, b: Entity) -> float:
    return float(np.sqrt(np.sum(np.square(a.state.p_pos - b.state.p_pos))))
