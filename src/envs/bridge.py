"""Bridge: two agents must pass each other on a bridge one row wide (from AlberDICE, Matsunaga et al. 2023).

Either agent may yield, so there are two optimal modes. Agents that choose different modes block each other. The game is
small enough to list: `bridge_tables` holds every transition and reward, and the environment reads them from there.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from envs.arguments import check_flag
from envs.game_env import GameEnv

Cell = tuple[int, int]  # row, column
Places = tuple[Cell, Cell]  # agent 0's, agent 1's

# '#' walls, '.' free, a digit the goal of that agent.
MAP = ("1.##..", "......", "..##.0")
MOVES: tuple[Cell, ...] = ((0, 0), (-1, 0), (1, 0), (0, 1), (0, -1))  # stay, up, down, right, left
CELLS: tuple[Cell, ...] = tuple((row, column) for row in range(3) for column in range(6) if MAP[row][column] != "#")
GOALS: Places = ((2, 5), (0, 0))
STARTS: dict[bool, Places] = {True: ((1, 2), (1, 3)), False: ((1, 1), (1, 4))}  # by start_adjacent
STEP_COST = 0.1  # per agent, step and cell of distance to the goal
N_ACTIONS = len(MOVES)


@dataclass(frozen=True)
class BridgeTables:
    """The game as tables: joint states s = 14 * cell of agent 0 + cell of agent 1, joint actions a = 5 a_0 + a_1.

    next_state (196, 25) int64; reward (196, 25) float64, the team's; done (196, 25) bool: both agents are on their
    goals after the step; states (196, 8) float32: what the agents observe. The tables hold no time limit.
    """

    next_state: np.ndarray
    reward: np.ndarray
    done: np.ndarray
    states: np.ndarray


def state_index(places: Places) -> int:
    """Row of a joint state in the tables."""
    return len(CELLS) * CELLS.index(places[0]) + CELLS.index(places[1])


def _target(agent: int, cell: Cell, action: int) -> Cell:
    """Cell after one move of an agent alone on the map: walls and edges stop it, and it never leaves its goal."""
    target = (cell[0] + MOVES[action][0], cell[1] + MOVES[action][1])
    return cell if cell == GOALS[agent] or target not in CELLS else target


def transition(places: Places, actions: tuple[int, int]) -> Places:
    """Cells of both agents after a simultaneous move, as in the published transitions.

    - A move off the map, into a wall or onto an agent that stays is cancelled.
    - Agents cannot exchange places: both moves are cancelled.
    - Where both move into one free cell, agent 1's move is cancelled.
    - An agent may move into a cell that the other leaves in the same step.
    - An agent on its goal stays there and blocks nobody.
    - Agents are moved in index order, and an agent that moves onto its own goal is not blocked. Agent 0 always reaches
      its goal, even by an exchange. Agent 1 does unless agent 0 moves into the same cell or exchanges places with it.
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
    """Team reward of one step: the mean over agents of -0.1 * distance to the goal after the move.

    An agent that was on its goal before the step counts 0. The step that brings the last agent home pays 0.
    """
    if after == GOALS:
        return 0.0
    distances = (np.hypot(goal[0] - cell[0], goal[1] - cell[1]) for goal, cell in zip(GOALS, after, strict=True))
    going = (cell != goal for goal, cell in zip(GOALS, before, strict=True))
    return float(-STEP_COST * np.mean([distance * goes for distance, goes in zip(distances, going, strict=True)]))


@lru_cache(maxsize=1)
def bridge_tables() -> BridgeTables:
    """Every transition and reward of the game. The result is cached; its arrays are shared and read-only."""
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
    """The Bridge game. `MAP`, `transition` and `step_reward` are its rules; the rest is as in `GameEnv`.

    Goals: (2, 5) for agent 0 and (0, 0) for agent 1. Starts: (1, 2) and (1, 3), or (1, 1) and (1, 4) with
    `start_adjacent=False`. State and observations (8,): row and column of agent 0, its goal, agent 1 and its goal.
    The episode terminates when both agents are on their goals. `episode_limit` truncates it: 50 as in the published
    data, while the authors evaluate with 20. As in the published game the last step of an episode pays 0, also where
    the time limit ends it. The optimum is -1.23545 in 8 steps.
    """

    def __init__(
        self,
        seed: int | None = None,
        episode_limit: int = 50,
        start_adjacent: bool = True,
        common_reward: bool = True,
        reward_scalarisation: str = "sum",
    ) -> None:
        check_flag("start_adjacent", start_adjacent)
        super().__init__(N_ACTIONS, seed, episode_limit, common_reward, reward_scalarisation)
        self._tables = bridge_tables()
        self._first = state_index(STARTS[start_adjacent])
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
