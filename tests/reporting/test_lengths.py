"""Rows of one task that end at different steps are compared, and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reporting.made import make_run, run_command


def test_rows_that_end_apart_are_compared_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not those within one evaluation's distance, as online runs end."""
    make_run(tmp_path / "1", name="bc")
    make_run(tmp_path / "2", name="cfcql", scores=[0.0, 1.0])
    make_run(tmp_path / "3", name="bc", dataset="mpe/simple_tag/random")
    make_run(tmp_path / "4", name="cfcql", dataset="mpe/simple_tag/random", scores=[0.0, 1.0, 2.0])
    status, out, _ = run_command(capsys, tmp_path)
    said = [line for line in " ".join(out.split()).split("- ") if "rows end at" in line]
    assert status == 0 and len(said) == 1
    assert "mpe/simple_spread/random-100k: rows end at different steps (100: cfcql; 300: bc)" in said[0]


def test_rows_of_other_places_and_tasks_do_not_end_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "own" / "1", name="bc")
    make_run(tmp_path / "own" / "2", name="bc", scores=[0.0, 1.0], env_args={"key": "simple_spread", "time_limit": 50},
             env="gymma")  # fmt: skip
    make_run(tmp_path / "other" / "1", name="bc", scores=[0.0, 1.0])
    status, out, _ = run_command(capsys, tmp_path / "own", "--beside", tmp_path / "other")
    assert status == 0 and "rows end at" not in out
