"""`dataset.py list`, and reports that fit a terminal."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from dataset import main
from datasets import listing, names
from datasets.listing import command_lines, fitted
from datasets.names import BUNDLED, dataset_path, recipes

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("columns", [60, 100])
def test_every_dataset_is_listed(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {*BUNDLED, *recipes()} <= set(lines)
    told = " ".join(lines[lines.index("mpe/simple_spread/medium-100k") + 1 :][:2])
    assert "bundled, 6.81 MB: 4000 episodes, 100000 transitions, return per agent 291.81" in " ".join(told.split())
    wide = [line for line in lines if len(line) > columns]
    assert all(len(line.split()) <= 2 for line in wide), wide  # a word of a command, and the backslash


def test_bundled_are_those_in_the_repository() -> None:
    assert all(dataset_path(name).is_file() for name in BUNDLED)
    if (ROOT / ".git").exists():
        tracked = subprocess.run(
            ["git", "ls-files", "offline_data/**/*.h5"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        assert sorted(tracked) == sorted(f"offline_data/{name}.h5" for name in BUNDLED)


def test_a_file_that_cannot_be_read_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "DATA_ROOT", tmp_path)
    monkeypatch.setattr(listing, "DATA_ROOT", tmp_path)
    (tmp_path / "odd.h5").write_bytes(b"nothing")
    lines = list(listing.listing(80))
    assert "cannot be read: " in " ".join(lines[lines.index("odd") + 1 :])


def test_a_broken_command_is_the_command() -> None:
    for command in recipes().values():
        lines = command_lines(command, 100)
        assert shlex.split("\n".join(lines).replace("\\\n", " ")) == shlex.split(command)
        assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("columns", [40, 60, 80, 100])
def test_a_report_is_not_wider_than_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["inspect", "mpe/simple_spread/medium-100k"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns and any("checksum" in line for line in lines)


def test_nothing_is_lost_where_a_line_is_broken() -> None:
    line = "  key   " + " ".join(str(number) for number in range(200)) + " " + "x" * 150
    broken = list(fitted([line, "short"], 50))
    assert max(map(len, broken)) <= 50 and broken[-1] == "short"
    assert "".join("".join(broken[:-1]).split()) == "".join(line.split())
