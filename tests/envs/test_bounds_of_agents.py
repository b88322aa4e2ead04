"""Continuous agents with bounds of their own: what environments say, and that what is recorded was executed."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from components.action_selectors import REGISTRY as selector_REGISTRY
from components.scheme import build_scheme
from datasets.dataset import read_dataset, write_dataset
from envs import REGISTRY, VECTOR_REGISTRY
from envs.process_env import ProcessVectorEnv
from envs.wrappers.spaces import Actions
from loops import collect
from loops.build import build
from loops.collect import flat_rows
from loops.resolve import dimensions, run_settings
from runners import REGISTRY as runner_REGISTRY
from utils.config import layered_config, merge
from utils.errors import DatasetError, EnvError
from utils.logging import Logger
from utils.validation import check_values

TOY = {"key": "tests.envs.toy_env", "time_limit": 9, "continuous": True, "a_ends": 4, "cut": True}
LOW, HIGH = [[-1.0] * 4, [-5.0, 0.0, 0.0, 0.0]], [[2.0] * 4, [1.0, 0.0, 0.0, 0.0]]  # b has one dimension


def box(low: Any, high: Any, dtype: Any = np.float32) -> spaces.Box:
    return spaces.Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)


@pytest.mark.parametrize(
    ("boxes", "low", "high"),
    [
        ([box([-1], [2]), box([-3], [6])], [[-1.0], [-3.0]], [[2.0], [6.0]]),
        ([box([-1, 0], [2, 1]), box([-1, 0], [2, 1])], [-1.0, 0.0], [2.0, 1.0]),
        ([box([1, 3], [2, 4]), box([1], [2])], [1.0, 3.0], [2.0, 4.0]),  # alike in what both have
        ([box([1], [2]), box([0, 3], [2, 4])], [[1.0, 0.0], [0.0, 3.0]], [[2.0, 0.0], [2.0, 4.0]]),
        ([box([-1], [1]), box([[-1, -1]], [[1, 2]]), box([-1], [1])], [-1.0, -1.0], [1.0, 2.0]),
        ([box([0.5], [0.5]), box([0.5], [1], np.float64)], [[0.5], [0.5]], [[0.5], [1.0]]),
    ],
)
def test_agents_that_agree_state_one_box_and_others_one_each(boxes: list[Any], low: Any, high: Any) -> None:
    actions = Actions("key", [str(i) for i in range(len(boxes))], boxes)
    assert (actions.low, actions.high) == (low, high)


def test_every_kind_of_environment_states_them() -> None:
    info = REGISTRY["gymma"](**TOY).get_env_info()
    assert (info["action_low"], info["action_high"]) == (LOW, HIGH)
    assert VECTOR_REGISTRY["gymma"](2, **TOY).get_env_info() == info
    processes = ProcessVectorEnv(1, "gymma", TOY)
    assert processes.get_env_info() == info
    processes.close()
    assert dimensions(info) == dimensions({**info, "action_low": np.array(LOW), "action_high": np.array(HIGH)})
    assert dimensions(info)["action_low"] == LOW


@pytest.mark.parametrize(
    ("low", "message"),
    [
        ([[-1.0, -5.0]], "bounds must be one number per action dimension"),
        ([[-1.0] * 4, [-5.0]], "bounds must be one number per action dimension"),
        ([-1.0, -1.0], "finite bounds of 4 action dimensions"),
        ([-1.0, -1.0, -1.0, np.nan], "finite bounds of 4 action dimensions"),
        ([[-1.0] * 4, [9.0] * 4], "action_low first"),
    ],
)
def test_an_environment_that_states_wrong_bounds_is_refused(low: Any, message: str) -> None:
    env = REGISTRY["gymma"](**TOY)
    env.action_low = low
    with pytest.raises(EnvError, match=message):
        env.get_env_info()


@pytest.mark.parametrize("runner", ["episode", "vector"])
@pytest.mark.parametrize("selector", ["uniform", "gaussian"])
def test_what_is_recorded_is_what_was_executed(runner: str, selector: str) -> None:
    args = SimpleNamespace(
        env="gymma", env_args=TOY, common_reward=True, reward_scalarisation="sum", batch_size_run=1, test_nepisode=1,
        device="cpu", runner_log_interval=1, exploration_noise=3.0,
    )  # fmt: skip
    played = runner_REGISTRY[runner](args, SimpleNamespace(log_stat=lambda *_: None))
    info = played.get_env_info()
    vars(args).update(dimensions(info))
    chooser = selector_REGISTRY[selector](args)

    def select_actions(batch: Any, t_ep: int, t_env: int, bs: Any = slice(None), test_mode: bool = False) -> th.Tensor:
        available = batch["avail_actions"][bs, t_ep]  # (B, N, A)
        return chooser.select_action(th.randn(available.shape), available, t_env)

    mac = SimpleNamespace(select_actions=select_actions, init_hidden=lambda batch_size: None, action_selector=chooser)
    played.setup(*build_scheme(info, args), mac)
    taken: list[dict[str, np.ndarray]] = []
    for _ in range(3):
        rows = flat_rows(played.run(), 1)
        env = played.env if runner == "episode" else played.env.envs[0]
        taken = env._simulator.env.taken
        for step, executed in enumerate(taken):
            recorded = rows["actions"][step]  # (N, A)
            np.testing.assert_array_equal(recorded[0], executed["a"].ravel())
            np.testing.assert_array_equal(recorded[1], [executed["b"][0], 0, 0, 0])
    assert len(taken) == 4


def built(alg: str, **updates: Any) -> Any:
    """A run's parts, in this process: the command line cannot import the toy environment."""
    given = {"seed": 0, "use_cuda": False, **updates}
    config = check_values(merge(layered_config(alg, "gymma", given), given))
    log = logging.getLogger("bounds")
    return build(run_settings(config, log), Logger(log))


@pytest.mark.parametrize("alg", ["spacql", "comadice", "matd3_bc", "bc"])
def test_a_run_collects_learns_and_is_scored_with_them(alg: str, tmp_path: Path) -> None:
    data = str(tmp_path / "own.h5")
    common = {"env_args": {**TOY}, "local_results_path": str(tmp_path / "results"), "batch_size_run": 20}
    parts = built("random", collect=True, collect_to=data, collect_episodes=20, **common)
    collect.run(parts, Logger(logging.getLogger("bounds")), None)  # type: ignore[arg-type]
    dataset = read_dataset(data)
    assert (dataset.card["action_low"], dataset.card["action_high"]) == (LOW, HIGH)
    spread = np.ptp(dataset.arrays["actions"], axis=0)  # (N, A)
    assert (spread[0] > 2.4).all() and spread[1, 0] > 5 and not spread[1, 1:].any()
    sizes = {"hidden_dim": 8, "batch_size": 8, "loss_chunk": None, "test_nepisode": 4}
    parts = built(alg, dataset=data, offline=True, **sizes, **common)
    for step in range(1, 4):
        parts.learner.train(parts.buffer.sample(8), step, step)
    parts.learner.check_finite(3)
    parts.evaluator.evaluate(3)
    test_env = parts.runner._test_env.envs[0]
    assert len(test_env._simulator.env.taken) == 4


def test_a_run_in_an_environment_of_other_bounds_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "own.h5"
    common = {"env_args": {**TOY}, "local_results_path": str(tmp_path), "batch_size_run": 4}
    parts = built("random", collect=True, collect_to=str(data), collect_episodes=4, **common)
    collect.run(parts, Logger(logging.getLogger("bounds")), None)  # type: ignore[arg-type]
    made = read_dataset(data)
    before = {**made.card, "action_low": [-5.0, -1.0, -1.0, -1.0], "action_high": [2.0] * 4}  # around both agents
    write_dataset(data := tmp_path / "before.h5", made.arrays, made.episode_offsets, before)
    with pytest.raises(DatasetError, match="so collect it anew"):
        built("bc", dataset=str(data), **common)
    assert built("bc", dataset=str(data), **{**common, "env": None}).args.action_low == [-5.0, -1.0, -1.0, -1.0]
