from __future__ import annotations

from typing import Any

import pytest

from learners import REGISTRY
from learners.spacql_learner import SPaCQLLearner
from utils.config import config_names, layered_config
from utils.errors import ConfigError
from utils.validation import check_values, keys_of


def config(**updates: Any) -> dict[str, Any]:
    return layered_config("spacql", "mpe", {}) | updates


def test_the_shipped_configurations_are_valid() -> None:
    for env in config_names("envs"):
        for alg in config_names("algs"):
            layers = layered_config(alg, env, {})
            check_values(layers, keys_of(REGISTRY.get(layers["learner"])))


def test_whole_numbers_may_be_written_as_1e4() -> None:
    checked = check_values(config(t_max=1e4))
    assert checked["t_max"] == 10000 and isinstance(checked["t_max"], int)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("t_max", 0), ("t_max", 2.5), ("t_max", None), ("t_max", True), ("t_max", float("inf")),
        ("t_max", float("nan")), ("hidden_dim", -4),
        ("ensemble_size", 0), ("window", 0), ("window", 1.5), ("loss_chunk", -4), ("gamma", 1.01), ("gamma", None),
        ("gamma", float("nan")), ("tau", 0), ("critic_lr", 0), ("grad_norm_clip", -1), ("target_noise", -1),
        ("final_init", -1), ("load_step", -20), ("seed", 2**32), ("seed", "abc"),
        ("input_norm", "batch"), ("train_reward", "median"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{key}="):
        check_values(config(**{key: value}), keys_of(SPaCQLLearner))


def test_null_is_a_value_where_it_means_something() -> None:
    check_values(config(window=None, loss_chunk=None, final_init=None, grad_norm_clip=None), keys_of(SPaCQLLearner))


def test_stock_learners_hand_their_largest_norm_to_torch() -> None:
    class Stock:
        """A learner of stock EPyMARL declares no keys."""

    with pytest.raises(ConfigError, match="^grad_norm_clip=None"):
        check_values(config(grad_norm_clip=None), keys_of(Stock))


def test_modes_that_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        check_values(config(evaluate=True, collect=True))
    with pytest.raises(ConfigError, match="add evaluate=True"):
        check_values(config(render=True))
    with pytest.raises(ConfigError, match="runs are filed under it"):
        check_values(config(name="../elsewhere"))
