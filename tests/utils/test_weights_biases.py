"""Weights & Biases behind a stand-in of its package: what it is told, and what it is not."""

from __future__ import annotations

import logging
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from loops.rehearsal import rehearse
from run import run
from tests.loops.test_resolve import configuration
from utils.errors import ConfigError
from utils.logging import Logger
from utils.weights_biases import WeightsAndBiases


class Refused(Exception):
    """The package's own error."""


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MagicMock:
    package = MagicMock()
    package.__spec__ = ModuleSpec("wandb", None)
    package.errors.Error = Refused
    package.Settings = dict
    package.init.return_value.dir = str(tmp_path / "wandb" / "offline-run-1" / "files")
    monkeypatch.setitem(sys.modules, "wandb", package)
    return package


def settings(tmp_path: Path, mode: str = "offline") -> SimpleNamespace:
    return SimpleNamespace(results=tmp_path / "results", name="bc", seed=2, wandb_project="p", wandb_team=None,
                           wandb_mode=mode)  # fmt: skip


def test_it_is_told_values_by_the_runs_clock(wandb: MagicMock, tmp_path: Path) -> None:
    record = WeightsAndBiases(settings(tmp_path), {"lr": 1}, "bc on data")
    logger = Logger(logging.getLogger("test"))
    logger.setup_wandb(record)
    logger.log_stat("loss", 0.5, 10)
    logger.log_stat("score", 2, 5)  # a continued run logs its earlier values again, key by key
    logger.finish()
    given = wandb.init.call_args.kwargs
    assert (given["project"], given["mode"], given["config"], given["group"]) == (
        "p",
        "offline",
        {"lr": 1},
        "bc on data",
    )
    assert given["name"] == "bc on data, seed 2" and given["dir"] == str(tmp_path / "results")
    told = wandb.init.return_value
    told.define_metric.assert_called_once_with("*", step_metric="t")
    assert [call.args[0] for call in told.log.call_args_list] == [{"loss": 0.5, "t": 10}, {"score": 2.0, "t": 5}]
    told.finish.assert_called_once_with(exit_code=0)
    wandb.teardown.assert_called_once_with()
    assert record.directory == str(tmp_path / "wandb" / "offline-run-1")


def test_its_own_account_of_the_process_is_left_out(wandb: MagicMock, tmp_path: Path) -> None:
    """The command line and the console may hold passwords."""
    WeightsAndBiases(settings(tmp_path), {}, "name")
    given = wandb.init.call_args.kwargs["settings"]
    assert given["x_disable_meta"] and given["console"] == "off" and not given["save_code"]


@pytest.mark.parametrize(
    ("mode", "remedy"), [("online", "log in by `wandb login`"), ("offline", "set use_wandb=False")]
)
def test_a_run_is_refused_in_one_sentence(wandb: MagicMock, tmp_path: Path, mode: str, remedy: str) -> None:
    wandb.init.side_effect = Refused("api key 0123")
    with pytest.raises(ConfigError, match=f"does not take the run .Refused.; {remedy}") as refusal:
        WeightsAndBiases(settings(tmp_path, mode), {}, "name")
    assert "0123" not in str(refusal.value)


@pytest.mark.parametrize("project", ["a/b", "a:b", "a" * 129])
def test_a_project_that_it_would_refuse_is_named_before_a_run_exists(wandb: MagicMock, project: str) -> None:
    with pytest.raises(ConfigError, match="wandb_project=.* takes at most 128 characters and none of"):
        rehearse(configuration("bc", use_wandb=True, wandb_project=project))


def test_a_run_that_breaks_off_is_failed_there(
    wandb: MagicMock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def build(*_: Any) -> None:
        raise ConfigError("as far as this test goes")

    monkeypatch.setattr("run.build", build)
    config = configuration("bc", use_wandb=True, local_results_path=str(tmp_path))
    with pytest.raises(ConfigError, match="as far"):
        run(MagicMock(config=config), config, logging.getLogger("test"))
    wandb.init.return_value.finish.assert_called_once_with(exit_code=1)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="'.\\[wandb\\]'"):
        WeightsAndBiases(settings(tmp_path), {}, "name")


def test_the_key_switches_it_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No password is among what it is told of the configuration."""
    made: dict[str, Any] = {}

    def record(args: Any, config: dict[str, Any], name: str) -> Any:
        made.update(args=args, config=config, name=name)
        raise ConfigError("as far as this test goes")

    monkeypatch.setattr("run.WeightsAndBiases", record)
    config = configuration("bc", use_wandb=True, mongo="mongodb://me:hush@host/db", local_results_path=str(tmp_path))
    with pytest.raises(ConfigError, match="as far"):
        run(MagicMock(config=config), config, logging.getLogger("test"))
    assert (
        made["config"]["mongo"] == "mongodb://me:***@host/db"
        and made["config"]["use_wandb"]
        and made["args"].wandb_mode == "offline"
    )
    assert made["name"] == "bc on mpe/simple_spread/random-100k"
