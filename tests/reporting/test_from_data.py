"""Runs without a simulator have tables of what their data tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.reporting.made import make_run, rows, run_command


def without_scores(folder: Path, **how: Any) -> None:
    """A run of `--env-config=none`."""
    make_run(folder, env=None, env_args={}, **how)
    file = folder / "metrics.json"
    metrics = json.loads(file.read_text())
    kept = {name: series for name, series in metrics.items() if not name.startswith(("test_", "final_"))}
    file.write_text(json.dumps(kept))


def cloning(folder: Path, seed: int, losses: list[float]) -> None:
    without_scores(folder, seed=seed, name="bc", metrics={"validation_bc_loss": losses, "bc_loss": losses})


def test_losses_on_held_out_episodes_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cloning(tmp_path / "1", 1, [3.0, 1.0, 2.0])
    cloning(tmp_path / "2", 2, [3.0, 2.0, 1.0])
    status, out, _ = run_command(capsys, tmp_path)
    (row,) = rows(out, "Without a simulator: losses")
    assert status == 0 and "Notes" not in out
    assert (row["algorithm"], row["loss"], row["n"]) == ("bc", "bc", "2")
    assert (row["last"], row["lowest"], row["lowest at, by seed"]) == ("1.5 ± 0.71", "1 ± 0", "100 / 200")


def test_policies_are_in_the_order_of_their_fitted_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fits = (("low", 1, 1.0), ("high", 1, 5.0), ("high", 2, 7.0))
    for number, (policy, seed, value) in enumerate(fits):
        without_scores(
            tmp_path / str(number), seed=seed, name="fqe", policy_path=f"results/models/{policy}",
            metrics={"fqe_value": [0.0, value]},
        )  # fmt: skip
    status, out, _ = run_command(capsys, tmp_path)
    high, low = rows(out, "Without a simulator: values")
    assert status == 0 and "losses" not in out
    assert (high["policy"], high["n"], high["value"], high["by seed"]) == ("high", "2", "6 ± 1.4", "5 / 7")
    assert (low["policy"], low["n"], low["value"], low.get("by seed", "")) == ("low", "1", "1", "")


def test_they_stand_below_scores_and_obey_conditions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1", name="spacql")
    cloning(tmp_path / "2", 1, [1.0, 2.0])
    _, out, _ = run_command(capsys, tmp_path)
    assert out.index("## Final scores") < out.index("## Without a simulator")
    _, out, _ = run_command(capsys, tmp_path, "--where", "algorithm=spacql")
    assert "Without a simulator" not in out
    _, out, _ = run_command(capsys, tmp_path, "--where", "algorithm=bc")
    assert "Final scores" not in out and "Without a simulator" in out


def test_forms_and_options_of_scores_alone_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cloning(tmp_path / "runs" / "1", 1, [1.0, 2.0])
    make_run(tmp_path / "scored" / "1", name="bc")
    for words in (
        ("--to", "csv"),
        ("--to", "html"),
        ("--figures", tmp_path / "pictures"),
        ("--baseline", "bc"),
        ("--raw",),
    ):
        status, _, err = run_command(capsys, tmp_path / "runs", *words)
        assert status == 1 and f"error: {words[0]}" in err
        assert "these runs have no scores; what their data tell of them is shown by --to markdown" in err
    status, _, err = run_command(capsys, tmp_path / "scored", "--beside", tmp_path / "runs")
    assert status == 1 and "no completed training run with scores is there" in err


def test_what_spoils_a_mean_is_refused_as_among_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A seed twice, data that changed under their name, a loss that is no number."""
    for name, first, second, said in (
        ("seed", {"seed": 1}, {"seed": 1}, "seed 1 occurs 2 times"),
        ("data", {"seed": 1}, {"seed": 2, "checksum": "d"}, "learned from different data of this name"),
        ("nan", {"seed": 1}, {"seed": 2, "losses": [1.0, float("nan")]}, "a score is no finite number"),
    ):
        for number, how in enumerate((first, second)):
            losses = how.pop("losses", [1.0, 2.0])
            metrics = {"validation_bc_loss": losses}
            without_scores(tmp_path / name / str(number), name="bc", metrics=metrics, minute=number, **how)
        status, _, err = run_command(capsys, tmp_path / name)
        assert status == 1 and said in err


def test_policies_are_named_by_what_tells_them_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A step's number alone is no name."""
    for number, policy in enumerate(("models/a/1000", "models/b/1000")):
        how = {"name": "fqe", "policy_path": policy, "metrics": {"fqe_value": [float(number)]}}
        without_scores(tmp_path / "two" / str(number), **how)
        if number == 0:
            without_scores(tmp_path / "one" / "0", **how)
    _, out, _ = run_command(capsys, tmp_path / "two")
    assert [row["policy"] for row in rows(out, "Without a simulator: values")] == ["b/1000", "a/1000"]
    _, out, _ = run_command(capsys, tmp_path / "one")
    assert [row["policy"] for row in rows(out, "Without a simulator: values")] == ["a/1000"]


def test_those_of_another_place_are_named_as_not_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "own" / "1")
    make_run(tmp_path / "other" / "1")
    cloning(tmp_path / "other" / "2", 1, [1.0, 2.0])
    status, out, _ = run_command(capsys, tmp_path / "own", "--beside", tmp_path / "other")
    assert status == 0 and "Not counted: training without scores" in " ".join(out.split())


def test_runs_of_which_data_tell_nothing_are_told_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without_scores(tmp_path / "1", name="bc", metrics={"bc_loss": [1.0, 2.0]})
    status, _, err = run_command(capsys, tmp_path)
    assert status == 1 and "training without scores" in err
    assert "without a simulator, --config=fqe and validation_share judge from data (docs/your-data.md)" in err
