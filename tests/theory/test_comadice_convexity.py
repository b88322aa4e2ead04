"""What ComaDICE's learner minimises is convex in the local values where Theorem 4.2 says so, and not beyond.

`tests/modules/test_monotone_mixer.py` asks the same of the formulas; this of the learner's own losses, with tables for
networks, which are the local values themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch as th
from torch import Tensor

from tests.learners.learner_tester import F64
from tests.theory.tabular_learner import everything, small_problem, tabular_learner

Keys = dict[str, Any]
TOLERANCE = 1e-9  # relative to the values compared
FAILURE = 1e-3  # the least that a wrong mixer must miss by
SEEDS = range(6)
RELU: Keys = {"mixer": "monotone", "mixer_layers": 2, "mixer_activation": "relu"}
LINEAR: list[Keys] = [
    {"mixer": "vdn"},
    {"mixer": "monotone", "mixer_layers": 1},
    {**RELU, "mixer_activation": "linear"},
]
BENT: list[Keys] = [{**RELU, "mixer_activation": name} for name in ("relu", "leaky_relu", "softplus", "elu")]
MIXERS = [*LINEAR, {"mixer": "qmix"}, *BENT]
any_mixer, linear_mixer = (
    pytest.mark.parametrize("keys", keys, ids=lambda keys: "-".join(map(str, keys.values())))
    for keys in (MIXERS, LINEAR)
)


def worst(value_loss: str, keys: Keys, seed: int, alpha: float, spoil: Callable[[Any], None] | None = None) -> float:
    """How far the loss is above the chord between two random tables of nu, relative to it, at worst of 8 pairs.

    spoil: what is done to the mixer first.
    """
    problem = small_problem(seed, deterministic=True)
    sizes = {"mixing_embed_dim": 4, "hypernet_embed": 8, "seed": seed}
    learner = tabular_learner(problem, value_loss=value_loss, alpha=alpha, **sizes, **keys)
    batch = everything(learner, problem)
    for parameter in learner.mixer.parameters():
        parameter.data.add_(th.randn_like(parameter))  # weights and biases larger than at the start
    if spoil is not None:
        spoil(learner.mixer)
    if value_loss != "full":
        learner.q.table.data.normal_(std=3)

    @th.no_grad()
    def loss(table: Tensor) -> float:
        learner.value.table.data.copy_(table)
        return learner("value", batch, {})[0].item()

    def above(left: Tensor, right: Tensor) -> float:
        ends = loss(left), loss(right)
        return (loss((left + right) / 2) - sum(ends) / 2) / (1 + abs(ends[0]) + abs(ends[1]))

    pairs = 3 * th.randn(8, 2, *learner.value.table.shape, dtype=F64)
    return max(above(left, right) for left, right in pairs)


@any_mixer
@pytest.mark.parametrize("value_loss", ["semi_dataset", "poster"])
def test_losses_with_q_fixed_are_convex(value_loss: str, keys: Keys) -> None:
    for seed in SEEDS:
        assert worst(value_loss, keys, seed, (0.1, 1.0, 10.0)[seed % 3]) <= TOLERANCE


@linear_mixer
def test_full_is_convex_for_linear_mixers(keys: Keys) -> None:
    for seed in SEEDS:
        assert worst("full", keys, seed, (0.1, 1.0, 10.0)[seed % 3]) <= TOLERANCE


def test_full_is_not_convex_for_two_relu_layers() -> None:
    """Its advantage, gamma M[nu(s')] - M[nu(s)], is a difference of convex functions. One of the cases shows it."""
    assert worst("full", RELU, 3, 1.0) > FAILURE


@pytest.mark.parametrize("value_loss", ["semi_dataset", "poster"])
def test_mixers_that_are_not_monotone_or_not_convex_fail(value_loss: str) -> None:
    def negative(mixer: Any) -> None:
        mixer.nonneg = lambda raw: -raw.abs()

    def squashed(mixer: Any) -> None:
        mixer.activation = th.tanh

    for spoil in (negative, squashed):
        for seed in SEEDS:
            assert worst(value_loss, RELU, seed, 1.0, spoil) > FAILURE
