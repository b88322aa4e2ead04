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


@pytest.mark.slow
def test_its_tables_are_what_its_commands_print(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pictures are drawn by these commands, too."""
    monkeypatch.chdir(ROOT)
    text = PAGE.read_text()
    printed: set[str] = set()
    drawn: set[str] = set()
    commands = re.findall(r"^ {4}python src/report.py (.*)$", text, re.MULTILINE)
    for words in map(shlex.split, commands):
        words[words.index("docs/images")] = str(tmp_path)
        status, out, err = run_command(capsys, *words)
        assert status == 0, err
        printed |= set(out.splitlines())
        drawn |= {path.name for path in tmp_path.iterdir()}
    tables = text.partition("## Appendix")[0]
    lines = [line for line in tables.splitlines() if line.startswith("|")]
    assert len(lines) > 40 and not [line for line in lines if line not in printed]
    pictures = set(re.findall(r"\(images/(\S+\.png)\)", tables)) - {"qmix.png"}  # of runs that are not kept
    assert len(pictures) >= 5 and pictures <= drawn


def test_every_folder_of_results_can_be_read_and_grouped() -> None:
    for folder in sorted({path.parent for path in (ROOT / "docs" / "results").glob("*/*.json")}):
        groups, _ = check(grouped(read_places([str(folder)]).runs)[0], ["commit"])
        assert groups and all(group.runs for group in groups)
