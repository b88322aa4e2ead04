"""What a continued run changes is found, said and kept; what stayed as it was is no change."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loops.continuation import changes, changes_since, compared_settings
from tests.loops.test_training import Loop, rewrite, saved_at
from utils.checkpoint import STATE_FILE, load_state

HOPPER: dict[str, Any] = {"key": "Hopper", "partition": "3x1"}
RANGE = {"healthy_z_range": [0.1, 5.0]}


def settings(**env_args: Any) -> dict[str, Any]:
    return compared_settings(SimpleNamespace(env="mamujoco", lr=0.1, env_args=HOPPER | env_args))


def test_an_argument_that_is_new_to_the_run_is_a_change() -> None:
    before, now = settings(), settings(forward_reward_weight=50.0)
    assert changes(before, now) == "env_args.forward_reward_weight was not set, now 50.0"
    assert changes(now, before) == "env_args.forward_reward_weight was 50.0, now not set"
    assert changes(now, settings(forward_reward_weight=2.0)) == "env_args.forward_reward_weight was 50.0, now 2.0"


def test_lists_and_mappings_are_compared() -> None:
    assert changes(settings(), settings(**RANGE)) == "env_args.healthy_z_range was not set, now [0.1, 5.0]"
    assert changes(settings(healthy_z_range=(0.1, 5.0)), settings(**RANGE)) == ""
    assert changes(settings(own={"a": 1, "b": [2]}), settings(own={"b": [2], "a": 1})) == ""
    assert changes(settings(own={"a": 1}), settings(own={"a": 2})) == 'env_args.own was {"a": 1}, now {"a": 2}'
    lists = [{"sizes": sizes, "env": None} for sizes in ("[1, 2]", "[1, 3]")]
    assert changes(*lists) == "sizes was [1, 2], now [1, 3]"
    assert compared_settings(SimpleNamespace(sizes=[1, 2], env_args={})) == {"sizes": "[1, 2]"}


def test_credentials_in_lists_are_not_kept() -> None:
    assert settings(own=[{"password": "1234"}])["env_args.own"] == '[{"password": "***"}]'


def test_what_has_its_default_is_as_good_as_not_set() -> None:
    default = settings(observations="full", agent_obsk=1, observe_torso=True, time_limit=None, threads=4)
    assert changes(settings(), default) == changes(default, settings()) == ""
    assert changes(settings(), settings(observe_torso=False)) == "env_args.observe_torso was not set, now False"


def test_keys_that_are_newer_than_a_checkpoint_are_no_change() -> None:
    assert changes(settings(), settings() | {"svn": True}) == ""


def test_checkpoints_of_releases_that_kept_no_lists_give_no_false_warning() -> None:
    old = {"settings": settings()}
    assert changes_since(old, None, settings(**RANGE)) == ""
    assert changes_since(old, None, settings(**RANGE, ctrl_cost_weight=1.0)) != ""
    assert changes_since(old | {"changed": []}, None, settings(**RANGE)) != ""


def continued(folder: Path, token: str, path: Path, **updates: Any) -> tuple[Path, dict[str, Any]]:
    """Run a loop that continues another one; returns its directory and what Sacred keeps of it."""
    record = SimpleNamespace(info={})
    loop = Loop(folder, unique_token=token, checkpoint_path=str(path), **updates)
    loop.run(record)  # type: ignore[arg-type]
    return loop.directory, record.info


def test_a_continuation_of_a_continuation_knows_all_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    second, info = continued(tmp_path, "second", saved_at(tmp_path, 2), t_max=4, common_reward=False)
    first = "from update 2: common_reward was True, now False"
    assert (
        info == {"run": {"changed": [first]}} and "other settings than the checkpoint's: common_reward" in caplog.text
    )
    caplog.clear()
    third, info = continued(tmp_path, "third", second, t_max=6, common_reward=False)
    assert info == {"run": {"changed": [first]}} and "other settings" not in caplog.text
    _, info = continued(tmp_path, "fourth", third, t_max=8, common_reward=False, evaluation_seed=3)
    assert info == {"run": {"changed": [first, "from update 6: evaluation_seed was 0, now 3"]}}


def test_a_run_that_only_goes_on_has_changed_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, info = continued(tmp_path, "second", saved_at(tmp_path, 2), t_max=4)
    assert info == {} and not [entry for entry in caplog.records if entry.levelno >= logging.WARNING]


def test_a_state_of_an_earlier_release_is_continued(tmp_path: Path) -> None:
    file = saved_at(tmp_path, 2) / "2" / STATE_FILE
    state = load_state(file.parent)
    del state["changed"]
    rewrite(file, state)
    assert continued(tmp_path, "second", file.parents[1], t_max=4)[1] == {}
