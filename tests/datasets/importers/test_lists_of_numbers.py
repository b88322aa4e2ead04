"""Plain lists in episodes, and actions beside the arguments of the other kind."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets import from_episodes
from datasets.dataset import read_dataset
from utils.errors import DatasetError


def episode(steps: int = 2, n_agents: int = 2, **changes: Any) -> dict[str, Any]:
    """Continuous actions of equal agents, in arrays by step."""
    rng = np.random.default_rng(0)
    return {
        "obs": rng.normal(size=(steps + 1, n_agents, 3)),
        "actions": rng.uniform(-1, 1, (steps, n_agents, 1)),
        "reward": rng.normal(size=steps),
        "terminated": False,
    } | changes


def refused(made: dict[str, Any], message: str, **arguments: Any) -> None:
    bounds = arguments or {"action_low": -1, "action_high": 1}
    with pytest.raises(DatasetError, match=message) as raised:
        from_episodes([made], "never.h5", **bounds)
    assert "\n" not in str(raised.value) and not Path("never.h5").exists()


STEPS = r"a list is one entry per agent; for one entry per step use np.array\(...\)"


@pytest.mark.parametrize("steps", [2, 10])
def test_a_list_of_numbers_is_the_teams_reward(steps: int, tmp_path: Path) -> None:
    reward = [float(step) for step in range(steps)]
    card = from_episodes([episode(steps, reward=reward)], tmp_path / "out.h5", action_low=-1, action_high=1)
    stored = read_dataset(tmp_path / "out.h5").arrays["reward"]
    assert stored[:steps].T.tolist() == [reward, reward] and card["reward"].startswith("the team's")


def test_lists_in_which_agents_and_steps_look_alike_are_refused(tmp_path: Path) -> None:
    table = [[1.0, 2.0], [3.0, 4.0]]
    refused(episode(reward=table), f"episode 0: reward is a list of 2 lists of 2, .* or steps: {STEPS}")
    refused(episode(actions=[[0, 1], [1, 0]]), f"episode 0: actions is a list of 2 lists of 2.*{STEPS}", n_actions=2)
    refused(episode(1, obs=np.zeros((2, 2, 3)).tolist()), f"episode 0: obs is a list of 2 lists of 2.*{STEPS}")
    bounds = {"action_low": -1, "action_high": 1}
    for number, (reward, stored) in enumerate(
        [
            (np.array(table), table),  # by step
            ([np.array(row) for row in table], [[1.0, 3.0], [2.0, 4.0]]),  # by agent, as lists of arrays are
        ]
    ):
        from_episodes([episode(reward=reward)], tmp_path / f"{number}.h5", **bounds)
        assert read_dataset(tmp_path / f"{number}.h5").arrays["reward"][:2].tolist() == stored
    # three steps: only one reading fits
    from_episodes([episode(3, reward=[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])], tmp_path / "long.h5", **bounds)


def test_lists_by_step_are_told_what_a_list_is() -> None:
    by_step = list(np.zeros((11, 2, 3)))
    refused(episode(10, obs=by_step, actions=list(np.zeros((10, 2, 1)))), f"actions has 10 agents; .*{STEPS}")
    refused(episode(10, obs=by_step), f"actions has 2 agents; it must be 11, as in obs .{STEPS}")
    refused(episode(10, actions=list(np.zeros((10, 2, 1)))), f"actions has 10 agents; it must be 2.*{STEPS}")
    refused(episode(10, reward=np.zeros((10, 2)).tolist()), f"reward has 10 agents; it must be 2.*{STEPS}")
    refused(episode(3, 1, actions=[0, 1, 0]), f"actions is a list of numbers; {STEPS}", n_actions=2)
    refused(episode(10, actions=[np.zeros((10, 1))]), "actions has 1 agents; it must be 2, as in obs$")


def test_actions_of_the_other_kind_are_named() -> None:
    whole = r"actions are floats and n_actions is given; discrete actions are whole numbers: .astype\(int\)"
    refused(episode(), whole, n_actions=4)
    refused(episode(actions=np.zeros((2, 2))), whole, n_actions=3)
    integers = np.zeros((2, 2, 1), int)
    floats = r"actions are whole numbers and action_low is given; continuous actions are floats: .astype\(float\)"
    refused(episode(actions=integers), floats)
    one_hot = np.zeros((2, 2, 3), int)
    refused(episode(actions=one_hot), r"agent 0 has shape \(2, 3\); expected one column .an index, not", n_actions=3)
