"""Orthogonal initial weights."""

import math

import torch as th
from torch import Tensor, nn

from modules.layers.stacked_linear import StackedLinear


@th.no_grad()
def orthogonal_(network: nn.Module, last_gain: float) -> None:
    """Start a network's linear layers with orthogonal weights of gain sqrt(2), the last one's `last_gain`, no biases.

    Recurrent layers stay as they are. Each network of a stack is orthogonal by itself, and so is each agent's of a
    module that holds them in a list `agents`, such as `rnn_ns`.
    """
    for part in getattr(network, "agents", [network]):
        layers = [layer for layer in part.modules() if isinstance(layer, nn.Linear | StackedLinear)]
        for layer in layers:
            gain = last_gain if layer is layers[-1] else math.sqrt(2)
            for weight in matrices(layer):
                nn.init.orthogonal_(weight, gain)
            nn.init.zeros_(layer.bias)


def matrices(layer: nn.Linear | StackedLinear) -> list[Tensor]:
    """The weights of each network in a layer, (inputs, outputs) or (outputs, inputs)."""
    return list(layer.weight) if isinstance(layer, StackedLinear) else [layer.weight]
