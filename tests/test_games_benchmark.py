"""The exact expectations of benchmarks/games.py are those of the games that runners play."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from envs.bridge import BridgeEnv, bridge_tables
from envs.game_env import GameEnv
from envs.matrix_game import PAYOFFS, MatrixGameEnv
from tests.test_benchmarks import load
from utils.errors import UserError


@pytest.fixture(scope="module")
def games() -> ModuleType:
    return load("games")


def played(env: GameEnv, policies: np.ndarray, states: np.ndarray, actions: tuple[tuple[int, int], ...] = ()) -> float:
    """The expected return, over every sequence of joint actions of some probability, each played from the start."""
    env.reset()
    total, over = 0.0, False
    for pair in actions:
        _, reward, terminated, truncated, _ = env.step(np.array(pair))
        assert isinstance(reward, float)
        total, over = reward, terminated or truncated  # of the last step: those before are counted by the callers
    if over:
        return total
    (here,) = np.flatnonzero((states == env.get_state()).all(1)) if len(states) > 1 else (0,)
    first, second = policies[here]
    for i in np.flatnonzero(first):
        for j in np.flatnonzero(second):
            total += first[i] * second[j] * played(env, policies, states, (*actions, (int(i), int(j))))
    return total


def test_bridges_expectation_is_that_of_all_ways_to_play_it(games: ModuleType) -> None:
    """Policies of two actions in each state; episodes of four steps: 256 ways, each in the environment itself."""
    rng, states = np.random.default_rng(0), bridge_tables().states
    policies = np.zeros((len(states), 2, 5))
    for state in range(len(states)):
        for agent in range(2):
            chosen, share = rng.choice(5, 2, replace=False), rng.random()
            policies[state, agent, chosen] = share, 1 - share
    env = BridgeEnv(episode_limit=4, reward_scalarisation="mean")
    expected = played(env, policies, states)
    assert expected < -0.1 and games.bridge_return(policies, limit=4) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("key", PAYOFFS)
def test_a_matrix_games_expectation_is_that_of_all_pairs(games: ModuleType, key: str) -> None:
    n_actions = len(PAYOFFS[key])
    policies = np.random.default_rng(0).dirichlet(np.ones(n_actions), size=(1, 2))
    env = MatrixGameEnv(key, episode_limit=1, reward_scalarisation="mean")
    expected = played(env, policies, np.zeros((1, 4)))
    assert games.GAMES[key].expected(policies) == pytest.approx(expected, rel=1e-12)


def test_rows_are_all_learners_of_discrete_actions_from_data(games: ModuleType) -> None:
    rows = list(games.learners(games.GAMES["xor"], []))
    names = {name for name, _ in rows}
    assert {"alberdice", "bc_discrete", "bcq", "comadice_discrete", "iql_cql", "spacql_discrete"} <= names
    assert not {"bc", "macql", "matd3_bc", "fqe", "iql", "random"} & names
    assert set(games.VARIANTS) <= names and len(rows) == len({games.title(*row) for row in rows})


def test_a_named_file_has_its_row_or_a_reason(games: ModuleType) -> None:
    """Where it has a sibling for discrete actions, the sibling's."""
    xor = games.GAMES["xor"]
    assert list(games.learners(xor, ["icq", "bc"])) == [("bc_discrete", {}), ("icq_discrete", {})]
    for name, sentence in (("macql", "handles continuous actions"), ("iql", "--only iql: it does not learn from data")):
        with pytest.raises(UserError, match=sentence):
            list(games.learners(xor, [name]))


def test_a_row_holds_what_its_policies_earn(games: ModuleType) -> None:
    """Of a short run, by the policies themselves; values have greedy policies only."""
    game: Any = games.GAMES["xor"]._replace(datasets=("matrix_game/xor/ab",))
    lines = [line for name in ("bc_discrete", "iql_cql") for line in games.table(game, [name], 1, 60)]
    rows = [line for line in lines if line.startswith("| `") and "learner" not in line]
    assert rows[0].startswith("| `bc_discrete` | 0.9") or rows[0].startswith("| `bc_discrete` | 1.0")
    assert rows[0].endswith("(1.000) |") and rows[1].startswith("| `iql_cql` | - (")
