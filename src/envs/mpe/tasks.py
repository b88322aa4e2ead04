"""OMAR's particle tasks (Pan et al., 2022), shared by the scenarios on mpe2 and the vectorised environments.

Cooperative Navigation is `simple_spread`, Predator-Prey `simple_tag`, World `simple_world`.
"""

from dataclasses import dataclass

DT = 0.1
DAMPING = 0.25
CONTACT_FORCE = 100.0
CONTACT_MARGIN = 1e-3
START_RANGE = 1.0  # agents start uniformly in [-1, 1] per axis
TIME_LIMIT = 25

# Unit force of each discrete action, in mpe2's order: stay, -x, +x, -y, +y.
MOVES = ((0.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))

# Cooperative Navigation
MAX_COVER_REWARD = 10.0  # a landmark pays 1 / (distance of the nearest agent), at most this
COLLISION_PENALTY = 5.0

# Predator-Prey and World
SHAPING = 0.1  # predators pay, and the prey earns, this times the sum of their distances
WALL = 0.9  # distance from the middle, per axis, from which on the prey pays for leaving
FOOD_REWARD = 2.0  # for the prey, for each food it touches
FOOD_SHAPING = 0.05  # times the distance of the nearest food; OMAR's code adds it, and so do we


@dataclass(frozen=True)
class Task:
    """Bodies of a task. Learning agents come first, the prey comes last; landmarks stand still.

    sizes: radius of each agent. gains: force per unit of action. max_speeds: of each agent, inf for none.
    landmark_sizes: radius of each landmark. n_obstacles: the first landmarks, which push agents away. food, forests:
    places of others among the landmarks. landmark_range: landmarks start uniformly within it per axis. hit_reward: for
    each predator that touches the prey. wall_weight: of what the prey pays outside of `WALL`.
    """

    sizes: tuple[float, ...]
    gains: tuple[float, ...]
    max_speeds: tuple[float, ...]
    landmark_sizes: tuple[float, ...]
    n_obstacles: int = 0
    food: tuple[int, ...] = ()
    forests: tuple[int, ...] = ()
    landmark_range: float = 1.0
    hit_reward: float = 0.0
    wall_weight: float = 1.0

    @property
    def prey_obs_dim(self) -> int:
        """Own velocity and position, landmarks and predators relative to the prey, forests."""
        return 4 + 2 * len(self.landmark_sizes) + 2 * (len(self.sizes) - 1) + len(self.forests)


# OMAR's code multiplies the action twice by an agent's acceleration: predators 3 * 3, prey 4 * 4.
_GAINS = (9.0, 9.0, 9.0, 16.0)
_MAX_SPEEDS = (1.0, 1.0, 1.0, 1.3)
SPREAD = Task(sizes=(0.15,) * 3, gains=(5.0,) * 3, max_speeds=(float("inf"),) * 3, landmark_sizes=(0.05,) * 3)
TAG = Task(
    sizes=(0.075, 0.075, 0.075, 0.05), gains=_GAINS, max_speeds=_MAX_SPEEDS, landmark_sizes=(0.2, 0.2), n_obstacles=2,
    landmark_range=0.9, hit_reward=10.0,
)  # fmt: skip
WORLD = Task(
    sizes=(0.075, 0.075, 0.075, 0.045), gains=_GAINS, max_speeds=_MAX_SPEEDS,
    landmark_sizes=(0.2, 0.03, 0.03, 0.3, 0.3), n_obstacles=1, food=(1, 2), forests=(3, 4), landmark_range=0.9,
    hit_reward=5.0, wall_weight=2.0,
)  # fmt: skip
TASKS = {"simple_spread": SPREAD, "simple_tag": TAG, "simple_world": WORLD}
