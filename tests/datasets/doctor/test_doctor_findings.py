"""The doctor's quick findings on data whose peculiarities are planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset import main
from datasets.dataset import OfflineDataset, write_dataset
from datasets.doctor.examine import as_json, quick_findings
from tests.datasets.samples import Arrays, continuous_arrays, continuous_card, discrete_arrays, forge

LENGTHS = [6, 8, 5, 7, 9, 6]


def found(arrays: Arrays, offsets: np.ndarray, card: dict[str, Any] | None = None) -> dict[str, Any]:
    known = np.ones(len(offsets) - 1, bool)
    dataset = OfflineDataset(card or continuous_card(), arrays, offsets, known, Path("made.h5"))
    values: dict[str, Any] = json.loads(json.dumps(as_json(quick_findings(dataset)), allow_nan=False))
    return values


def test_noise_has_no_peculiarity() -> None:
    values = found(*continuous_arrays(LENGTHS))
    assert values["duplicates"]["duplicated_episodes"] == 0
    assert values["columns"] == {"dead": [], "constant": [], "clocks": []}
    assert values["agents"]["swapped_episodes"] == 0 and values["agents"]["pairs_told_apart"] == 0
    assert not values["rewards"]["equal_over_agents"] and values["rewards"]["unequal_steps"] == 1.0


def test_returns_lengths_and_ends() -> None:
    arrays, offsets = continuous_arrays(LENGTHS)
    arrays["reward"][:] = 1.0
    arrays["reward"][offsets[1:] - 1] = 0
    arrays["terminated"][offsets[1] - 2] = 1  # of the first episode, 6 steps
    values = found(arrays, offsets)
    assert values["returns"]["quantiles"] == values["lengths"]["quantiles"]
    assert values["returns"]["quantiles"]["0.5"] == 6.5 and values["lengths"]["quantiles"]["1"] == 9
    assert sum(values["returns"]["histogram"]["counts"]) == 6
    ends = values["ends"]
    assert (ends["terminals"], ends["time_limits_or_cuts"]) == (1, 5)
    assert (ends["longest"], ends["at_the_longest"], ends["cuts_before_the_longest"]) == (9, 1, 4)
    assert values["rewards"]["equal_over_agents"] and values["rewards"]["constant"]


def test_saturation_and_entropy_of_continuous_actions() -> None:
    arrays, offsets = continuous_arrays([200] * 5)
    arrays["actions"][:, 0] = 1.0
    arrays["actions"][:, 1] = 0.3
    actions = found(arrays, offsets)["actions"]
    assert actions["saturated"][:2] == [1.0, 0.0] and actions["saturated"][2] < 0.05
    assert actions["entropy"][:2] == [0.0, 0.0] and actions["entropy"][2] > 0.97


def test_entropy_of_discrete_actions() -> None:
    arrays, offsets, card = discrete_arrays([300] * 3)
    arrays["actions"][:, 0] = 3
    values = found(arrays, offsets, card)["actions"]
    assert values["entropy"][0] == 0 and values["entropy"][1] > 0.97 and values["never_taken"] == [4, 0]


def test_actions_that_an_agent_lacks_are_not_missed() -> None:
    arrays, offsets, card = discrete_arrays([300] * 3)
    arrays["avail_actions"][:], arrays["avail_actions"][:, 0, 2:] = 1, 0
    arrays["actions"][:, 0, 0] = np.arange(len(arrays["actions"])) % 2
    values = found(arrays, offsets, card)["actions"]
    assert values["entropy"][0] > 0.99 and values["entropy"][1] > 0.97 and values["never_taken"] == [0, 0]


def test_a_repeated_episode_is_named() -> None:
    arrays, offsets = continuous_arrays([6, 8, 6])
    for array in arrays.values():
        array[offsets[2] : offsets[3]] = array[offsets[0] : offsets[1]]
    arrays["actions"][-1] = 0  # the copy does not know the final action
    assert found(arrays, offsets)["duplicates"]["pairs"] == [[2, 0]]
    arrays["actions"][-2, 0, 0] += 0.01
    assert found(arrays, offsets)["duplicates"]["pairs"] == []


@pytest.mark.parametrize(
    "clock",
    [
        lambda t, length, episode: t,
        lambda t, length, episode: 1 - t / length,
        lambda t, length, episode: np.sin(0.7 * t),
        lambda t, length, episode: 0.1 * t + 5 * episode,
    ],
)
def test_constant_dead_and_clock_columns(clock: Any) -> None:
    arrays, offsets = continuous_arrays(LENGTHS)
    arrays["obs"][:, 0, 1] = 0
    arrays["obs"][:, 2, 3] = 2.5
    for episode, length in enumerate(LENGTHS):
        arrays["obs"][offsets[episode] : offsets[episode + 1], 1, 2] = clock(np.arange(length + 1), length, episode)
    columns = found(arrays, offsets)["columns"]
    assert columns == {"dead": ["obs[agent 0][1]"], "constant": ["obs[agent 2][3]"], "clocks": ["obs[agent 1][2]"]}


def test_a_column_that_only_rises_is_no_clock() -> None:
    arrays, offsets = continuous_arrays(LENGTHS)
    rises = np.random.default_rng(0).uniform(0.5, 1.5, len(arrays["obs"]))
    arrays["obs"][:, 1, 2] = np.cumsum(rises)
    assert found(arrays, offsets)["columns"]["clocks"] == []


def test_copies_of_one_episode_have_no_clock() -> None:
    arrays, offsets = continuous_arrays([6] * 4)
    for key in ("obs", "actions", "reward"):
        for start in offsets[1:-1]:
            arrays[key][start : start + 7] = arrays[key][:7]
    values = found(arrays, offsets)
    assert values["columns"]["clocks"] == [] and values["duplicates"]["duplicated_episodes"] == 3


@pytest.mark.parametrize("how", ["id", "level"])
def test_swapped_agents_are_named(how: str) -> None:
    arrays, offsets = continuous_arrays([7] * 12)
    if how == "id":
        arrays["obs"][:, :, :3] = np.eye(3)
    else:
        arrays["obs"][:, 1, 0] += 30
    for episode in (4, 9):
        rows = slice(offsets[episode], offsets[episode + 1])
        for key in ("obs", "actions", "reward"):
            arrays[key][rows] = arrays[key][rows][:, [1, 0, 2]]
    values = found(arrays, offsets)["agents"]
    assert values["episodes"] == [4, 9] and values["pairs_told_apart"] == (3 if how == "id" else 2)


@pytest.mark.parametrize("order", [[1, 2, 0, 3], [2, 0, 1, 3], [1, 2, 3, 0], [1, 0, 3, 2]])
def test_agents_that_change_places_in_a_circle_are_named(order: list[int]) -> None:
    arrays, offsets = continuous_arrays([7] * 12)
    arrays = {key: np.repeat(a[:, :1], 4, axis=1) if a.ndim > 1 else a for key, a in arrays.items()}
    arrays["obs"] = np.tile(np.eye(4, dtype=np.float32), (len(arrays["obs"]), 1, 1))
    for episode in (4, 9):
        rows = slice(offsets[episode], offsets[episode + 1])
        arrays["obs"][rows] = arrays["obs"][rows][:, order]
    moved = slice(offsets[6], offsets[7])  # one agent twice, another one not at all: no other order
    arrays["obs"][moved, 1] = arrays["obs"][moved, 0]
    assert found(arrays, offsets)["agents"]["episodes"] == [4, 9]


def test_the_command_prints_findings_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays, offsets = continuous_arrays(LENGTHS)
    write_dataset(tmp_path / "a.h5", arrays, offsets, continuous_card())
    assert main(["inspect", str(tmp_path / "a.h5")]) == 0
    assert "duplicated episodes: none" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "a.h5"), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["sound"] and values["card"]["quality"] == "random" and "returns" in values["findings"]


def test_unsound_data_have_no_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays, offsets = continuous_arrays(LENGTHS)
    write_dataset(tmp_path / "a.h5", arrays, offsets, continuous_card())
    forge(tmp_path / "a.h5", {}, {"reward": np.full_like(arrays["reward"], np.nan)})
    assert main(["inspect", str(tmp_path / "a.h5"), "--json"]) == 1
    values = json.loads(capsys.readouterr().out)
    assert not values["sound"] and "reward" in values["fault"] and values["findings"] == {}
