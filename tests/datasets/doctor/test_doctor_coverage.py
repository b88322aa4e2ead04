"""Coverage of the doctor, its recommendation, and what learners would refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.dataset import OfflineDataset, write_dataset
from datasets.doctor.coverage import find_coverage
from datasets.doctor.recommend import find_refusals, recommend
from loops.refusals import refusals_of
from tests.datasets.samples import Arrays, continuous_arrays, continuous_card, discrete_arrays
from utils.config import config_names


def coverage(arrays: Arrays, offsets: np.ndarray, card: dict[str, Any] | None = None) -> dict[str, Any]:
    known = np.ones(len(offsets) - 1, bool)
    values: dict[str, Any] = find_coverage(
        OfflineDataset(card or continuous_card(), arrays, offsets, known, Path("made.h5"))
    ).values
    return values


def test_joint_saco_counts_distinct_rounded_rows() -> None:
    """Against a count of tuples; at 4 decimals noise never repeats itself."""
    arrays, offsets = continuous_arrays([20] * 30, n_agents=2, obs_size=1)
    saco = coverage(arrays, offsets)["joint_saco"]
    rows = np.delete(np.arange(len(arrays["obs"])), offsets[1:] - 1)
    joined = np.concatenate([arrays[key][rows].reshape(len(rows), -1) for key in ("obs", "actions")], 1)
    for decimals in (0, 1):
        count = len({tuple(row) for row in np.rint(joined.astype(np.float64) * 10**decimals).tolist()})
        assert saco[str(decimals)] == pytest.approx(count / len(rows))
    assert saco["4"] == 1.0 and saco["0"] < 0.9


def test_one_agent_that_repeats_itself_is_near_and_the_team_is_not() -> None:
    arrays, offsets = continuous_arrays([20] * 30)
    for key in ("obs", "actions"):
        arrays[key][:, 0] = np.resize(arrays[key][:10, 0], arrays[key][:, 0].shape)
    values = coverage(arrays, offsets)
    assert values["agent_distances"][0] == pytest.approx(0, abs=1e-3)
    assert 0.1 < values["agent_distances"][1] < 1 and 0.1 < values["joint_distance"] < 1


def test_coverage_of_discrete_actions_and_of_few_episodes() -> None:
    assert coverage(*discrete_arrays([20] * 6))["joint_distance"] > 0
    assert "joint_distance" not in coverage(*continuous_arrays([20] * 4))


def kappa(low: float, freedom: float, doubtful: bool = False, top: float = 0.0) -> dict[str, Any]:
    intervals = {"interval": [low, low + 0.04], "top_interval": [top, top + 0.1]}
    return {"mean": low + 0.02, "freedom": freedom, "doubtful": doubtful} | intervals


@pytest.mark.parametrize(
    ("found", "constant", "first", "words"),
    [
        (kappa(0.0, 0.9), False, "spacql", "partial action replacement"),
        (kappa(0.4, 0.1), False, "bc", "belong together"),
        (kappa(0.4, 0.9), False, "comadice", "grows with kappa"),
        (kappa(0.05, 0.1, top=0.45), False, "bc", "belong together"),
        (kappa(0.0, 0.1), False, "bc", "hardly vary"),
        (kappa(0.4, 0.1, doubtful=True), False, "bc", "independently"),
        (kappa(0.0, 0.9), True, "bc", "rewards are equal"),
        ({"reason": "there is one agent"}, False, "bc", "there is one agent"),
    ],
)
def test_the_recommendation_has_its_reason(found: dict[str, Any], constant: bool, first: str, words: str) -> None:
    for discrete in (False, True):
        values = {"kappa": found, "rewards": {"constant": constant}, "returns": {"score": None}}
        finding = recommend(values, discrete)
        assert finding.values["first"][0] == first + "_discrete" * discrete and words in finding.lines[0]
        assert set(finding.values["first"]) <= set(config_names("algs"))


@pytest.mark.parametrize(("score", "first"), [(74.0, "spacql"), (108.0, "bc")])
def test_good_data_are_cloned_first(score: float, first: str) -> None:
    """On data of good policies cloning was ahead of what SPaCQL learned (docs/results/pursuit.md)."""
    values = {"kappa": kappa(0.0, 0.9), "rewards": {"constant": False}, "returns": {"score": score}}
    found = recommend(values, discrete=False).values
    assert found["first"][0] == first and set(found["first"]) == {"spacql", "bc"} and found["good"] == (first == "bc")


def test_refusals_of_each_learner(tmp_path: Path) -> None:
    """What training says, for both kinds of actions."""
    arrays, offsets = continuous_arrays([5] * 4)
    write_dataset(tmp_path / "c.h5", arrays, offsets, continuous_card())
    continuous = refusals_of(str(tmp_path / "c.h5"))
    assert {"spacql", "bc", "comadice", "cfcql"} <= {name for name, reason in continuous.items() if reason is None}
    assert "continuous" in str(continuous["qmix"]) and "policy_path" in str(continuous["fqe"])
    made, offsets, card = discrete_arrays([5] * 4)
    write_dataset(tmp_path / "d.h5", made, offsets, card)
    discrete = refusals_of(str(tmp_path / "d.h5"))
    assert discrete["qmix"] is None and discrete["spacql_discrete"] is None and "matd3" in str(discrete["matd3"])
    lines = find_refusals(discrete).lines
    assert " bc_discrete," in lines[0] and " qmix," not in lines[0]
    assert lines[1].startswith("would train on it with offline=True: ") and " qmix," in lines[1]
    assert any(line.startswith("matd3 would not: ") for line in lines)
