"""Every form of a report says the same, stays whole and is safe to show."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest

from reporting.page import with_seed
from reporting.places import read_places
from reporting.tables import Table, latex_text, markdown, split
from tests.reporting.made import make_run, rows, run_command

NASTY = "<script>alert('x')</script>|\x1b[31m&"


def some_runs(folder: Path) -> Path:
    for name in ("bc", "spacql"):
        for dataset in ("random-100k", "medium-100k"):
            for seed in (1, 2):
                make_run(folder / f"{name}{dataset}{seed}", seed, [0.0, 10.0 + seed], name=name, checksum=dataset,
                         dataset=f"mpe/simple_spread/{dataset}", episodes=[120.0, 124.0 + seed])  # fmt: skip
    return folder


def test_the_json_reports_the_same_as_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = some_runs(tmp_path / "runs")
    make_run(runs / "lr", 1, metrics={"w_1": [0.4, 0.3]}, lr=0.5, checksum="random-100k", given=["lr=0.5"])
    assert run_command(capsys, runs, "--to", "json", "-o", tmp_path / "kept.json")[0] == 0
    for form in ("markdown", "csv", "latex", "marl-eval", "json"):
        assert (
            run_command(capsys, runs, "--to", form)[1] == run_command(capsys, tmp_path / "kept.json", "--to", form)[1]
        )
    content = json.loads((tmp_path / "kept.json").read_text())
    assert (content["format"], content["version"]) == ("epymarl-offline results", 1)
    assert (tmp_path / "kept.json").stat().st_size < 20_000


def test_what_looks_like_json_in_a_text_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "python src/main.py with \"env_args={'a': {'b': 1}, 'c': 2}\" \\\"}, "
    make_run(tmp_path / "1", command_given=text)
    assert run_command(capsys, tmp_path / "1", "--to", "json", "-o", tmp_path / "kept.json")[0] == 0
    assert read_places([str(tmp_path / "kept.json")]).runs[0].command == text


def test_csv_has_full_numbers_and_a_column_for_each_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    some_runs(tmp_path)
    make_run(tmp_path / "x", 1, [0.0, 1 / 3], lr=0.5, name="bc", checksum="random-100k")
    found = list(csv.DictReader(io.StringIO(run_command(capsys, tmp_path, "--to", "csv")[1])))
    assert len(found) == 5
    (own,) = [row for row in found if row["lr"] == "0.5"]
    assert float(own["final_mean"]) == 1 / 3 and own["final_std"] == "" and own["seeds"] == "1"
    (other,) = [
        row for row in found if (row["algorithm"], row["lr"], row["dataset"][-11:]) == ("bc", "0.01", "random-100k")
    ]
    assert (other["final_mean"], other["n"], other["interval_of"]) == ("11.5", "2", "seeds and episodes")


def test_marl_eval_s_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run_command(capsys, some_runs(tmp_path), "--to", "marl-eval")[1])
    run = found["mpe/simple_spread"]["mpe/simple_spread/random-100k"]["spacql"]["seed_2"]
    assert run["step_2"] == {"step_count": 100, "normalised_score": [12.0]}
    assert run["absolute_metrics"] == {"normalised_score": [10.0, 13.0]}
    assert list(run) == ["step_1", "step_2", "absolute_metrics"]


def test_latex_is_escaped() -> None:
    assert latex_text("a_b & 5 % ± {x}\\") == r"a\_b \& 5 \% $\pm$ \{x\}\textbackslash{}"


def test_wide_tables_go_on_below() -> None:
    table = Table(
        "T", ("key", *(f"column {number}" for number in range(12))), [("row", *("x" * 15 for _ in range(12)))]
    )
    text = markdown([table], ["a note " * 30])
    assert max(map(len, text.splitlines())) <= 100
    parts = split(table, 100)
    assert len(parts) > 1 and all(part.head[0] == "key" for part in parts)
    assert [head for part in parts for head in part.head[1:]] == list(table.head[1:])


def test_a_report_fits_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(10):
        make_run(tmp_path / f"{seed}", seed, given=["lr=0.01", "a_long_key_that_was_set_by_hand=1"], lr=0.01)
        make_run(tmp_path / f"x{seed}", seed, lr=0.123456789, a_long_key_that_somebody_has_set="a long value")
    out = run_command(capsys, tmp_path)[1]
    tables = [line for line in out.splitlines() if line.startswith("|")]
    assert max(len(line) for line in out.splitlines() if line not in tables) <= 100
    assert rows(out, "Variants")[0].keys() >= {"variant", "lr", "a_long_key_that_somebody_has_set"}
    letter = rows(out, "Variants")[-1]["variant"]  # a method may be named by it
    status, out, _ = run_command(capsys, tmp_path, "--baseline", letter)
    assert status == 0 and letter not in {row["variant"] for row in rows(out, "Differences from")}


def test_algorithms_with_the_same_keys_share_a_letter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, (name, value) in enumerate(itertools.product(("cfcql", "spacql"), ("a long value", "another one"))):
        for seed in (1, 2):
            make_run(tmp_path / f"{number}{seed}", seed, name=name, a_long_key_that_somebody_has_set=value)
    out = run_command(capsys, tmp_path)[1]
    named = [(row["variant"], row["algorithm"]) for row in rows(out, "Variants")]
    assert named == [("A", "cfcql"), ("A", "spacql"), ("B", "cfcql"), ("B", "spacql")]
    status, _, error = run_command(capsys, tmp_path, "--baseline", "A")
    assert status == 1 and "several algorithms have this variant; write it as" in error
    status, out, _ = run_command(capsys, tmp_path, "--baseline", "spacql A")
    assert status == 0 and ("spacql", "A") not in {
        (r["algorithm"], r["variant"]) for r in rows(out, "Differences from")
    }


def test_the_comparability_line_is_what_the_runs_declared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1", 1, given=["lr=0.01", "seed=1"], hypergroup="sweep3")
    (row,) = rows(run_command(capsys, tmp_path)[1], "Comparability")
    assert row == {"method": "spacql", "execution": "local", "observations": "local", "critics": "central",
                   "parameters": "not shared", "evaluation": "last",
                   "values of its keys": "tuned file + a search (sweep3) + by hand lr"}  # fmt: skip


def test_runs_older_than_a_key_are_declared_at_its_file_s_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A learner may have the name of one of stock EPyMARL, which has other keys."""
    for name, learner in (("comadice", "comadice_learner"), ("stock_mappo", "ppo_learner")):
        folder = make_run(tmp_path / name, name=name, learner=learner)
        (folder / "info.json").write_text("{}")
    found = {row["method"]: row["critics"] for row in rows(run_command(capsys, tmp_path)[1], "Comparability")}
    assert found == {"comadice": "per agent, mixed*", "stock_mappo": "not recorded"}


def test_the_page_needs_nothing_and_shows_text_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    some_runs(tmp_path)
    make_run(
        tmp_path / "x",
        1,
        label=NASTY,
        name="bc",
        lr=NASTY,
        checksum="random-100k",
        command_given=f"python src/main.py with a='{NASTY}'",
    )
    status, text, _ = run_command(capsys, tmp_path, "--to", "html")
    assert status == 0 and "<script" not in text and "\x1b" not in text and "&lt;script&gt;" in text
    assert not re.search(r'(?:src|href)="(?!data:image/png;base64,)', text) and "http" not in text.split("</style>")[0]
    assert text.count("<img ") >= 3 and text.count("<code>") >= 1


def test_commands_have_the_seed_that_was_drawn() -> None:
    assert with_seed("python src/main.py --config=bc", 7) == "python src/main.py --config=bc with seed=7"
    assert with_seed("python src/main.py --config=bc with lr=1", 7).endswith(" with lr=1 seed=7")
    assert with_seed("x with seed=7 lr=1", 7) == "x with seed=7 lr=1"
    assert with_seed("x with 'seeds=[1, 2]' lr=1", 2) == "x with lr=1 seed=2"
    assert with_seed("x with 'seeds=[1, 2]'", 2) == "x with seed=2"


def test_pictures_are_of_what_the_runs_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curve = [0.1, 0.2, 0.3, 0.4]
    sizes = {f"{key}_{k}": curve for key in "wu" for k in (1, 2, 3)}
    bins = {f"weight_bin_{k}": [0.0, 1 / 11] for k in range(1, 12)}
    for seed in (1, 2):
        make_run(tmp_path / "runs" / f"{seed}", seed, metrics={**sizes, "u_target": curve}, episodes=[1.0, 2.0])
        make_run(tmp_path / "runs" / f"c{seed}", seed, metrics=bins, name="comadice", episodes=[1.0, 2.0])
    words = ("--figures", tmp_path / "png", "--prefix", "x_", "--budget")
    assert run_command(capsys, tmp_path / "runs", *words)[0] == 0
    names = {file.stem for file in (tmp_path / "png").iterdir() if file.read_bytes().startswith(b"\x89PNG")}
    expected = {"scores", "seconds", "targets", "uncertainty", "weights", "histogram", "heat", "profiles", "budget"}
    assert names == {f"x_{name}" for name in expected}
    first = (tmp_path / "png" / "x_scores.png").read_bytes()
    run_command(capsys, tmp_path / "runs", *words)
    assert (tmp_path / "png" / "x_scores.png").read_bytes() == first
    make_run(tmp_path / "other" / "1")
    run_command(capsys, tmp_path / "other", "--figures", tmp_path / "few")
    assert "weights.png" not in {file.name for file in (tmp_path / "few").iterdir()}


def test_lines_are_by_algorithm_and_bands_by_seed(tmp_path: Path) -> None:
    """`bc/simple_spread` and `cfcql/simple_spread` are two lines, two datasets two panels."""
    from reporting.assembled import Options, assemble
    from reporting.groups import grouped
    from reporting.pictures import _scores
    from reporting.places import read_places

    groups = grouped(read_places([str(some_runs(tmp_path))]).runs)[0]
    panels = _scores(assemble(groups, [], Options()))
    assert set(panels) == {"random-100k", "medium-100k"}
    assert {name: len(curves) for name, curves in panels["random-100k"].items()} == {"bc": 2, "spacql": 2}


def test_a_disk_that_refuses_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1")
    (tmp_path / "file").write_text("")
    status, _, err = run_command(capsys, tmp_path, "-o", tmp_path / "file" / "x.md")
    assert status == 1 and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.slow
def test_200_runs_are_reported_in_ten_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five algorithms, four datasets, ten seeds; forty metrics, a hundred evaluations, a thousand episodes."""
    rng = np.random.default_rng(0)
    metrics = {f"metric_{number}": rng.normal(size=100).tolist() for number in range(40)}
    for name in ("bc", "cfcql", "comadice", "icql_qs", "spacql"):
        for dataset in ("random", "medium-replay", "medium", "expert"):
            for seed in range(10):
                make_run(tmp_path / name / dataset / str(seed), seed, rng.normal(50, 9, 100).tolist(), name=name,
                         dataset=dataset, checksum=dataset, episodes=rng.normal(200, 30, 1000).tolist(),
                         metrics=metrics)  # fmt: skip
    start = time.process_time()
    status, out, _ = run_command(capsys, tmp_path)
    seconds = time.process_time() - start
    with capsys.disabled():
        print(f"\n200 runs reported in {seconds:.1f} s of one core")
    assert status == 0 and len(rows(out, "Final scores")) == 20 and seconds < 10


@pytest.mark.slow
def test_the_page_opens_in_a_browser(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.tracking.browser import Browser
    from tests.tracking.tools import tools_or_skip

    some_runs(tmp_path / "runs")
    make_run(tmp_path / "runs" / "x", 3, name="bc", lr=NASTY, checksum="random-100k")
    run_command(capsys, tmp_path / "runs", "--to", "html", "-o", tmp_path / "page.html")
    folder = tools_or_skip() / "browser"
    environment = {"LD_LIBRARY_PATH": str(folder / "lib"), "FONTCONFIG_PATH": str(folder)}
    with Browser(folder / "chromium", environment, tmp_path / "profile", (1200, 900)) as browser:
        browser.open((tmp_path / "page.html").as_uri())
        browser.wait_for("Final scores", "Comparability", "Runs", "<script>alert('x')</script>")
        assert browser.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 100)")
        assert browser.evaluate("document.images.length") >= 3 and browser.evaluate("document.scripts.length") == 0
        assert (
            browser.evaluate("performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:')).length")
            == 0
        )


def test_numbers_that_cannot_be_drawn_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(figure: object) -> bytes:
        raise ValueError("arange: cannot compute length")  # Matplotlib, of axes near 1e308

    monkeypatch.setattr("reporting.pictures._png", refuses)
    status, _, error = run_command(capsys, some_runs(tmp_path / "runs"), "--figures", tmp_path / "png")
    assert status == 1 and "cannot be drawn (arange" in error and error.count("\n") == 1
    assert not (tmp_path / "png").exists()
