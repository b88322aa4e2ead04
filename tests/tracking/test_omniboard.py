"""A run as a person sees it: a real training in a real MongoDB, shown by a real Omniboard in a real browser.

`TRACKING_PICTURE=docs/images/omniboard.png pytest -m slow tests/tracking` also renews the picture in docs/tracking.md.
"""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

import track
from tests.command_line import CommandLine
from tests.tracking.browser import Browser
from tests.tracking.tools import Server, omniboard, wait_until

pytestmark = pytest.mark.slow
# As docs/tracking.md says.
COLUMNS = ("Id", "Experiment Name", "Status", "Result", "Algorithm", "Dataset", "Seed", "Score", "Best", "Commit")
SIZE = (1750, 480)  # columns out of sight are not in the page
MENU = ".show-hide-columns"
BUNDLED = "dataset=mpe/simple_spread/random-100k"


def test_a_page_shows_run_score_curve_and_config(cli: CommandLine, server: Server, tools: Path, tmp_path: Path) -> None:
    for seed in (3, 4):
        result = cli.run(f"mongo={server.address()}", f"seed={seed}", BUNDLED)
        assert result.returncode == 0, result.stderr
    run = cli.runs()[-1]
    assert track.main(["columns", "-m", server.address()]) == 0
    browser = tools / "browser"
    environment = {"LD_LIBRARY_PATH": str(browser / "lib"), "FONTCONFIG_PATH": str(browser)}
    with (
        omniboard(tools, server, tmp_path) as address,
        Browser(browser / "chromium", environment, tmp_path / "profile", SIZE) as page,
    ):
        page.open(address)
        page.wait_for("2 experiments", "spacql on mpe/simple_spread/random-100k")
        pick_columns(page)
        check_table(page, json.loads((run / "info.json").read_text())["run"])
        picture(page, tmp_path)
        page.click("[test-attr='cell-row_expander-0']")
        check_curve(page, run)
        check_config(page)
        check_output(page)


def pick_columns(page: Browser) -> None:
    """The handful of columns that tell runs apart, in place of one for each key of the configuration."""
    page.click(f"{MENU} button")
    page.click(f"{MENU} label", "Select all")
    wait_until(lambda: chosen(page) == set(), "no columns", 20)
    for column in COLUMNS:
        page.click(f"{MENU} li label", column)
        wait_until(partial(is_chosen, page, column), f"the column {column}", 20)
    page.click(f"{MENU} button")


def chosen(page: Browser) -> set[str]:
    """The ticked columns."""
    ticked = f"[...document.querySelectorAll('{MENU} li.active:not(.multiselect-all) label')]"
    return set(page.evaluate(f"{ticked}.map(each => each.textContent.trim())"))


def is_chosen(page: Browser, column: str) -> bool:
    return column in chosen(page)


def check_table(page: Browser, run: dict[str, object]) -> None:
    """Two rows, told apart by their seed; the score is the one of the run's own record."""
    shown = page.wait_for("2 experiments", "COMPLETED", str(run["commit"]))
    table = shown.partition("2 experiments")[2].splitlines()
    assert [line for line in table if line in COLUMNS] == list(COLUMNS)
    assert table.count("COMPLETED") == 2 and table.count("spacql on mpe/simple_spread/random-100k") == 2
    assert {"spacql", "mpe/simple_spread/random-100k", "3", "4", f"{run['score']:g}", f"{run['best']:g}"} <= set(table)


def picture(page: Browser, tmp_path: Path) -> None:
    """What the documentation shows, where the test is asked for it; few colours keep the file small."""
    path = tmp_path / "page.png"
    page.picture(path)
    with Image.open(path) as shown:
        assert shown.size == SIZE
        if target := os.environ.get("TRACKING_PICTURE"):
            shown.convert("RGB").quantize(64).save(target, optimize=True)


def check_curve(page: Browser, run: Path) -> None:
    """The plot draws a line per metric; that of the score goes through the values of the run's own record."""
    page.wait_for("Details for: spacql on mpe/simple_spread/random-100k", "Metrics Plot", "test_normalised_score")
    drawn = page.evaluate(
        "[...document.querySelector('.js-plotly-plot').data].map(line => [line.name, [...line.x], [...line.y]])"
    )
    score = json.loads((run / "metrics.json").read_text())["test_normalised_score"]
    assert ["test_normalised_score", score["steps"], pytest.approx(score["values"])] in drawn
    assert page.evaluate("document.querySelectorAll('.scatterlayer .trace .lines path').length") > 20


def check_config(page: Browser) -> None:
    page.click(".drilldown-view li a", "Config")
    page.wait_for("ensemble_size", "mpe/simple_spread/random-100k", "batch_size")


def check_output(page: Browser) -> None:
    """What the console has shown, and the learning curve as a file."""
    page.click(".drilldown-view li a", "Captured Out")
    page.wait_for("Recent Stats", "mean of last 3")
    page.click(".drilldown-view li a", "Artifacts")
    page.wait_for("learning_curve.png", "description.json")
