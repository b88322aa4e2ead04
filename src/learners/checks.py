"""What several learners ask of the data, and later of their weights; each refusal is one sentence."""

from collections.abc import Mapping
from typing import Any

import torch as th
from torch import nn

from modules.layers.sizes import field_size
from utils.errors import ConfigError, TrainingError


def check_team_reward(scheme: Mapping[str, Any], learner: str) -> None:
    """Raise ConfigError where agents have rewards of their own."""
    if field_size(scheme, "reward") != 1:
        raise ConfigError(f"{learner} needs one team reward: set common_reward=True")


def check_weights(learner: nn.Module, update: int, t_env: int) -> None:
    """Raise TrainingError, naming the network, if a weight of a learner is not finite; reads the device once."""
    named = {name: weight.detach() for name, weight in learner.named_parameters() if weight.numel()}
    # Both are nan where any number is, in a seventh of the time of `isfinite` on each.
    extremes = [th.stack(weight.aminmax()) for weight in named.values()]  # (2,) each
    finite = th.stack(extremes).isfinite().all(1).tolist() if extremes else []
    bad = [name for name, good in zip(named, finite, strict=True) if not good]
    if bad:
        raise not_finite(f"weights of {bad[0].partition('.')[0]} in", learner, f"by update {update}", t_env)


def not_finite(what: str, learner: nn.Module, when: str, t_env: int) -> TrainingError:
    """The error that ends a training which has diverged. what: of the learner; when: the update."""
    return TrainingError(
        f"the {what} {type(learner).__name__} stopped being finite {when} (seen at t={t_env}): look for non-finite "
        "values in the dataset, or lower the learning rates or the penalty's weight"
    )
