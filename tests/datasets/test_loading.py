from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.scheme import build_scheme
from datasets.agreement import check_environment, environment_mismatch
from datasets.dataset import OfflineDataset, read_dataset
from datasets.loading import (
    build_buffer,
    data_statistics,
    load_dataset,
    scaled_reward,
)
from loops.resolve import dimensions
from utils.errors import ConfigError, DatasetError

SPREAD = {"key": "simple_spread", "time_limit": 25, "continuous_actions": True}
LOG = logging.getLogger("test")


@pytest.fixture
def dataset(tiny_dataset: Path) -> OfflineDataset:
    return read_dataset(tiny_dataset)


def settings(**keys: Any) -> SimpleNamespace:
    args = SimpleNamespace(
        name="spacql", dataset="tiny", memory_map=False, env="mpe", env_args=SPREAD, window=1, burn_in=0, seed=0,
        train_reward="mean", reward_scaling="none", common_reward=True, obs_last_action=False, buffer_cpu_only=True,
        device="cpu",
    )  # fmt: skip
    vars(args).update(keys)
    return args


def team_reward(args: SimpleNamespace, dataset: OfflineDataset) -> np.ndarray:
    """The rewards a learner would see, over many draws."""
    vars(args).update(dimensions(dataset.env_info()))
    buffer = build_buffer(args, dataset, *build_scheme(dataset.env_info(), args), LOG)
    return np.asarray(buffer.sample(20000)["reward"][:, 0])


@pytest.mark.parametrize("train_reward", ["mean", "sum", "agent0"])
def test_scaling_speaks_of_the_reward_that_is_learned_from(train_reward: str, dataset: OfflineDataset) -> None:
    plain = team_reward(settings(train_reward=train_reward), dataset)
    centred = team_reward(settings(train_reward=train_reward, reward_scaling="centre"), dataset)
    standard = team_reward(settings(train_reward=train_reward, reward_scaling="standardise"), dataset)
    shift = (plain - centred)[0, 0]  # the same draws: the sampler's seed is the same
    assert np.allclose(plain - centred, shift, atol=1e-5)
    assert np.allclose(centred / standard, (centred / standard)[0], rtol=1e-3)
    assert abs(centred.mean()) < 5 * plain.std() / 20000**0.5
    assert standard.std() == pytest.approx(1.0, abs=0.03)


def test_team_rewards_reduce_over_agents(dataset: OfflineDataset) -> None:
    mean, total = (team_reward(settings(train_reward=how), dataset) for how in ("mean", "sum"))
    assert np.allclose(3 * mean, total, rtol=1e-5)
    every = team_reward(settings(common_reward=False), dataset)
    assert every.shape == (20000, 3) and np.allclose(every.mean(1, keepdims=True), mean, rtol=1e-5, atol=1e-6)


def test_windows_carry_the_action_before_them_for_agents_that_see_it(dataset: OfflineDataset) -> None:
    args = settings(obs_last_action=True)
    vars(args).update(dimensions(dataset.env_info()))
    buffer = build_buffer(args, dataset, *build_scheme(dataset.env_info(), args), LOG)
    batch = buffer.sample(500)
    before = batch["prev_actions_onehot"][:, 0]  # zeros on an episode's first step alone
    assert 0 < (before == 0).all(-1).all(-1).float().mean() < 0.1
    assert np.array_equal(batch["prev_actions_onehot"][:, 1], batch["actions"][:, 0])


def test_input_statistics_are_those_of_all_rows(dataset: OfflineDataset) -> None:
    args = settings()
    buffer = build_buffer(args, dataset, *build_scheme(dataset.env_info(), args), LOG)
    found = data_statistics(dataset, buffer, gamma=0.95).inputs
    obs = dataset.arrays["obs"].astype(np.float64)  # (R, N, O); the state is the observations side by side
    shapes = {"obs": (3, 18), "state": (54,)}
    assert found.keys() == shapes.keys()
    for field, shape in shapes.items():
        mean, std = (np.asarray(part) for part in found[field])
        assert mean.shape == std.shape == shape and mean.dtype == np.float32
        assert np.allclose(mean, obs.mean(0).reshape(shape), atol=1e-5)
        assert np.allclose(std, obs.std(0).reshape(shape), atol=1e-5)


def test_a_buffer_leaves_the_scheme_as_it_is(dataset: OfflineDataset) -> None:
    args = settings()
    scheme, groups, preprocess = build_scheme(dataset.env_info(), args)
    before = {key: dict(field) for key, field in scheme.items()}
    buffer = build_buffer(args, dataset, scheme, groups, preprocess, LOG)
    assert scheme == before and "mean" not in buffer.scheme["obs"]


def test_scaling_leaves_final_rows_and_the_file_alone(dataset: OfflineDataset) -> None:
    before = dataset.arrays["reward"].copy()
    scaled = scaled_reward(settings(reward_scaling="centre"), dataset, LOG)
    assert not scaled[dataset.episode_offsets[1:] - 1].any()
    assert np.array_equal(dataset.arrays["reward"], before)


@pytest.mark.parametrize("train_reward", ["mean", "sum", "agent0"])
def test_own_rewards_are_scaled_by_the_statistics_of_all_agents(dataset: OfflineDataset, train_reward: str) -> None:
    dataset.arrays["reward"] = np.random.default_rng(0).normal(3, 2, dataset.arrays["reward"].shape).astype(np.float32)
    chosen = settings(reward_scaling="standardise", common_reward=False, train_reward=train_reward)
    scaled = scaled_reward(chosen, dataset, LOG)
    steps = np.delete(scaled, dataset.episode_offsets[1:] - 1, axis=0)  # without final rows
    assert steps.mean() == pytest.approx(0, abs=1e-4) and steps.std() == pytest.approx(1, abs=1e-4)


def test_shifting_rewards_in_data_with_terminals_is_said(
    dataset: OfflineDataset, caplog: pytest.LogCaptureFixture
) -> None:
    dataset.card["counts"]["terminals"] = 3
    scaled_reward(settings(reward_scaling="centre"), dataset, LOG)
    assert "terminal states" in caplog.text


def test_wrong_choices_are_refused(dataset: OfflineDataset) -> None:
    with pytest.raises(ConfigError, match="none is set"):
        load_dataset(settings(dataset=None))
    constant = np.ones_like(dataset.arrays["reward"])
    dataset.arrays["reward"] = constant
    with pytest.raises(DatasetError, match="nothing to standardise"):
        scaled_reward(settings(reward_scaling="standardise"), dataset, LOG)


def test_a_dataset_is_scored_in_its_own_environment_only(dataset: OfflineDataset) -> None:
    info = dataset.env_info()
    check_environment(settings(), dataset, info)
    with pytest.raises(DatasetError, match="env_args.key is simple_spread there and simple_tag here"):
        check_environment(settings(env_args=SPREAD | {"key": "simple_tag"}), dataset, info)
    longer = SPREAD | {"time_limit": 50, "render_mode": "rgb_array"}
    with pytest.raises(DatasetError, match="env_args.time_limit is 25 there and 50 here"):
        check_environment(settings(env_args=longer), dataset, info)
    dataset.card["environment"] = {"env": None, "env_args": {}}
    with pytest.raises(DatasetError, match="state the environment in its card .docs/your-data.md#with-the-environment"):
        check_environment(settings(), dataset, info)
    assert "#with-the-environment tells how a file" in str(environment_mismatch(settings(), dataset.card))
    dataset.card["environment"] = {"env": "mpe", "env_args": SPREAD}
    with pytest.raises(DatasetError, match="has n_actions 2, the environment 5"):
        check_environment(settings(), dataset, info | {"n_actions": 5})
    with pytest.raises(DatasetError, match="action_low"):
        check_environment(settings(), dataset, info | {"action_low": [0.0, 0.0]})
