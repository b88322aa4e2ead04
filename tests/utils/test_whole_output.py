"""The record holds what a run printed to its last line, however late that reaches Sacred, and also where it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import ROOT

RUN = """
import sys
from utils.experiment import RecordedExperiment
from sacred import SETTINGS
from sacred.observers import FileStorageObserver
SETTINGS["CAPTURE_MODE"] = "fd"
experiment = RecordedExperiment("test", save_git_info=False, interactive=True)
experiment.observers.append(FileStorageObserver(sys.argv[1]))

@experiment.main
def main():
    for line in range(1000):
        print("line", line, flush=True)
    if sys.argv[2] == "fails":
        raise ValueError

experiment.run(options={"--loglevel": "ERROR"})
"""


@pytest.mark.parametrize("end", ["completes", "fails"])
def test_the_last_line_is_in_the_record(end: str, tmp_path: Path) -> None:
    late = tmp_path / "tee"  # what Sacred passes output on through
    late.write_text('#!/bin/sh\nsleep 0.5\nexec env PATH="${PATH#*:}" tee "$@"\n')
    late.chmod(0o755)
    run = [sys.executable, "-W", "ignore", "-c", RUN, str(tmp_path / "runs"), end]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(run, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)
    assert (done.returncode == 0) == (end == "completes"), done.stderr
    printed = (tmp_path / "runs" / "1" / "cout.txt").read_text().splitlines()
    assert printed == [f"line {number}" for number in range(1000)]
