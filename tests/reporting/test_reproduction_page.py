"""docs/reproduction.md says what the report says of the committed runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from reporting.groups import grouped
from reporting.places import read_places
from reporting.soundness import check
from tests.reporting.made import run_command

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reproduction.md"


NOTEBOOKS = [
    page
    for page in sorted((ROOT / "docs" / "results").glob("*.md"))
    if "python src/report.py docs/results/" in page.read_text() and page.name != "README.md"
]


def printed_by(page: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The lines that the page's reports of committed runs print; their pictures go to `folder`."""
    printed: set[str] = set()
    for words in map(shlex.split, re.findall(r"^ {4}python src/report.py (docs/.*)$", page.read_text(), re.MULTILINE)):
        words = [str(folder) if word == "docs/images" else word for word in words]
        status, out, err = run_command(capsys, *words)
        assert status == 0, err
        printed |= set(out.splitlines())
    return printed


@pytest.mark.slow
def test_its_tables_are_what_its_commands_print(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pictures are drawn by these commands, too."""
    monkeypatch.chdir(ROOT)
    printed = printed_by(PAGE, tmp_path, capsys)
    drawn = {path.name for path in tmp_path.iterdir()}
    tables = PAGE.read_text().partition("## Appendix")[0]
    lines = [line for line in tables.splitlines() if line.startswith("|")]
    assert len(lines) > 40 and not [line for line in lines if line not in printed]
    pictures = set(re.findall(r"\(images/(\S+\.png)\)", tables))
    assert len(pictures) >= 5 and pictures <= drawn


@pytest.mark.slow
@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.stem)
def test_tables_of_the_notebooks_are_what_their_commands_print(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every table that has intervals; a part of a wide table below it has the same first columns."""
    monkeypatch.chdir(ROOT)
    printed = printed_by(page, tmp_path, capsys)
    tables = [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", page.read_text(), re.MULTILINE)]
    assert [lines for lines in tables if "95 %" in lines[0]]
    for lines in tables:
        if lines[0] in printed or "95 %" in lines[0]:
            assert not [line for line in lines if line not in printed]


def test_pages_say_what_their_intervals_count() -> None:
    names = {page.stem for page in NOTEBOOKS}
    assert names == {
        "cn-protocol", "comadice", "cooperative-navigation", "discrete", "games", "halfcheetah-2x3", "new-tasks",
        "online", "pursuit", "robots", "spacql-search",
    }  # fmt: skip
    for page in [PAGE, *NOTEBOOKS]:  # the runs of most are older than the record of single episodes
        episodes = page.stem in ("cn-protocol", "halfcheetah-2x3", "new-tasks", "pursuit", "robots")
        what = r"single\sepisodes" if episodes else r"seeds\salone"
        assert re.search(rf"intervals.{{0,20}}\s(are\sof|count)\s{what}", page.read_text(), re.IGNORECASE), page


def test_every_folder_of_results_can_be_read_and_grouped() -> None:
    for folder in sorted({path.parent for path in (ROOT / "docs" / "results").glob("*/*.json")}):
        groups, _ = check(grouped(read_places([str(folder)]).runs)[0], ["commit", "dataset"])
        assert groups and all(group.runs for group in groups)
