"""Sets of different simulators, merged and mixed: the card states what all agree in, and each source its own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from dataset import main
from datasets.dataset import read_dataset, write_dataset
from loops.simulators import warn_of_other_simulator
from tests.datasets.samples import continuous_arrays, continuous_card

LOG = logging.getLogger("merged")
ONE = {"simulator": {"mujoco": "4.0.0", "robot": "hopper.xml"}, "versions": {"mujoco": "4.0.0", "gymnasium": "1.4.0"}}


def made(path: Path, **entries: Any) -> str:
    arrays, offsets = continuous_arrays([4] * 4, seed=len(path.stem))
    card = continuous_card()
    write_dataset(path, arrays, offsets, card | {"environment": card["environment"] | entries})
    return str(path)


@pytest.mark.parametrize("command", ["merge", "mix"])
def test_what_sources_disagree_in_is_left_out(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    other = {"simulator": ONE["simulator"] | {"mujoco": "2.0"}, "versions": {"mujoco": "2.0", "gymnasium": "1.4.0"}}
    files = made(tmp_path / "a.h5", **ONE), made(tmp_path / "bb.h5", **other)
    words = files if command == "merge" else [f"{file}:0.5" for file in files]
    assert main([command, *words, "-o", str(tmp_path / "out.h5")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the sources differ in simulator.mujoco, versions.mujoco, which the card leaves out" in said
    card = read_dataset(tmp_path / "out.h5").card
    assert card["environment"]["simulator"] == {"robot": "hopper.xml"}
    assert card["environment"]["versions"] == {"gymnasium": "1.4.0"}
    assert [source["simulator"]["mujoco"] for source in card["made_by"]["sources"]] == ["4.0.0", "2.0"]
    assert [source["versions"]["mujoco"] for source in card["made_by"]["sources"]] == ["4.0.0", "2.0"]
    assert card["made_by"]["notes"][0].startswith("the sources differ in simulator.mujoco")
    warn_of_other_simulator("the data", card["environment"], ONE, LOG)
    assert "mujoco is not stated there and 4.0.0 here" in caplog.text


def test_a_source_that_does_not_know_its_simulator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    files = made(tmp_path / "a.h5", **ONE), made(tmp_path / "bb.h5", versions={"mujoco": "2.0"})
    assert main(["merge", *files, "-o", str(tmp_path / "out.h5")]) == 0
    assert "differ in simulator.mujoco, simulator.robot, versions.mujoco" in " ".join(capsys.readouterr().out.split())
    environment = read_dataset(tmp_path / "out.h5").card["environment"]
    assert environment["simulator"] == {} and environment["versions"] == {}
    warn_of_other_simulator("the data", environment, ONE, LOG)
    assert "robot is not stated there and hopper.xml here" in caplog.text


def test_sources_that_agree_keep_what_they_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, entries in enumerate((ONE, {})):
        folder = tmp_path / str(number)
        files = made(folder / "a.h5", **entries), made(folder / "bb.h5", **entries)
        assert main(["merge", *files, "-o", str(folder / "out.h5")]) == 0
        assert "differ" not in capsys.readouterr().out
        card = read_dataset(folder / "out.h5").card
        assert card["environment"] == continuous_card()["environment"] | entries and "notes" not in card["made_by"]
