"""Old names of keys: in `with`, in files of overrides, in algorithm files and in checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import main
from learners import REGISTRY
from learners.q_learner import QLearner
from loops.continuation import changes
from utils import config
from utils.errors import ConfigError
from utils.old_names import OldNames, old_names, renamed

GONE = "there is one kind of critic"


class Renaming(QLearner):
    ALIASES = {"lr": "q_lr"}
    REMOVED = {"critic_type": GONE}


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A learner with old names under q_learner's name, and what main.py says of them."""
    said: list[str] = []
    monkeypatch.setitem(REGISTRY, "q_learner", Renaming)
    monkeypatch.setattr(main.ex, "logger", SimpleNamespace(info=said.append, warning=said.append))
    monkeypatch.setattr(main.ex, "configurations", [])
    return said


def prepared(*words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration that main.py makes of a command line, and the overrides that it hands to Sacred."""
    command = main.prepare(["main.py", "print_config", "--config=iql", "--env-config=mpe", *words, "-u"])
    layers: dict[str, Any] = main.ex.configurations[-1]()
    return config.merge(layers, command.updates), command.updates


def test_an_old_name_in_with_means_the_new_one(lines: list[str]) -> None:
    final, updates = prepared("with", "lr=0.001", "label=a b", "env_args.continuous_actions=False")
    assert final["q_lr"] == 0.001 and final["lr"] == 0.0005 and final["label"] == "a b"
    assert final["env_args"]["continuous_actions"] is False
    assert updates == {"q_lr": 0.001, "label": "a b", "env_args": {"continuous_actions": False}}
    assert lines == ["with: lr=0.001 sets q_lr, which is what this learner calls the key"]


def test_words_that_hold_no_old_name_are_left_alone(lines: list[str]) -> None:
    assert prepared("with", "q_lr=1e-3", "label=a b")[1] == {"q_lr": 0.001, "label": "a b"} and lines == []


@pytest.mark.parametrize("force", [(), ("-f",)])
@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_an_old_name_in_a_file_of_overrides_means_the_new_one(
    lines: list[str], tmp_path: Path, suffix: str, force: tuple[str, ...]
) -> None:
    file = tmp_path / f"overrides{suffix}"
    content = {"lr": 0.002, "env_args": {"time_limit": 7}, "label": "from a file"}
    file.write_text(json.dumps(content) if suffix == ".json" else yaml.safe_dump(content))
    final, updates = prepared("with", str(file), "gamma=0.9", *force)
    assert final["q_lr"] == 0.002 and final["env_args"]["time_limit"] == 7 and final["gamma"] == 0.9
    assert final["label"] == "from a file" and "lr" not in updates


def test_the_values_of_the_new_name_are_checked(lines: list[str]) -> None:
    with pytest.raises(ConfigError, match="q_lr=-1: this must be a number above 0"):
        prepared("with", "lr=-1")
    with pytest.raises(ConfigError, match="'q_lr' is a number"):
        prepared("with", "lr=high")


def test_one_key_has_one_value(lines: list[str]) -> None:
    with pytest.raises(ConfigError, match="with: lr=0.1 and q_lr=0.2 are one key with two values; give q_lr only"):
        prepared("with", "lr=0.1", "q_lr=0.2")
    assert prepared("with", "lr=0.1", "q_lr=0.1")[0]["q_lr"] == 0.1


def test_a_removed_key_is_left_out(lines: list[str]) -> None:
    final, updates = prepared("with", "critic_type=ensemble_q")
    assert "critic_type" not in final and updates == {}
    assert lines == [f"with: critic_type=ensemble_q has no effect: {GONE}"]


def test_learners_without_old_names_keep_theirs(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock EPyMARL's learners read `lr`."""
    monkeypatch.setitem(REGISTRY, "q_learner", SimpleNamespace)
    final, updates = prepared("with", "lr=0.001")
    assert final["lr"] == 0.001 and updates == {"lr": 0.001} and lines == []


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(config, "CONFIG", tmp_path)
    (tmp_path / "default.yaml").write_text("lr: 0.5\ndataset: null\n")
    for folder in ("algs", "envs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "envs" / "e.yaml").write_text("env: e\n")
    return tmp_path


def resolved(files: Path, texts: dict[str, str], said: list[str] | None = None) -> dict[str, Any]:
    """The layers of the last algorithm file."""
    for name, text in texts.items():
        (files / "algs" / f"{name}.yaml").write_text(text)
    names = old_names(Renaming, [].append if said is None else said.append)
    return config.layered_config([*texts][-1], "e", {}, names_of=lambda learner: names)


def test_an_old_name_in_an_algorithm_file_sets_the_new_one(files: Path) -> None:
    said: list[str] = []
    found = resolved(files, {"qmix": "learner: q_learner\nlr: 0.3\ncritic_type: x\n"}, said)
    assert found["q_lr"] == 0.3 and found["lr"] == 0.5 and "critic_type" not in found
    assert [line.partition(" ")[0] for line in said] == ["qmix.yaml:", "qmix.yaml:"]


def test_an_algorithm_file_without_either_name_has_the_default(files: Path) -> None:
    assert resolved(files, {"qmix": "learner: q_learner\n"})["q_lr"] == 0.5


def test_either_name_overrides_a_bases(files: Path) -> None:
    base = "learner: q_learner\nq_lr: 0.1\n"
    assert resolved(files, {"one": base, "two": "base: one\nlr: 0.2\n"})["q_lr"] == 0.2
    assert resolved(files, {"one": base.replace("q_lr", "lr"), "two": "base: one\nq_lr: 0.3\n"})["q_lr"] == 0.3


def test_the_learner_that_with_chooses_is_asked(files: Path) -> None:
    (files / "algs" / "a.yaml").write_text("learner: one\n")
    asked: list[Any] = []
    for updates in ({}, {"learner": "two"}):
        config.layered_config("a", "e", updates, names_of=lambda learner: asked.append(learner) or OldNames())
    assert asked == ["one", "two"]


def test_settings_of_checkpoints_are_read_under_todays_names() -> None:
    assert renamed({"lr": 1, "a": 2}, {"lr": "q_lr"}) == {"q_lr": 1, "a": 2}
    assert renamed({"lr": 1, "q_lr": 3}, {"lr": "q_lr"}) == {"q_lr": 3}
    same = {"gamma": 0.9, "agent_output_type": "q", "action_selector": "epsilon_greedy"}
    stored = same | {"lr": 0.0003, "critic_type": "ensemble_q"}
    names = old_names(Renaming)
    cases = (({}, ""), ({"q_lr": 0.1}, "q_lr was 0.0003, now 0.1"), ({"gamma": 0.8}, "gamma was 0.9, now 0.8"))
    for now, words in cases:
        assert changes(names.stored(stored), same | {"lr": 0.0005, "q_lr": 0.0003} | now) == words
