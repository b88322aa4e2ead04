"""Agents given by name, and action masks of episodes as dictionaries."""

from pathlib import Path

import numpy as np
import pytest

from datasets import from_episodes
from datasets.dataset import read_dataset
from tests.datasets.importers.test_episodes import BOUNDS, logged
from utils.errors import DatasetError


def test_dictionaries_are_read_by_the_names_in_obs(tmp_path: Path) -> None:
    """Whatever order they are in, and in the first episode too."""
    episodes = logged(discrete=True)
    for episode in episodes:
        steps = len(episode["reward"])
        episode["reward"] = {"cart": np.full(steps, 5.0), "arm": np.ones(steps)}
        episode["actions"] = dict(zip(("cart", "arm"), episode["actions"][::-1], strict=True))
        episode["avail_actions"] = {"cart": np.ones((steps + 1, 2)), "arm": np.ones((steps + 1, 3))}
    from_episodes(episodes, tmp_path / "out.h5")
    arrays = read_dataset(tmp_path / "out.h5").arrays
    assert (arrays["reward"][:3] == [1, 5]).all() and (arrays["avail_actions"] == [[1, 1, 1], [1, 1, 0]]).all()
    np.testing.assert_array_equal(arrays["actions"][4:9, 0, 0], episodes[1]["actions"]["arm"])
    reordered = logged()
    for episode in reordered:
        episode["actions"] = dict(sorted(episode["actions"].items(), reverse=True))
    from_episodes(reordered, tmp_path / "continuous.h5", **BOUNDS)
    np.testing.assert_allclose(
        read_dataset(tmp_path / "continuous.h5").arrays["actions"][:3, 1], reordered[0]["actions"]["cart"], rtol=1e-6
    )


@pytest.mark.parametrize("key", ["actions", "reward"])
def test_names_need_names_in_obs(tmp_path: Path, key: str) -> None:
    """Else it is not known which observation an agent's action belongs to."""
    episodes = logged()
    for episode in episodes:
        episode["obs"] = list(episode["obs"].values())
        steps = len(episode["reward"])
        if key == "reward":
            episode |= {
                "actions": list(episode["actions"].values()),
                key: {"cart": np.ones(steps), "arm": np.ones(steps)},
            }
    with pytest.raises(
        DatasetError, match=f"^episode 0: {key} names agents, and obs of the first episode does not, so"
    ):
        from_episodes(episodes, tmp_path / "out.h5", **BOUNDS)
    episodes = logged()
    episodes[0] |= {"obs": list(episodes[0]["obs"].values()), "actions": list(episodes[0]["actions"].values())}
    with pytest.raises(DatasetError, match="^episode 1: obs names agents, and obs of the first episode does not"):
        from_episodes(episodes, tmp_path / "out.h5", **BOUNDS)


def test_masked_values_are_no_numbers(tmp_path: Path) -> None:
    episodes = logged()
    episodes[1]["reward"] = np.ma.masked_greater(episodes[1]["reward"], 0)
    with pytest.raises(DatasetError, match="^episode 1: reward has masked values"):
        from_episodes(episodes, tmp_path / "out.h5", **BOUNDS)


def test_masks_are_zeros_and_ones_in_every_episode_or_in_none(tmp_path: Path) -> None:
    for held in (0, 1):
        episodes = logged(discrete=True)
        steps = len(episodes[held]["reward"])
        episodes[held]["avail_actions"] = [np.ones((steps + 1, 3)), np.ones((steps + 1, 2))]
        with pytest.raises(DatasetError, match=f"^episode 1 {('lacks', 'has')[held]} avail_actions, unlike the first"):
            from_episodes(episodes, tmp_path / "out.h5", n_actions=[3, 2])
    for number in (0.5, 7, -3, np.nan):
        episodes = logged(discrete=True)
        for episode in episodes:
            steps = len(episode["reward"])
            episode["avail_actions"] = [np.ones((steps + 1, 3)), np.ones((steps + 1, 2))]
        episodes[1]["avail_actions"][1][2, 0] = number
        with pytest.raises(DatasetError, match=f"episode 1, agent 1: 'avail_actions' is {number:g} on row 2"):
            from_episodes(episodes, tmp_path / "out.h5")
    assert not list(tmp_path.iterdir())
