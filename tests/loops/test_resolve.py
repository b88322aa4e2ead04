"""Settings: what a configuration leaves open is filled in once, and nobody changes them afterwards."""

from __future__ import annotations

import copy
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch as th

from loops.build import build
from loops.offline import OfflineTraining
from loops.online import OnlineTraining
from loops.resolve import drawing_settings, resolve, run_settings
from utils.config import Config, layered_config, merge
from utils.logging import Logger
from utils.settings import Settings
from utils.validation import check_values

LOG = logging.getLogger("resolve")
CONTINUOUS = {"n_agents": 3, "n_actions": 2, "state_shape": 54, "action_space": "continuous",
              "action_low": [-1, 0], "action_high": [1, 2]}  # fmt: skip
DISCRETE = {"n_agents": 3, "n_actions": 5, "state_shape": 54, "action_space": "discrete"}


def configuration(alg: str, **updates: Any) -> Config:
    layers = layered_config(alg, "mpe", updates)
    return check_values(merge(layers, {"seed": 3, "use_cuda": False, **updates}))


def test_settings_are_read_as_a_namespace_and_refuse_changes() -> None:
    settings = Settings(a=1, b={"c": 2})
    assert settings.a == 1 and vars(settings) == {"a": 1, "b": {"c": 2}} and not hasattr(settings, "d")
    with pytest.raises(AttributeError, match="args.a cannot be set: a run's configuration is resolved before"):
        settings.a = 2
    with pytest.raises(AttributeError, match="args.d cannot be set"):
        settings.d = 2
    with pytest.raises(AttributeError, match="args.a cannot be set"):
        del settings.a
    more = settings.extended(a=3, d=4)
    assert (more.a, more.d) == (3, 4) and vars(settings) == {"a": 1, "b": {"c": 2}}
    for copied in (copy.deepcopy(settings), pickle.loads(pickle.dumps(settings))):
        assert copied == settings and isinstance(copied, Settings)


@pytest.mark.parametrize(
    ("alg", "continuous", "discrete"),
    [
        ("spacql", ("mean", "deterministic"), ("pi_logits", "multinomial")),
        ("comadice", ("tanh_gaussian", "tanh_gaussian_policy"), ("pi_logits", "multinomial")),
        ("qmix", ("q", "epsilon_greedy"), ("q", "epsilon_greedy")),
    ],
)
def test_what_is_left_open_becomes_what_suits_the_actions(
    alg: str, continuous: tuple[str, str], discrete: tuple[str, str]
) -> None:
    settings = run_settings(configuration(alg), LOG)
    for info, expected in ((CONTINUOUS, continuous), (DISCRETE, discrete)):
        args = resolve(settings, info)
        assert (args.agent_output_type, args.action_selector) == expected
        assert "auto" not in {key: value for key, value in vars(args).items() if key != "threads"}.values()
        assert (args.n_agents, args.n_actions, args.state_shape) == (3, info["n_actions"], 54)
    assert resolve(settings, CONTINUOUS).action_low == [-1.0, 0.0]
    own = resolve(settings, CONTINUOUS | {"action_high": [[1, 2], [1, 2], [3, 2]]})
    assert own.action_low == [[-1.0, 0.0]] * 3 and own.action_high == [[1.0, 2.0], [1.0, 2.0], [3.0, 2.0]]
    assert resolve(settings, CONTINUOUS | {"action_low": [[-1, 0]] * 3}).action_low == [-1.0, 0.0]
    assert not hasattr(resolve(settings, DISCRETE), "action_low")


def test_a_run_has_a_name_a_place_and_a_device() -> None:
    settings = run_settings(configuration("spacql", env_args={"key": "a:b/c"}, local_results_path="/tmp/here"), LOG)
    assert settings.unique_token.startswith("spacql_seed3_a-b-c_2")
    assert settings.results == Path("/tmp/here") and settings.device == "cpu"


@pytest.mark.skipif(th.cuda.is_available(), reason="a CUDA device is here")
def test_without_a_gpu_a_run_is_on_the_cpu_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        settings = run_settings(configuration("spacql", use_cuda=True), LOG)
    assert (settings.device, settings.use_cuda) == ("cpu", False) and "no CUDA device is here" in caplog.text


def test_collection_keeps_every_agents_reward_and_plays_no_more_than_it_writes() -> None:
    config = configuration("random", collect=True, collect_episodes=7, batch_size_run=20)
    settings = run_settings(config, LOG)
    assert settings.common_reward is False and settings.batch_size_run == 7
    assert run_settings(config | {"collect": False}, LOG).batch_size_run == 20


def test_a_drawn_episode_has_settings_of_its_own() -> None:
    settings = run_settings(configuration("spacql", render=True, evaluate=True), LOG)
    drawn = drawing_settings(settings)
    assert (drawn.runner, drawn.batch_size_run, drawn.test_nepisode, drawn.render) == ("episode", 1, 1, False)
    assert drawn.env_args["render_mode"] == "rgb_array" and settings.unique_token in drawn.env_args["replay_path"]
    assert "replay_path" not in settings.env_args or settings.env_args["replay_path"] is None


@pytest.mark.parametrize("offline", [True, False])
def test_nothing_changes_the_settings_of_a_run(offline: bool, tiny_dataset: Path, tmp_path: Path) -> None:
    keys = {"batch_size": 16, "hidden_dim": 8, "test_nepisode": 2, "batch_size_run": 2, "learner_log_interval": 1,
            "dataset": str(tiny_dataset), "local_results_path": str(tmp_path), "t_max": 100}  # fmt: skip
    if not offline:
        keys |= {"offline": False, "input_norm": "none", "buffer_size": 10}
    settings = run_settings(configuration("spacql", **keys), LOG)
    before = copy.deepcopy(vars(settings))
    logger = Logger(LOG)
    parts = build(settings, logger)
    assert vars(settings) == before
    resolved = copy.deepcopy(vars(parts.args))
    assert before.keys() < resolved.keys()
    assert parts.mac.args is parts.learner.args is parts.runner.args is parts.args
    training = (OfflineTraining if offline else OnlineTraining)(parts, logger)
    for _ in range(2):
        training.advance()
    assert parts.evaluator is not None
    parts.evaluator.evaluate(training.t)
    training.save()
    training.close()
    assert training.learner.training_steps and vars(parts.args) == resolved
