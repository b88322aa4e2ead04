from __future__ import annotations

import pytest
import torch as th
from torch import nn

from modules.layers.normaliser import Normaliser
from modules.layers.squash import squash
from modules.layers.stacked_linear import StackedLinear


def test_squash_reaches_its_bounds_and_centres_zero() -> None:
    low, high = th.tensor([-1.0, 0.0]), th.tensor([1.0, 4.0])
    assert squash(th.zeros(2), low, high).tolist() == [0.0, 2.0]
    assert th.allclose(squash(th.full((2,), 50.0), low, high), high)
    assert th.allclose(squash(th.full((2,), -50.0), low, high), low)


def test_stacked_linear_equals_its_members() -> None:
    layer = StackedLinear(3, 4, 2)
    inputs = th.randn(3, 5, 4)
    for k in range(3):
        single = nn.Linear(4, 2)
        single.weight.data, single.bias.data = layer.weight[k].t(), layer.bias[k, 0]
        assert th.allclose(layer(inputs)[k], single(inputs[k]), atol=1e-6)
    assert layer.weight.abs().max() <= 0.5  # nn.Linear's start: 1/sqrt(4)


def test_normaliser_standardises_and_leaves_constant_columns_unscaled() -> None:
    data = th.randn(1000, 3) * th.tensor([2.0, 5.0, 0.0]) + 1.0
    layer = Normaliser(3)
    assert th.equal(layer(data), data)
    layer.fill(data.mean(0), data.std(0))
    assert layer(data)[:, :2].std(0).sub(1).abs().max() < 1e-5 and layer(data)[:, 2].eq(0).all()
    assert set(layer.state_dict()) == {"mean", "std"} and not list(layer.parameters())
    with pytest.raises(ValueError, match="the layer needs"):
        layer.fill(th.zeros(2), th.ones(2))
