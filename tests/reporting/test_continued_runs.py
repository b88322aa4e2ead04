"""Runs that were continued with other settings are named, and their missing times have a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reporting.assembled import CONTINUED
from tests.reporting.made import make_run, rows, run_command

CHANGES = ["from update 50: critic_lr was 0.01, now 1.0", "from update 80: svn was True, now False"]


def make_continued(folder: Path, changed: Any, **config: Any) -> Path:
    run = make_run(folder, checkpoint_path="earlier", **config)
    info = json.loads((run / "info.json").read_text())
    info["run"]["changed"] = changed
    (run / "info.json").write_text(json.dumps(info))
    return run


def test_the_run_its_changes_and_its_row_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1", 1)
    run = make_continued(tmp_path / "2", CHANGES, lr=1.0, seed=2)
    out = run_command(capsys, tmp_path, "--to", "latex")[1]
    (note,) = [line for line in out.splitlines() if "continued with other settings" in line]
    task = "mpe/simple_spread/random-100k"
    assert note == (
        f"% spacql on {task}, seed 2 ({run}): continued with other settings ({CHANGES[0]}, then {CHANGES[1]}); it "
        f"counts as spacql lr=1.0 on {task}"
    )
    assert run_command(capsys, tmp_path, "--to", "json", "-o", tmp_path / "kept.json")[0] == 0
    assert note in run_command(capsys, tmp_path / "kept.json", "--to", "latex")[1].splitlines()


@pytest.mark.parametrize("changed", [None, []])
def test_a_run_that_only_went_on_is_not_named(changed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_continued(tmp_path / "1", changed)
    assert "other settings" not in run_command(capsys, tmp_path)[1]


def test_changes_that_are_no_texts_are_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_continued(tmp_path / "runs" / "1", CHANGES)
    make_continued(tmp_path / "runs" / "2", "lr", seed=2)
    out = run_command(capsys, tmp_path / "runs")[1]
    assert "is no record of this program's (ValueError: 'lr' is no" in " ".join(out.split())
    kept = tmp_path / "kept.json"
    run_command(capsys, tmp_path / "runs", "--to", "json", "-o", kept)
    content = json.loads(kept.read_text())
    del content["runs"][0]["changed"]  # as earlier releases wrote it
    kept.write_text(json.dumps(content))
    assert run_command(capsys, kept)[0] == 0
    for wrong, said in (([1], "holds what is no text"), ("lr", "has no sound 'changed'")):
        content["runs"][0]["changed"] = wrong
        kept.write_text(json.dumps(content))
        status, _, error = run_command(capsys, kept)
        assert status == 1 and said in error and error.count("\n") == 1


def test_times_that_are_not_there_have_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1", 1, cpu_seconds=60.0)
    assert CONTINUED not in run_command(capsys, tmp_path, "--to", "latex")[1]
    make_continued(tmp_path / "2", None, seed=2)  # the other seed's times stand in the row
    assert CONTINUED not in run_command(capsys, tmp_path, "--to", "latex")[1]
    make_continued(tmp_path / "3", None, lr=0.5)
    out = run_command(capsys, tmp_path)[1]
    assert CONTINUED in " ".join(out.split())
    assert [row.get("minutes a run", "") for row in rows(out, "Other rules")] == ["1.0", ""]
