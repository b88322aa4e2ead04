"""Datasets whose agents have bounds of their own: cards, checks, reports, merging and the environment's bounds."""

from types import SimpleNamespace

import numpy as np
import pytest

from dataset import main
from datasets.bounds import check_same_bounds
from datasets.dataset import read_dataset, write_dataset
from tests.datasets.samples import continuous_arrays, continuous_card, forge
from utils.errors import DatasetError

LOW, HIGH = [[-1.0, 0.0], [-3.0, 10.0], [-1.0, 0.0]], [[2.0, 0.0], [6.0, 11.0], [2.0, 0.0]]
OWN = {"action_low": LOW, "action_high": HIGH}


def made(available=False):
    """Actions all over each agent's box, agents 0 and 2 with one dimension; availability is stored where asked."""
    arrays, offsets = continuous_arrays([3, 5, 1])
    unit = np.random.default_rng(0).random(arrays["actions"].shape)
    arrays["actions"] = (np.array(LOW) + unit * (np.array(HIGH) - LOW)).astype(np.float32)
    if available:
        has = np.array([[1, 0], [1, 1], [1, 0]], np.uint8)
        arrays["avail_actions"] = np.broadcast_to(has, arrays["actions"].shape).copy()
    return arrays, offsets


@pytest.fixture(params=[False, True])
def file(request, tmp_path):
    arrays, offsets = made(request.param)
    write_dataset(tmp_path / "own.h5", arrays, offsets, continuous_card() | OWN, last_action_known=True)
    return tmp_path / "own.h5"


def write(folder, entries, arrays=None):
    made_arrays, offsets = made()
    return write_dataset(folder / "d.h5", arrays or made_arrays, offsets, continuous_card() | entries)


def test_a_card_keeps_bounds_per_agent_and_the_environment_information_has_them(file):
    dataset = read_dataset(file)
    assert (dataset.card["action_low"], dataset.card["action_high"]) == (LOW, HIGH)
    info = dataset.env_info()
    assert (info["action_low"], info["action_high"]) == (LOW, HIGH)
    again = write_dataset(file.parent / "b.h5", dataset.arrays, dataset.episode_offsets, dataset.card)
    assert again["action_low"] == LOW


def test_agents_that_agree_are_written_in_the_short_form(tmp_path):
    arrays, offsets = continuous_arrays([3, 2])
    flat = write_dataset(tmp_path / "a.h5", arrays, offsets, continuous_card())
    rows = {"action_low": np.full((3, 2), -1.0), "action_high": [1, 1]}
    nested = write_dataset(tmp_path / "b.h5", arrays, offsets, continuous_card() | rows)
    assert nested == flat and nested["action_low"] == [-1.0, -1.0]


def test_one_bound_may_differ_alone(tmp_path):
    arrays, offsets = continuous_arrays([3, 2])
    higher = {"action_high": [[1, 1], [1, 1], [1, 4]]}
    card = write_dataset(tmp_path / "a.h5", arrays, offsets, continuous_card() | higher)
    assert card["action_low"] == [[-1.0, -1.0]] * 3 and card["action_high"] == [[1.0, 1.0], [1.0, 1.0], [1.0, 4.0]]
    forge(tmp_path / "a.h5", {"action_low": [-1.0, -1.0]})
    assert read_dataset(tmp_path / "a.h5").card["action_low"] == [-1.0, -1.0]


@pytest.mark.parametrize(
    "entries, message",
    [
        ({"action_low": LOW[:2]}, "action_low is .*for each of 3 agents"),
        ({"action_low": [[-1.0, 0.0], [-3.0], [-1.0, 0.0]]}, "action_low is .*one such list per agent"),
        ({"action_low": [[-1.0, 0.0], -3.0, [-1.0, 0.0]]}, "action_low is .*one such list per agent"),
        ({"action_low": [-3.0, [0.0, 1.0]]}, "action_low is .*one such list per agent"),
        ({"action_low": [[[-1.0, 0.0]]] * 3}, "action_low is .*one such list per agent"),
        ({"action_low": [[], [], []]}, "action_low is .*one such list per agent"),
        ({"action_low": [], "action_high": []}, "action_low is .*one finite number per action dimension"),
        (
            {"action_low": [[-1.0, 0.0], [7.0, 10.0], [-1.0, 0.0]]},
            "is 7 and its action_high 6 in dimension 0 of agent 1",
        ),
        ({"action_low": [[-1.0], [-3.0], [-1.0]]}, "bounds of 1 and 2 values.*all must agree"),
        ({"action_low": [[-3e38] * 2] * 3, "action_high": [[3e38] * 2] * 3}, "too large for float32"),
    ],
)
def test_bounds_of_another_form_are_refused_by_name(tmp_path, entries, message):
    with pytest.raises(DatasetError, match=message):
        write(tmp_path, OWN | entries)
    assert list(tmp_path.iterdir()) == []
    card = write(tmp_path, OWN)
    forge(tmp_path / "d.h5", OWN | entries)
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path / "d.h5")
    assert card["action_low"] == LOW


def test_an_action_beyond_its_own_agents_bounds_is_named(tmp_path):
    arrays, _ = made()
    arrays["actions"][5, 0, 0] = 5.0  # which agent 1 may do
    with pytest.raises(DatasetError, match="actions leaves .* on row 5: agent 0 has 5 in dimension 0, .* -1 and 2;"):
        write(tmp_path, OWN, arrays)
    arrays["actions"][3:6] = 50.0, 50.0
    with pytest.raises(DatasetError, match="on row 4: agent 0"):  # row 3 is final, and its action unknown
        write(tmp_path, OWN, arrays)


def test_a_dimension_that_an_agent_lacks_may_hold_0_outside_the_bounds(tmp_path):
    arrays, offsets = continuous_arrays([3, 2])
    arrays["actions"] = 1.5 + 0.1 * arrays["actions"]
    arrays["actions"][:, 0, 1] = 0.0
    card = continuous_card() | {"action_low": [1.0, 1.0], "action_high": [2.0, 2.0]}
    with pytest.raises(DatasetError, match="row 0: agent 0 has 0 in dimension 1"):
        write_dataset(tmp_path / "a.h5", arrays, offsets, card)
    arrays["avail_actions"] = np.ones(arrays["actions"].shape, np.uint8)
    arrays["avail_actions"][:, 0, 1] = 0
    write_dataset(tmp_path / "a.h5", arrays, offsets, card)
    arrays["actions"][2, 0, 1] = 0.5
    with pytest.raises(DatasetError, match="row 2: agent 0 has 0.5 in dimension 1"):
        write_dataset(tmp_path / "b.h5", arrays, offsets, card)


def test_bounds_that_float32_rounds_hold_their_own_actions(tmp_path):
    arrays, offsets = continuous_arrays([3, 2])
    arrays["actions"][:] = 0.1
    write_dataset(
        tmp_path / "a.h5", arrays, offsets, continuous_card() | {"action_low": [0.1] * 2, "action_high": [0.1] * 2}
    )


def test_the_report_has_each_agents_own_bounds(file, capsys):
    assert main(["inspect", str(file)]) == 0
    report = capsys.readouterr().out
    rows = [line.split() for line in report.splitlines() if line.startswith(("      0   ", "      1   ", "      2   "))]
    assert [row[2:4] for row in rows[:4:2]] == [["[-1,", "2]"], ["[-3,", "6]"]]
    lacks = next(" ".join(row) for row in rows if row[:2] == ["0", "1"])
    assert "fewer dimensions" in lacks or lacks.endswith("- -")
    assert "nan" not in report


def test_datasets_of_other_bounds_are_not_merged(file, tmp_path, capsys):
    arrays, offsets = made()
    other = [[-1.0, 0.0], [-3.0, 10.0], [-2.0, 0.0]]
    write_dataset(tmp_path / "other.h5", arrays, offsets, continuous_card() | OWN | {"action_low": other})
    assert main(["merge", str(file), str(tmp_path / "other.h5"), "-o", str(tmp_path / "both.h5")]) == 1
    assert "action_low is [[-1.0, 0.0], [-3.0, 10.0], [-1.0, 0.0]] in the first" in capsys.readouterr().err
    assert main(["merge", str(file), str(file), "-o", str(tmp_path / "both.h5")]) == 0
    assert read_dataset(tmp_path / "both.h5").card["action_low"] == LOW


def test_the_environment_must_have_the_same_bounds_per_agent(file):
    dataset = read_dataset(file)
    check_same_bounds("x", dataset, OWN, "advice")
    for key, agent, value in (("action_low", 1, -3.5), ("action_high", 2, 1.0)):
        other = {name: [list(row) for row in bounds] for name, bounds in OWN.items()}
        other[key][agent][0] = value
        with pytest.raises(DatasetError, match=f"dataset x has {key} .*, the environment .*; advice"):
            check_same_bounds("x", dataset, other, "advice")
    padded = OWN | {"action_high": [[2.0, 0.5], [6.0, 11.0], [2.0, 0.0]]}
    if "avail_actions" in dataset.arrays:  # agent 0 has no such dimension
        check_same_bounds("x", dataset, padded, "advice")
    else:
        with pytest.raises(DatasetError, match="advice"):
            check_same_bounds("x", dataset, padded, "advice")


def test_data_with_one_box_around_all_agents_are_to_be_collected_anew():
    arrays, _ = made()
    around = {"action_low": [-3.0, 0.0], "action_high": [6.0, 11.0]}
    dataset = SimpleNamespace(card=around, arrays=arrays, n_agents=3)
    with pytest.raises(DatasetError, match="did not execute all of those actions, so collect it anew"):
        check_same_bounds("x", dataset, OWN, "advice")
