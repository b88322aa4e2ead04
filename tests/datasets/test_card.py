"""What the writer takes as a card."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from datasets.dataset import read_dataset, write_dataset
from datasets.references import reference_returns
from envs.mpe.prey import prey_file
from tests.datasets.samples import continuous_arrays, continuous_card, discrete_arrays
from utils.errors import DatasetError


def write(path, entries):
    arrays, offsets = continuous_arrays([3, 2])
    return write_dataset(path, arrays, offsets, continuous_card() | entries)


def test_numpy_numbers_become_plain_ones(tmp_path):
    made_by = {"seed": np.int64(3), "rates": np.array([0.5, 1.5]), "greedy": np.bool_(True), "eps": (np.float32(0.5),)}
    written = write(
        tmp_path / "d.h5", {"action_low": -np.ones(2, np.float32), "n_actions": np.int64(2), "made_by": made_by}
    )
    card = read_dataset(tmp_path / "d.h5").card
    assert card == written
    assert card["made_by"] == {"seed": 3, "rates": [0.5, 1.5], "greedy": True, "eps": [0.5]}
    assert card["action_low"] == [-1.0, -1.0] and card["n_actions"] == 2


def test_the_makers_card_is_left_as_it_is(tmp_path):
    card = continuous_card() | {"environment": {"env": "mine"}}
    arrays, offsets = continuous_arrays([3])
    assert write_dataset(tmp_path / "d.h5", arrays, offsets, card)["environment"] == {"env": "mine", "env_args": {}}
    assert card == continuous_card() | {"environment": {"env": "mine"}}


@pytest.mark.parametrize(
    "entries, message",
    [
        ({"made_by": {"lr": np.nan}}, "made_by.lr is nan"),
        ({"made_by": {"lrs": [1.0, np.inf]}}, r"made_by.lrs\[1\] is inf"),
        ({"made_by": {"where": Path("x")}}, "made_by.where is of type PosixPath"),
        ({"made_by": {"by": {1, 2}}}, "made_by.by is of type set"),
        ({"made_by": {1: 2}}, "made_by has the key 1"),
        ({3: 4}, "the dataset card has the key 3"),
        ({"made_by": "me"}, "made_by is 'me'; it must be a mapping"),
        ({"quality": 3}, "quality is 3; it must be text"),
        ({"environment": "mpe"}, "needs environment"),
        ({"environment": {"env": 1, "env_args": {}}}, "needs environment"),
        ({"environment": {"env": "mpe", "env_args": "simple_spread"}}, "env_args is 'simple_spread'"),
        ({"environment": {"env": "mpe", "env_args": {"key": ["a"]}}}, "env_args.key is"),
        ({"action_space": ["continuous"]}, "action_space is"),
        ({"action_low": [-np.inf, -1.0]}, r"action_low\[0\] is -inf"),
        ({"action_low": [-1e300, -1.0]}, "action_low is"),
        ({"action_high": ["1", "1"]}, "action_high is"),
        ({"action_high": "high"}, "action_high is 'high'"),
        ({"action_high": [[1.0, 1.0]]}, "action_high is"),
        ({"action_low": [-1.0, 2.0]}, "action_low is 2 and its action_high 1 in dimension 1"),
        ({"n_actions": "a"}, "n_actions is 'a'"),
        ({"n_actions": 3}, "all must agree"),
    ],
)
def test_entries_of_the_wrong_kind_are_refused(tmp_path, entries, message):
    with pytest.raises(DatasetError, match=message):
        write(tmp_path / "d.h5", entries)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n_actions", ["a", 0, 2.5, True, None])
def test_a_number_of_discrete_actions_is_a_whole_number(tmp_path, n_actions):
    arrays, offsets, card = discrete_arrays([4, 2])
    with pytest.raises(DatasetError, match="n_actions is"):
        write_dataset(tmp_path / "d.h5", arrays, offsets, card | {"n_actions": n_actions})


@pytest.mark.parametrize(
    "reference, message",
    [
        ({"random": 5, "expert": 5.0, "source": "me"}, "so scores cannot be normalised"),
        ({"random": 5, "source": "me"}, "reference.expert is None"),
        ({"random": 5, "expert": 6}, "reference.source is None"),
        ({"random": "low", "expert": 6, "source": "me"}, "reference.random is 'low'"),
        ({"random": True, "expert": 6, "source": "me"}, "reference.random is True"),
        ({"random": np.nan, "expert": 6, "source": "me"}, "reference.random is nan"),
        ({}, "reference.random is None"),
        ("published", "reference is 'published'"),
    ],
)
def test_a_reference_that_gives_no_score_is_refused(tmp_path, reference, message):
    with pytest.raises(DatasetError, match=message):
        write(tmp_path / "d.h5", {"reference": reference})


def test_a_reference_may_be_stated_or_left_out(tmp_path):
    reference = {"random": np.float64(1), "expert": 2, "source": "me"}
    assert write(tmp_path / "d.h5", {"reference": reference})["reference"] == {
        "random": 1.0,
        "expert": 2,
        "source": "me",
    }
    elsewhere = {"env": "mine", "env_args": {}}
    assert write(tmp_path / "d.h5", {"reference": None, "environment": elsewhere})["reference"] is None
    assert read_dataset(tmp_path / "d.h5").card["reference"] is None


def test_references_are_of_the_published_arguments_only() -> None:
    published = {"key": "simple_spread", "time_limit": 25, "continuous_actions": True}
    found = reference_returns("mpe", published)
    assert found is not None and (found["expert"], found["random"]) == (516.8, 159.8)
    assert reference_returns("mpe", {"key": "simple_spread"}) == found
    for other in ({"time_limit": 50}, {"continuous_actions": False}, {"key": "simple_spread_v3"}):
        assert reference_returns("mpe", published | other) is None


@pytest.mark.parametrize("key", ["simple_tag", "simple_world"])
def test_references_of_predators_are_of_one_prey(key: str, tmp_path: Path) -> None:
    """The bundled prey has its own, another prey none, and a missing file none either."""
    bundled = reference_returns("mpe", {"key": key})
    assert bundled is not None and "measured here" in bundled["source"]
    assert reference_returns("mpe", {"key": key, "control": "prey"}) is None
    assert reference_returns("mpe", {"key": key, "prey": str(tmp_path / "none.safetensors")}) is None
    tensors = load_file(prey_file(key, None))
    save_file({name: 2 * value for name, value in tensors.items()}, tmp_path / "other.safetensors")
    assert reference_returns("mpe", {"key": key, "prey": str(tmp_path / "other.safetensors")}) is None


def test_references_of_robots_are_of_unchanged_robots() -> None:
    robot = {"key": "Ant", "partition": "2x4", "time_limit": None}
    found = reference_returns("mamujoco", robot)
    assert found is not None and "MuJoCo 4.0.0" in found["source"]
    assert reference_returns("mamujoco", robot | {"observations": "local", "agent_obsk": 0}) == found
    for other in ({"time_limit": 100}, {"ctrl_cost_weight": 0.1}, {"partition": "4x2"}, {"key": "Humanoid"}):
        assert reference_returns("mamujoco", robot | other) is None
