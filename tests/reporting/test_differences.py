"""Differences between methods: their pairs, their intervals and what is said of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.coverage import coverage
from tests.reporting.made import make_run, rows, run_command
from utils.student import student_quantile


def test_differences_are_paired_by_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, (bc, spacql) in {1: (10.0, 13.0), 2: (50.0, 52.0), 3: (90.0, 91.0)}.items():
        make_run(tmp_path / f"bc{seed}", seed, [0.0, bc], name="bc")
        make_run(tmp_path / f"spacql{seed}", seed, [0.0, spacql])
    make_run(tmp_path / "4", 4, [0.0, 500.0])  # bc has no seed 4
    (row,) = rows(run_command(capsys, tmp_path)[1], "Differences from bc")
    assert (row["seeds"], row["difference"], row["by seed"]) == ("1, 2, 3", "+2.0", "+3.0 / +2.0 / +1.0")
    low, high = map(float, row["95 %"].strip("[]").split(", "))
    assert 1.0 <= low < 2.0 < high <= 3.0
    (row,) = rows(run_command(capsys, tmp_path, "--baseline", "spacql")[1], "Differences from spacql")
    assert row["difference"] == "-2.0"


def test_differences_have_student_s_interval_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, more in {1: 3.0, 2: 2.0, 3: 1.0}.items():
        make_run(tmp_path / f"bc{seed}", seed, [0.0, 5.0 * seed], name="bc")
        make_run(tmp_path / f"spacql{seed}", seed, [0.0, 5.0 * seed + more])
    (row,) = rows(run_command(capsys, tmp_path)[1], "Differences from bc")
    assert row["t 95 %"] == "[-0.5, +4.5]"  # 2 +- 4.303 / sqrt(3)
    quantiles = {1: 12.7062, 2: 4.3027, 9: 2.2622, 10: 2.2281, 29: 2.0452, 200: 1.9719}  # of a printed table
    for freedom, quantile in quantiles.items():
        assert student_quantile(freedom) == pytest.approx(quantile, abs=2e-4)


def test_intervals_of_few_seeds_hold_the_mean_as_often_as_the_docs_say() -> None:
    bootstrap, student = coverage(3, 2000)
    assert 0.72 < bootstrap < 0.79 and 0.935 < student < 0.965


def test_one_seed_is_marked_and_compared_with_no_paper(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("bc", "cfcql"):
        make_run(tmp_path / name, 1, [0.0, 50.0], name=name, episodes=[100.0, 300.0] * 50)
    _, out, _ = run_command(capsys, tmp_path, "--paper", "spacql")
    assert rows(out, "Final scores")[0]["95 %"].endswith("] ‡") and rows(out, "Beside")[0]["overlap"] == "not known"
    (row,) = rows(out, "Differences")
    assert (
        row["95 %"].endswith("] ‡") and "t 95 %" not in row and "says nothing of other seeds" in " ".join(out.split())
    )


def test_differences_without_the_same_episodes_are_of_seeds_and_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (1, 2):
        make_run(tmp_path / f"bc{seed}", seed, [0.0, 50.0], name="bc", episodes=[100.0, 300.0] * 25)
        make_run(tmp_path / f"a{seed}", seed, [0.0, 50.0], name="cfcql", episodes=[100.0, 300.0] * 25)
        make_run(tmp_path / f"b{seed}", seed, [0.0, 49.0 + seed], name="icql_qs", episodes=[100.0, 300.0] * 30)
        other = {"name": "spacql", "evaluation_seed": 7}
        make_run(tmp_path / f"c{seed}", seed, [0.0, 49.0 + seed], episodes=[100.0, 300.0] * 25, **other)
    found = {row["algorithm"]: row["95 %"] for row in rows(run_command(capsys, tmp_path)[1], "Differences from bc")}
    assert "†" not in found["cfcql"] and found["icql_qs"] == found["spacql"] == "[+0.0, +1.0] †"


def test_a_baseline_that_a_task_lacks_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, data in (("bc", "a"), ("spacql", "a"), ("spacql", "b")):
        make_run(tmp_path / f"{name}{data}", 1, name=name, dataset=data, checksum=data)
    _, out, _ = run_command(capsys, tmp_path, "--baseline", "bc")
    assert "Not compared, for bc has no run there: b" in " ".join(out.split())


def test_runs_of_another_place_stand_beside_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for seed in (1, 2, 3):
        make_run(ours / f"{seed}", seed, [0.0, 10.0 * seed], name="bc")
        make_run(ours / f"other{seed}", seed, [0.0, 5.0], name="omar")  # which is not there
        make_run(theirs / f"{seed}", seed, [0.0, 10.0 * seed - 4], name="bc", lr=0.5)
    status, out, _ = run_command(capsys, ours, "--beside", theirs, "--where", "lr=0.01")
    (row,) = rows(out, "Beside " + str(theirs))
    assert status == 0 and (row["method"], row["ours"], row["beside"]) == ("bc", "20.0 ± 10.0", "16.0 ± 10.0")
    assert (row["difference"], row["its 95 %"]) == ("+4.0", "[+4.0, +4.0]") and "theirs" not in row
    make_run(theirs / "4", 4, [0.0, 1.0], name="bc", lr=0.25)
    found = rows(run_command(capsys, ours, "--beside", theirs)[1], "Beside")
    assert [(row["theirs"], row["difference"]) for row in found] == [("lr=0.25", "none in common"), ("lr=0.5", "+4.0")]
    make_run(tmp_path / "far" / "1", dataset="elsewhere", checksum="d")
    status, _, err = run_command(capsys, ours, "--beside", tmp_path / "far")
    assert status == 1 and "it has no run of any of these algorithms" in err and err.count("\n") == 1
