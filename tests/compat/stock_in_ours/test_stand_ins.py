"""Files written as stock's are, over ours: constructors, registries, masks, targets, schedules and what they lack.

The drive of `test_checkout.py` without a checkout.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch as th
import yaml

from components.standarize_stream import RunningMeanStd
from learners import REGISTRY as learner_REGISTRY
from loops.build import build_learner, check_learner
from tests.compat.stock_in_ours.overlay import SHORT, STAND_INS, Copy, copy_of_ours, overlaid, register
from tests.runners.made import build
from utils import config
from utils.errors import ConfigError

DISCRETE = "env_args.continuous_actions=False"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return overlaid(tmp_path_factory.mktemp("everything"), STAND_INS)


@pytest.mark.slow
def test_a_value_learner_with_a_mixer_runs_on_the_episode_runner(everything: Path, tmp_path: Path) -> None:
    """The YAML names the runner and not how many episodes it plays at once, which mpe.yaml sets for another one."""
    copy = Copy(everything, tmp_path)
    copy.check_trained(copy.run("value_stand_in", "mpe", *SHORT, DISCRETE))


@pytest.mark.slow
def test_an_on_policy_learner_runs_on_the_parallel_runner(everything: Path, tmp_path: Path) -> None:
    """Of its own it checks that each update has one rollout, all of it and nothing else, and stock's clocks."""
    copy = Copy(everything, tmp_path)
    logged = copy.check_trained(copy.run("policy_stand_in", "mpe", *SHORT, DISCRETE, "reward_scalarisation=sum"))
    check_layout(copy.runs()[0], logged)


def check_layout(run: Path, logged: dict[str, Any]) -> None:
    """What stock's plot_results.py reads: config.json's keys, and steps and values of equal length in metrics.json."""
    written = json.loads((run / "config.json").read_text())
    assert (written["name"], written["env"], written["env_args"]["key"]) == ("policy_stand_in", "mpe", "simple_spread")
    assert (written["common_reward"], written["reward_scalarisation"], written["seed"]) == (True, "sum", 1)
    assert {"hypergroup", "label", "repeat_id"} <= written.keys()
    # Seeds of one configuration are averaged: nothing else may tell runs apart.
    assert "seed" not in written["env_args"] and not {"unique_token", "results", "device"} & written.keys()
    for series in logged.values():
        assert len(series["steps"]) == len(series["values"]) and all(isinstance(x, float) for x in series["values"])
    assert run.parent.name == "simple_spread" and run.parent.parent.name == "policy_stand_in"


@pytest.mark.slow
def test_single_files_run_beside_ours(tmp_path: Path) -> None:
    """A learner, a critic and a controller without `bs`, with our agents, where several episodes are played at once."""
    directory = copy_of_ours(tmp_path / "copy")
    files = ("learners/onehot_learner.py", "modules/critics/joint.py", "controllers/rowless_controller.py")
    for name in (*files, "config/algs/onehot_stand_in.yaml"):
        shutil.copy(STAND_INS / name, directory / "src" / name)
    register(directory, "controllers", "rowless_mac", "rowless_controller", "RowlessMAC")
    copy = Copy(directory, tmp_path / "results")
    updates = (*SHORT, DISCRETE, "runner=vector", "batch_size_run=2")
    copy.check_trained(copy.run("onehot_stand_in", "mpe", *updates))


def test_learners_that_declare_no_actions_are_discrete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(learner_REGISTRY, "undeclared", type("Undeclared", (), {}))
    args = SimpleNamespace(learner="undeclared", name="x", offline=True)
    assert check_learner(args, {}) is learner_REGISTRY["undeclared"]
    with pytest.raises(ConfigError, match="handles discrete actions"):
        check_learner(args, {"action_space": "continuous"})


def test_an_assertion_with_words_is_a_refusal_and_one_without_a_fault() -> None:
    def refuses(*parts: Any) -> None:
        raise AssertionError("only a common reward")

    def fails(*parts: Any) -> None:
        raise AssertionError

    args = SimpleNamespace(learner="x")
    with pytest.raises(ConfigError, match="learner=x refuses this configuration: only a common reward"):
        build_learner(refuses, None, {}, None, args)  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        build_learner(fails, None, {}, None, args)  # type: ignore[arg-type]


def test_one_value_counts_for_every_entry_of_the_statistics() -> None:
    """A mixer's learner gives the team's targets, (B, T, 1), to statistics of shape (N,)."""
    wide, narrow = RunningMeanStd(shape=(3,)), RunningMeanStd(shape=(1,))
    values = th.randn(5, 7, 1)
    wide.update(values)
    narrow.update(values)
    th.testing.assert_close(wide.mean, narrow.mean.expand(3))
    th.testing.assert_close(wide.var, narrow.var.expand(3))


def test_controllers_that_select_for_whole_batches_play_the_same_episodes() -> None:
    batches = []
    for rowless in (False, True):
        runner, _, _ = build("vector")
        mac = runner.mac
        if rowless:
            select = mac.select_actions
            mac.select_actions = lambda batch, t_ep, t_env=0, test_mode=False, select=select: select(
                batch, t_ep, t_env, test_mode=test_mode
            )
            scheme, groups = runner.new_batch.args[:2]
            runner.setup(scheme, groups, runner.new_batch.keywords["preprocess"], mac)
        batches.append(runner.run(test_mode=True))
    np.testing.assert_array_equal(batches[0]["actions"], batches[1]["actions"])


def test_the_episode_runner_of_an_algorithm_plays_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "default.yaml": {"batch_size_run": 1, "runner": "episode", "dataset": None},
        "envs/e.yaml": {"batch_size_run": 10, "runner": "vector"},
        "algs/one.yaml": {"runner": "episode"},
        "algs/many.yaml": {"runner": "parallel", "batch_size_run": 8},
        "algs/any.yaml": {"lr": 0.1},
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(yaml.safe_dump(content))
    monkeypatch.setattr(config, "CONFIG", tmp_path)
    played = {alg: config.layered_config(alg, "e", {})["batch_size_run"] for alg in ("one", "many", "any")}
    assert played == {"one": 1, "many": 8, "any": 10}


def test_a_learner_whose_package_is_missing_is_refused() -> None:
    def needs(*parts: Any) -> None:
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401

    with pytest.raises(ConfigError, match="learner=x needs the package 'no_such_package', which is not installed"):
        build_learner(needs, None, {}, None, SimpleNamespace(learner="x"))  # type: ignore[arg-type]
