"""What commands print reaches stdout, or they say in one sentence that it did not; nothing else gets it instead."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import dataset
import main
import policy
import report
import search
import track
from stock import plug_into
from tests.command_line import ROOT

SCRIPTS: dict[str, Callable[[Sequence[str]], int]] = {
    "dataset.py": dataset.main,
    "policy.py": policy.main,
    "track.py": track.main,
    "search.py": search.main,
    "report.py": report.main,
    "plug_into.py": plug_into.main,
    "main.py": lambda words: main.main(["src/main.py", *words]),
}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("buffered", [True, False])
def test_a_full_stdout_is_one_sentence(
    script: str, buffered: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w") as full:
        full.reconfigure(write_through=not buffered)
        monkeypatch.setattr("sys.stdout", full)
        assert SCRIPTS[script](["--help"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: standard output cannot be written (no space left on device)")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_closed_stdout_is_one_sentence(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert SCRIPTS[script](["--help"]) == 1
    assert capsys.readouterr().err.startswith("error: standard output is closed")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_reader_that_has_gone_ends_a_command_quietly(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        with pytest.raises(SystemExit) as ending:
            SCRIPTS[script](["--help"])
    assert ending.value.code == 1 and capsys.readouterr().err == ""


@pytest.mark.parametrize("verb", ["print_config", "print_dependencies"])
def test_verbs_that_print_say_so_too(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main.main(["src/main.py", verb, "--config=bc", "--env-config=mpe"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: standard output cannot be written")


@pytest.mark.parametrize("streams", [">/dev/full", ">&-", "| true", "<&- >&- 2>&-"])
def test_as_a_shell_starts_it(streams: str) -> None:
    """With the interpreter's own streams, which it flushes once more when it ends."""
    command = f"set -o pipefail; '{sys.executable}' -W ignore src/dataset.py list {streams}"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    result = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert result.returncode == 1
    sentences = 1 if streams in (">/dev/full", ">&-") else 0
    assert result.stderr.count("error: ") == result.stderr.count("\n") == sentences


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """Else what is printed would land in it."""
    script = ("from utils.printing import open_closed_streams; open_closed_streams(); import os; "
              "print(os.open('made', os.O_CREAT | os.O_WRONLY) > 2, file=open('said', 'w'))")  # fmt: skip
    command = f"exec <&- >&- 2>&-; '{sys.executable}' -c \"{script}\""
    subprocess.run(["bash", "-c", command], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    assert (tmp_path / "said").read_text() == "True\n"
