"""A report says what it left out and what it did, whatever its form and however its runs were found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.reporting.made import make_run, rows, run_command
from tests.reporting.test_from_data import cloning

EPISODES = {1: [120.0, 180.0, 121.0], 2: [310.0, 90.0, 200.0], 3: [150.0, 151.0, 400.0], 4: [90.0, 95.0, 99.0]}


def test_a_report_does_not_depend_on_the_order_of_its_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, seed in enumerate((3, 1, 4, 2)):  # the order in which they ended
        scores = [0.0, 17.0 * seed**2 % 40]
        make_run(tmp_path / "runs" / f"{place}", seed, scores, episodes=EPISODES[seed], name="bc")
        make_run(tmp_path / "alone" / f"{place}", seed, scores, name="bc")
    for folder in (tmp_path / "runs", tmp_path / "alone"):
        kept = folder.with_suffix(".json")
        assert run_command(capsys, folder, "--to", "json", "-o", kept)[0] == 0
        words = ("--budget",) if folder.name == "runs" else ()
        assert run_command(capsys, folder, *words)[1] == run_command(capsys, kept, *words)[1]
        assert run_command(capsys, folder, "--to", "csv")[1] == run_command(capsys, kept, "--to", "csv")[1]


@pytest.mark.parametrize("form", ["csv", "json", "marl-eval"])
def test_forms_without_notes_say_what_is_not_in_them(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "1")
    assert run_command(capsys, tmp_path, "--to", form)[2] == ""
    make_run(tmp_path / "2", 2, status="INTERRUPTED")
    for seed in (1, 2, 3):
        cloning(tmp_path / f"bc{seed}", seed, [1.0, 2.0])
    status, _, error = run_command(capsys, tmp_path, "--to", form)
    assert (status, error) == (
        0, f"3 runs without scores are not in this form\nNot counted: interrupted: {tmp_path / '2'}\n"
    )  # fmt: skip


def test_the_page_has_the_commands_of_runs_without_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1")
    cloning(tmp_path / "bc1", 1, [1.0, 2.0])
    status, text, error = run_command(capsys, tmp_path, "--to", "html")
    assert (status, error) == (0, "") and str(tmp_path / "bc1") in text.split("<h2>Runs</h2>")[1]


@pytest.mark.parametrize(
    ("what", "change", "done"),
    [
        ("length", {"scores": (0.0, 1.0)}, "(seed 1: 300, seed 2: 100); they are averaged at their last evaluation"),
        ("commit", {"commit": "f" * 12, "sources": "t"}, "ffffffffff (seed 2); they are averaged"),
        ("dataset", {"checksum": "d"}, "rows are compared, and runs of one row are averaged"),
    ],
)
def test_a_note_says_what_was_done_and_orders_nothing(
    what: str, change: dict[str, object], done: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "1", 1)
    make_run(tmp_path / "2", 2, **change)  # type: ignore[arg-type]
    status, out, _ = run_command(capsys, tmp_path, "--allow", what, "--to", "latex")
    (note,) = [line for line in out.splitlines() if line.startswith("% spacql") or line.startswith("% mpe")]
    assert status == 0 and note.endswith(done) and "--" not in note
    _, _, error = run_command(capsys, tmp_path)
    assert f"--allow {what}" in error and done.partition("; ")[2] not in error.split("; ")


def test_help_says_that_other_data_are_averaged(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_command(capsys, "--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "rows on data of one name with different checksums are compared, and runs of one row averaged" in said


def test_intervals_of_seeds_alone_are_marked_beside_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2, 3):
        for name in ("bc", "cfcql"):
            make_run(tmp_path / "ours" / f"{name}{seed}", seed, [0.0, 9.0 * seed], name=name, episodes=EPISODES[seed])
        make_run(tmp_path / "theirs" / f"{seed}", seed, [0.0, 8.0 * seed], name="bc")
        make_run(tmp_path / "theirs" / f"c{seed}", seed, [0.0, 8.0], name="cfcql", episodes=EPISODES[4])
    out = run_command(capsys, tmp_path / "ours", "--beside", tmp_path / "theirs")[1]
    bc, cfcql = rows(out, "Beside")
    assert [bc[name].endswith(" †") for name in ("95 %", "their 95 %", "its 95 %")] == [False, True, True]
    assert not any("†" in cell for cell in cfcql.values()) and "†" not in bc["its t 95 %"]
    assert "†: a bootstrap of seeds alone; the other intervals" in " ".join(out.split())
    out = run_command(capsys, tmp_path / "theirs", "--beside", tmp_path / "theirs", "--where", "algorithm=bc")[1]
    assert "†" not in out, "where all are of seeds alone, no sign is needed"


def test_one_file_given_twice_is_read_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where its runs do not say when they began, as those of earlier releases, and by another name."""
    for seed in (1, 2):
        make_run(tmp_path / "runs" / f"{seed}", seed)
    file = tmp_path / "kept" / "runs.json"
    run_command(capsys, tmp_path / "runs", "--to", "json", "-o", file)
    content = json.loads(file.read_text())
    for run in content["runs"]:
        run["started"] = None
    file.write_text(json.dumps(content))
    once = run_command(capsys, file)
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for words in ((file, file), (tmp_path / "kept", file), (tmp_path / "link", tmp_path / "kept")):
        assert run_command(capsys, *words) == once
    assert run_command(capsys, tmp_path / "runs", tmp_path / "runs") == run_command(capsys, tmp_path / "runs")
    shutil.copy(file, tmp_path / "copy.json")
    status, out, _ = run_command(capsys, file, tmp_path / "copy.json")
    assert status == 0 and "read twice, counted once" in out and rows(out, "Final")[0]["n"] == "2"
    content["runs"][1]["seed"] = 1  # another run that ended alike, as in a game that all solve
    file.write_text(json.dumps(content))
    assert "seed 1 occurs 2 times" in run_command(capsys, file)[2]


def test_options_of_pictures_need_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "runs" / "1")
    for words in (("--only", "scores"), ("--prefix", "x_")):
        status, out, error = run_command(capsys, tmp_path / "runs", *words)
        assert (status, out, error.count("\n")) == (1, "", 1)
        assert f"error: {words[0]} is of pictures, and none are drawn; add --figures FOLDER" in error
    words = ("--figures", tmp_path / "png", "--only", "scroes", "-o", tmp_path / "report.md")
    status, out, error = run_command(capsys, tmp_path / "runs", *words)
    assert (status, out) == (1, "") and "--only scroes: there is no such picture of these runs; did you mean" in error
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}, "nothing is written before all is checked"
