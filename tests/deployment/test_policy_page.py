"""The examples of docs/your-policy.md run."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

import policy as policy_command
from tests.command_line import ROOT
from tests.deployment.made import EXPERT


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "your-policy.md").read_text()
    acting, reading = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)  # the bundled policy's name works from any directory
    exec(acting, names)
    assert capsys.readouterr().out == "3 18 2\n"
    assert names["actions"].shape == names["explored"].shape == (100, 3, 2)
    assert (names["actions"] != names["explored"]).any()
    assert policy_command.main(["export", str(EXPERT), "--to", "torchscript", "-o", "exported"]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(reading, names)
    assert names["about"]["action_low"] == [-1, -1] and names["action"].numpy().shape == (1, 2)
