"""What a sweep shows: within 100 columns, the same at the end however it came about."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from sweeps import found
from sweeps.cells import Cell
from sweeps.standing import RUNNING, WAITING, Standing, notice_of
from sweeps.table import View, duration, final_table
from sweeps.worker import DONE, FAILED
from tests.sweeps.test_found import checkpoint


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def standing(results: Path, seed: int, what: str = WAITING, title: str = "bc on d") -> Standing:
    config = {"seed": seed, "t_max": 1000, "name": "bc", "local_results_path": str(results)}
    made = Standing(Cell((), config, f"{seed:04d}", title), what)
    made.cell.places.make()
    return made


def tell(each: Standing, t: int, rate: float) -> None:
    content = {"t": t, "total": 1000, "rate": rate, "score": "normalised score 12.3"}
    each.cell.places.progress.write_text(json.dumps(content))


@pytest.mark.parametrize(("columns", "progress"), [("120", "400/1000 40 %"), ("80", "40 %")])
def test_a_terminal_shows_progress_score_and_time_left(
    tmp_path: Path, columns: str, progress: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    standings = [standing(tmp_path, 1, RUNNING), standing(tmp_path, 2, title="x" * 150), standing(tmp_path, 3)]
    tell(standings[0], 400, 2.0)
    stream = Terminal()
    view = View(stream, 2)
    view.begin(standings)
    view.show(standings)
    standings[1].what, standings[2].what = RUNNING, FAILED
    view.show(standings)
    text = stream.getvalue()
    assert progress in text and "normalised score 12.3" in text and "5 min" in text
    assert "1 running, 2 waiting of 3; about 11 min left" in text
    assert "\x1b[3F\x1b[J2 running, 1 failed of 3" in text, "the table is redrawn in its place"
    assert all(len(line) <= min(100, int(columns)) for line in text.splitlines())


def test_seeds_in_one_process_share_its_time(tmp_path: Path) -> None:
    """Three runs advance together, so that one of them costs a third of what it takes from beginning to end."""
    standings = [standing(tmp_path, seed) for seed in range(6)]
    tell(standings[0], 400, 2.0)
    for each in standings[:3]:
        each.what, each.mates, each.leader = RUNNING, 3, standings[0].cell
    assert View(io.StringIO(), 1).seconds_left(standings) == 600 / 2 + 1000 / 2


def test_elsewhere_lines_say_what_changes(tmp_path: Path) -> None:
    standings = [standing(tmp_path, seed) for seed in (1, 2)]
    stream = io.StringIO()
    view = View(stream, 2)
    view.begin(standings)
    standings[0].what = RUNNING
    view.show(standings)
    view.show(standings)
    standings[0].what, standings[0].score, standings[1].what = DONE, "3.00 return", FAILED
    standings[1].why, standings[1].lines = "exit status 1", ("error: no\x1b[2J memory",)
    view.show(standings)
    view.end(standings)
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["2 runs; at most 2 at once", "bc on d, seed 1: begun"]
    assert lines.count("bc on d, seed 1: done, 3.00 return") == 1
    assert "failed: bc on d, seed 2 (exit status 1); it last printed:" in lines
    assert r"  | error: no\x1b[2J memory" in lines and "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_an_online_run_that_goes_on_says_what_that_means(
    tmp_path: Path, kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal above the table, which stays in its place."""
    fresh, going = (standing(tmp_path, seed) for seed in (1, 2))
    for each in (fresh, going):
        each.cell.config["offline"] = False
    checkpoint(tmp_path, "bc_seed2_x", 400, going.cell.identity)
    fresh.notice, going.notice = notice_of(fresh.cell), notice_of(going.cell)
    stream = kind()
    view = View(stream, 2)
    view.begin([fresh, going])
    fresh.what = going.what = RUNNING
    view.show([fresh, going])
    view.show([fresh, going])
    said = "bc on d, seed 2: goes on from its checkpoint: online runs are continued, not repeated bit for bit"
    assert stream.getvalue().splitlines().count(said) == 1 and fresh.notice == ""
    going.cell.config["offline"] = True
    whole = checkpoint(tmp_path, "bc_seed2_x", 500, going.cell.identity)
    monkeypatch.setattr(found, "check_checkpoint", None)  # files, which may be large, are not read for a line of text
    assert notice_of(going.cell) == f"goes on at update {whole.name}" and notice_of(fresh.cell) == ""


def test_the_last_table_has_a_row_per_run_within_100_columns(tmp_path: Path) -> None:
    standings = [standing(tmp_path, seed, DONE, "bc on " + "y" * 90) for seed in (1, 2)]
    standings[0].score = "67.21 normalised score"
    earlier = [standing(tmp_path, seed, DONE, "bc on " + "y" * 90) for seed in (1, 2)]
    earlier[0].score, earlier[0].before = "67.21 normalised score", True
    table = final_table(standings)
    assert table == final_table(earlier) and table[-1] == "2 done of 2"
    assert all(len(line) <= 100 for line in table) and "67.21 normalised score" in table[2]


@pytest.mark.parametrize(("seconds", "text"), [(3, "3 s"), (89.6, "90 s"), (600, "10 min"), (3900, "1 h 05 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
