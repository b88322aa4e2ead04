"""Checkpoints of earlier releases get their run.json from the configuration that they had; the bundled ones have it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

import policy as policy_command
from deployment.loaded import load_policy
from tests.command_line import ROOT
from utils.errors import printable
from utils.versions import code_state


def commands() -> dict[str, list[str]]:
    """The commands of offline_data/README.md, by the policy's folder."""
    text = (ROOT / "offline_data" / "README.md").read_text()
    found = [shlex.split(line) for line in re.findall(r"^ {4}python src/policy\.py (describe .*)$", text, re.MULTILINE)]
    return {words[1]: words for words in found}


@pytest.mark.parametrize("name", sorted(commands()))
def test_policies_older_than_descriptions_are_described_by_the_documented_command(tmp_path: Path, name: str) -> None:
    words, folder = commands()[name], ROOT / name
    copied = shutil.copytree(folder, tmp_path / folder.name)
    (copied / "run.json").unlink()
    assert policy_command.main(["describe", str(copied), *words[2:]]) == 0
    made, bundled = (json.loads((path / "run.json").read_text()) for path in (copied, folder))
    known = bundled["config"].keys() & made["config"].keys()  # a later release may have more keys
    assert len(known) > 60
    for content in (made, bundled):
        del content["checksum"]
        content["config"] = {key: content["config"][key] for key in known}
    assert {key: made[key] for key in bundled if key in made} == bundled
    assert made["code"] == code_state() | {"commit": "unknown", "dirty": None, "sources": {}}
    policy = load_policy(copied)
    assert policy.act([[0.0] * policy.obs_size] * policy.n_agents).shape[0] == policy.n_agents


def test_what_does_not_fit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied = shutil.copytree(ROOT / "offline_data/mpe/simple_spread/policies/medium", tmp_path / "medium")
    words = ["describe", str(copied), "--config=matd3", "--env-config=mpe", "with"]
    assert policy_command.main([*words, "seed=0"]) == 1
    assert "describes this run already; add --force" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        policy_command.main([*words, "seed=0", "--forse"])
    assert "--forse" in capsys.readouterr().err
    assert policy_command.main([*words, "seed=0", "--force"]) == 0
    assert "written" in capsys.readouterr().out
    (copied / "run.json").unlink()
    for change, said in (
        ([], "give the seed"),
        (["seed=0", "hidden_dim=32"], "fc1.weight has shape (3, 18, 64) there, (3, 18, 32) here"),
        (["seed=0", "agent=nobody"], "there is no such agent"),
        (["seed=0", "hiden_dim=64"], "hidden_dim"),
        (["seed=0", "env=None"], "env is None"),
    ):
        assert policy_command.main([*words, *change]) == 1
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1 and printable(error[:-1]) == error[:-1]
        assert not (copied / "run.json").exists()


def test_overrides_are_for_descriptions_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        policy_command.main(["play", "nowhere", "-o", "x.gif", "with", "seed=0"])
    assert "only describe takes overrides" in capsys.readouterr().err
