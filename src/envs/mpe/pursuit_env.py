"""OMAR's Predator-Prey and World as scenarios on mpe2; `simple_tag` and `simple_world` make their environments.

They differ from mpe2's `simple_tag_v3` and `simple_world_comm_v3` as Cooperative Navigation does, and further: rewards
are shaped by the distances of all predators; World has three silent predators and one prey, whom forests do not hide.
"""

import math

import numpy as np
from mpe2._mpe_utils.core import Action, Agent

from envs.mpe import tasks as c
from envs.mpe.particle_env import ParticleEnv, ParticleScenario, ParticleWorld, distance
from envs.mpe.prey import PREDATORS, PREY, chase, check_control, load_prey
from envs.mpe.tasks import Task


class PursuitScenario(ParticleScenario):
    """Three predators, who share a reward, chase a prey."""

    def __init__(self, key: str, prey: str | None, control: str) -> None:
        self.task: Task = c.TASKS[key]
        self.control = check_control(control)
        self.prey = load_prey(key, prey, self.task.prey_obs_dim) if control == "predators" else None

    def make_world(self) -> ParticleWorld:
        world = ParticleWorld(self.task, [*(f"predator_{i}" for i in range(3)), "prey"])
        for agent in world.agents[PREDATORS] if self.prey is None else [world.agents[PREY]]:
            agent.action_callback = self.scripted
        world.agents[PREY].color = np.array([0.35, 0.85, 0.35])
        for predator in world.agents[PREDATORS]:
            predator.color = np.array([0.85, 0.35, 0.35])
        for i in self.task.food:
            world.landmarks[i].color = np.array([0.15, 0.15, 0.65])
        for i in self.task.forests:
            world.landmarks[i].color = np.array([0.6, 0.9, 0.6])
        return world

    def scripted(self, agent: Agent, world: ParticleWorld) -> Action:
        """The action of a body that does not learn: the prey's policy, or a predator's run straight at the prey."""
        if self.prey is not None:
            unit = self.prey.act(self.observation(agent, world)[None])[0]
        else:
            unit = chase((world.agents[PREY].state.p_pos - agent.state.p_pos)[:, None])[:, 0]
        action = Action()
        action.u, action.c = world.gain(agent) * unit, np.zeros(world.dim_c)
        return action

    def reward(self, agent: Agent, world: ParticleWorld) -> float:
        """10 (World: 5) for each predator that touches the prey, less 0.1 times the sum of the predators' distances.

        The prey earns the opposite, pays for leaving the field and, in World, is rewarded for food.
        """
        prey = world.agents[PREY]
        gaps = [distance(predator, prey) for predator in world.agents[PREDATORS]]
        hits = sum(gap < predator.size + prey.size for gap, predator in zip(gaps, world.agents, strict=False))
        shared = self.task.hit_reward * hits - c.SHAPING * sum(gaps)
        if agent is not prey:
            return float(shared)
        earned = -shared - self.task.wall_weight * sum(_wall_cost(abs(x)) for x in prey.state.p_pos)
        if self.task.food:
            food = [world.landmarks[i] for i in self.task.food]
            away = [distance(prey, piece) for piece in food]
            eaten = sum(gap < prey.size + piece.size for gap, piece in zip(away, food, strict=True))
            earned += c.FOOD_REWARD * eaten + c.FOOD_SHAPING * min(away)
        return float(earned)

    def observation(self, agent: Agent, world: ParticleWorld) -> np.ndarray:
        """(16,) or in World (24,) float64, two less for the prey, who is not told its own velocity twice."""
        own, prey = agent.state.p_pos, world.agents[PREY]
        parts = [agent.state.p_vel, own]
        parts += [landmark.state.p_pos - own for landmark in world.landmarks]
        parts += [other.state.p_pos - own for other in world.agents if other is not agent]
        if agent is not prey:
            parts.append(prey.state.p_vel)
        forests = [world.landmarks[i] for i in self.task.forests]
        parts.append(np.array([1.0 if distance(agent, f) < agent.size + f.size else -1.0 for f in forests]))
        return np.concatenate(parts)


class PursuitEnv(ParticleEnv):
    """mpe2's environment with this scenario. prey, control: as in `envs.mpe.pursuit_twin.PursuitTwin`.

    A subclass names the task in its metadata.
    """

    def __init__(
        self,
        max_cycles: int = c.TIME_LIMIT,
        continuous_actions: bool = True,
        render_mode: str | None = None,
        prey: str | None = None,
        control: str = "predators",
    ) -> None:
        scenario = PursuitScenario(self.metadata["name"], prey, control)
        super().__init__(scenario, max_cycles, continuous_actions, render_mode)


def _wall_cost(away: float) -> float:
    if away < c.WALL:
        return 0.0
    return (away - c.WALL) * 10 if away < 1.0 else min(math.exp(2 * away - 2), 10.0)
