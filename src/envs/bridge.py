"""Bridge: two agents must pass each other on a bridge one row wide (from AlberDICE, Matsunaga et al. 2023).

Who yields to whom is free, so that there are two optimal modes and agents that choose different ones block each other.
The game is small enough to be known exactly: `bridge_tables` holds every transition and reward, and the environment
reads them from there.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from envs.game_env import GameEnv

Cell = tuple[int, int]  # row, column
Places = tuple[Cell, Cell]  # agent 0's, agent 1's

# '#' walls, '.' free, a digit the goal of that agent.
MAP = ("1.##..", "......", "..##.0")
MOVES: tuple[Cell, ...] = ((0, 0), (-1, 0), (1, 0), (0, 1), (0, -1))  # stay, up, down, right, left
CELLS: tuple[Cell, ...] = tuple((row, column) for row in range(3) for column in range(6) if MAP[row][column] != "#")
GOALS: Places = ((2, 5), (0, 0))
STARTS: dict[bool, Places] = {True: ((1, 2), (1, 3)), False: ((1, 1), (1, 4))}  # by start_adjacent
STEP_COST = 0.1  # an agent's loss each step, by cell of distance to its goal
N_ACTIONS = len(MOVES)


@dataclass(frozen=True)
class BridgeTables:
    """The game over all 196 joint states s = 14 * cell of agent 0 + cell of agent 1 and joint actions a = 5 a_0 + a_1.

    next_state (196, 25) int64; reward (196, 25) float64, the team's; done (196, 25) bool, whether both agents are on
    their goals after the step; states (196, 8) float32, what is seen. The tables know of no time limit.
    """

    next_state: np.ndarray
    reward: np.ndarray
    done: np.ndarray
    states: np.ndarray


def state_index(places: Places) -> int:
    """The joint state's row in the tables."""
    return len(CELLS) * CELLS.index(places[0]) + CELLS.index(places[1])


def _target(agent: int, cell: Cell, action: int) -> Cell:
    """Where an agent alone on the map would be: no further than a wall, the map's edge or, once there, its goal."""
    target = (cell[0] + MOVES[action][0], cell[1] + MOVES[action][1])
    return cell if cell == GOALS[agent] or target not in CELLS else target


def transition(places: Places, actions: tuple[int, int]) -> Places:
    """Where the agents are after both moved at once.

    A move is cancelled that leads out of the map, into a wall or onto an agent that stays; an exchange of places
    cancels both moves; of two moves into one free cell, agent 1's is cancelled. Following into a cell that is being
    left is allowed. An agent on its goal stays there and is in nobody's way. Agents are judged in index order, and a
    move onto one's own goal is not stopped by what is there: agent 0's succeeds always (also as an exchange), agent
    1's unless agent 0 moves into the same cell or exchanges places with it. So the published transitions have it.
    """
    first, second = (_target(agent, places[agent], actions[agent]) for agent in range(2))
    if places[0] == GOALS[0] or places[1] == GOALS[1]:
        return first, second
    if first in (places[0], GOALS[0]):  # agent 0 stays or arrives
        return (first, places[1]) if second == first != GOALS[1] else (first, second)
    if (first, second) == (places[1], places[0]):
        return places
    if first != second:
        return first, second
    return (places[0], second) if second == places[1] else (first, places[1])


def step_reward(before: Places, after: Places) -> float:
    """The team's reward: the mean over agents of minus a tenth of the distance to the goal, after the move.

    An agent that was on its goal before the step counts 0, and so does the step that brings the last agent there.
    """
    if after == GOALS:
        return 0.0
    distances = (np.hypot(goal[0] - cell[0], goal[1] - cell[1]) for goal, cell in zip(GOALS, after, strict=True))
    going = (cell != goal for goal, cell in zip(GOALS, before, strict=True))
    return float(-STEP_COST * np.mean([distance * goes for distance, goes in zip(distances, going, strict=True)]))


@lru_cache(maxsize=1)
def bridge_tables() -> BridgeTables:
    """Every transition and reward of the game, made once; the arrays are shared and read-only."""
    pairs = list(product(CELLS, CELLS))
    joint_actions = list(product(range(N_ACTIONS), range(N_ACTIONS)))
    after = [[transition(places, actions) for actions in joint_actions] for places in pairs]
    tables = BridgeTables(
        next_state=np.array([[state_index(there) for there in row] for row in after], np.int64),
        reward=np.array([[step_reward(here, there) for there in row] for here, row in zip(pairs, after, strict=True)]),
        done=np.array([[there == GOALS for there in row] for row in after]),
        states=np.array([[*one, *GOALS[0], *other, *GOALS[1]] for one, other in pairs], np.float32),
    )
    for array in (tables.next_state, tables.reward, tables.done, tables.states):
        array.setflags(write=False)
    return tables


class BridgeEnv(GameEnv):
    """Agent 0 goes from (1, 2) to (2, 5), agent 1 from (1, 3) to (0, 0), or with `start_adjacent=False` from (1, 1)
    and (1, 4); `MAP`, `transition` and `step_reward` are the rules.

    State and observations (8,) are row and column of agent 0, of its goal, of agent 1 and of its goal, in cells. The
    episode terminates when both agents are on their goals. `episode_limit` (default 50, the published data's; the
    authors evaluate with 20) is a time limit, a truncation. As in the published game the step that ends an episode
    pays 0, even where the time limit ended it: the distance of that step is not charged. The optimum is -1.23545 in 8
    steps. The rest is as `GameEnv` says.
    """

    def __init__(
        self,
        seed: int | None = None,
        episode_limit: int = 50,
        start_adjacent: bool = True,
        common_reward: bool = True,
        reward_scalarisation: str = "sum",
    ) -> None:
        super().__init__(N_ACTIONS, seed, episode_limit, common_reward, reward_scalarisation)
        self._tables = bridge_tables()
        self._first = state_index(STARTS[bool(start_adjacent)])
        self._start()

    def _start(self) -> None:
        self._state = self._first

    def _play(self, first: int, second: int, last_step: bool) -> tuple[float, bool]:
        action = N_ACTIONS * first + second
        reward = 0.0 if last_step else float(self._tables.reward[self._state, action])
        done = bool(self._tables.done[self._state, action])
        self._state = int(self._tables.next_state[self._state, action])
        return reward, done

    def get_state(self) -> np.ndarray:
        return np.array(self._tables.states[self._state])

    def get_state_size(self) -> int:
        return int(self._tables.states.shape[1])
