"""Damage in one run's record is named, with the run, and never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reporting.places import read_places
from reporting.stored import stored_text
from tests.reporting.made import REFERENCE, make_run, run_command

BIG = 10**400  # an integer that no float can hold


def put(file: str, *path: str, to: Any) -> Callable[[Path], None]:
    """A change of one entry of a file of Sacred's."""

    def change(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        place = content
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to
        (folder / file).write_text(json.dumps(content))

    return change


SACRED = {
    "returns that are a list": put("info.json", "final_returns", to=[1, 2]),
    "no reference level": put("info.json", "final_returns", "reference", to={"random": 1.0}),
    "equal levels": put("info.json", "final_returns", "reference", to={"random": 1.0, "expert": 1.0}),
    "a reference that is a list": put("info.json", "final_returns", "reference", to=[1, 2]),
    "episodes that are no numbers": put("info.json", "final_returns", "returns", to=[float("nan"), 1.0]),
    "a large episode": put("info.json", "final_returns", "returns", to=[BIG, 1]),
    "a text for the run": put("info.json", "run", to="x"),
    "declared as text": put("info.json", "run", "declared", to="x"),
    "a number for the command": put("info.json", "run", "command", to=5),
    "an open quotation mark": put("info.json", "run", "command", to='python "x'),
    "a number for the checksum": put("info.json", "run", "checksum", to=5),
    "a list for the sources": put("info.json", "run", "sources", to=["a"]),
    "a text for seconds": put("info.json", "run", "cpu_seconds", to="x"),
    "no seed": put("config.json", "seed", to=None),
    "a seed that is none": put("config.json", "seed", to=1.5),
    "a name that is a list": put("config.json", "name", to=["a"]),
    "no arguments": put("config.json", "env_args", to=None),
    "dataset=['a']": put("config.json", "dataset", to=["a"]),
    "a number for the commit": put("run.json", "experiment", "repositories", to=[{"commit": 5}]),
    "repositories by name": put("run.json", "experiment", "repositories", to={"a": 1}),
    "options that are text": put("run.json", "meta", "options", to="x"),
    "options of numbers": put("run.json", "meta", "options", to={"UPDATE": [5]}),
    "another time zone": put("run.json", "stop_time", to="2026-01-01T00:00:00+00:00"),
    "steps that are text": put("metrics.json", "test_normalised_score", "steps", to=["a"] * 4),
    "an empty final score": put(
        "metrics.json", "final_normalised_score", to={"steps": [], "values": [], "timestamps": []}
    ),
    "a large final score": put("metrics.json", "final_normalised_score", "values", to=[BIG]),
}


@pytest.mark.parametrize("name", SACRED)
def test_a_damaged_record_is_not_counted(name: str, tmp_path: Path) -> None:
    make_run(tmp_path / "1", 1, episodes=[120.0, 124.0])
    SACRED[name](make_run(tmp_path / "2", 2, episodes=[120.0, 124.0]))
    found = read_places([str(tmp_path)])
    assert [run.seed for run in found.runs] == [1] and not found.by_data
    (said,) = found.left_out
    assert said.startswith(f"damaged or unfinished: {tmp_path / '2'} ")


def test_one_damaged_record_does_not_end_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1", 1)
    SACRED["dataset=['a']"](make_run(tmp_path / "2", 2))
    status, out, error = run_command(capsys, tmp_path)
    said = f"Not counted: damaged or unfinished: {tmp_path / '2'} cannot be read: dataset=['a']: this must be a path"
    assert (status, error) == (0, "") and said in " ".join(out.split())


def test_a_damaged_run_of_which_data_tell_is_not_counted_either(tmp_path: Path) -> None:
    for seed in (1, 2):
        folder = make_run(tmp_path / f"{seed}", seed, metrics={"validation_bc_loss": [1.0, 2.0]})
        metrics = json.loads((folder / "metrics.json").read_text())
        (folder / "metrics.json").write_text(json.dumps({"validation_bc_loss": metrics["validation_bc_loss"]}))
    put("info.json", "run", "checksum", to=5)(tmp_path / "2")
    found = read_places([str(tmp_path)])
    assert [run.seed for run in found.by_data] == [1]
    assert found.left_out[0].startswith(f"damaged or unfinished: {tmp_path / '2'} ")


def entry(name: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["runs"][0][name] = to

    return change


STORED = [
    (entry("reference", {"random": 1.0}), "'reference': random and expert must be two different numbers"),
    (entry("reference", {"random": 1.0, "expert": 1.0}), "no sound 'reference'"),
    (entry("reference", {"random": float("nan"), "expert": 1.0}), "no sound 'reference'"),
    (entry("curves", {}), "has no score: in 'final' one of normalised score and return, with its curve"),
    (entry("final", {}), "has no score"),
    (entry("episodes", []), "no sound 'episodes': the list is empty"),
    (entry("episodes", [float("nan"), 1.0]), "holds what is no finite number in 'episodes'"),
    (entry("episodes", [BIG, 1]), "holds what is no finite number in 'episodes'"),
    (entry("seconds", float("inf")), "holds what is no finite number in 'seconds'"),
    (entry("final", {"normalised score": BIG}), "no number where one belongs, in 'final'"),
    (
        lambda content: content["runs"][0]["curves"]["test_normalised_score"].update(values=[BIG] * 4),
        "no number where one belongs, in the curve 'test_normalised_score'",
    ),
    (entry("command", 'python "x'), "no sound 'command': a quotation mark in it is not closed"),
    (entry("config", False), "has no configuration"),
    (lambda content: content.update(version="1"), "its 'version' is no whole number; make it again with --to json"),
]


@pytest.mark.parametrize(("damage", "said"), STORED)
def test_a_damaged_file_of_results_is_one_sentence(
    damage: Callable[[dict[str, Any]], None], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "1", episodes=[120.0, 124.0])
    file = tmp_path / "kept.json"
    content = json.loads(stored_text(read_places([str(tmp_path / "1")]).runs))
    assert content["runs"][0]["reference"] == REFERENCE
    damage(content)
    file.write_text(json.dumps(content))
    status, out, error = run_command(capsys, file)
    assert (status, out, error.count("\n")) == (1, "", 1) and said in error
    assert f"error: {file} is damaged: " in error and error.endswith(
        "; make it again with --to json, or leave it out\n"
    )
