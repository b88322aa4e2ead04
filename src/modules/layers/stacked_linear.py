"""Linear layers of several independent networks, stacked in one parameter (ensembles, one network per agent)."""

import copy
import math
from typing import TypeVar

import torch as th
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


class StackedLinear(nn.Module):
    """K independent linear layers applied to K batches at once.

    forward: (K, R, in_features) -> (K, R, out_features). Initialised as `nn.Linear`.
    """

    def __init__(self, n_stack: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(th.empty(n_stack, in_features, out_features))  # (K, I, O)
        self.bias = nn.Parameter(th.empty(n_stack, 1, out_features))  # (K, 1, O)
        self.reset_parameters(1.0 / math.sqrt(in_features))

    def reset_parameters(self, bound: float) -> None:
        """Initialise weights and biases uniformly in [-bound, bound] (`nn.Linear`: 1/sqrt(in_features))."""
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, inputs: Tensor) -> Tensor:
        return th.baddbmm(self.bias, inputs, self.weight)  # (K, R, O)


def one_of(stacked: Module, index: int) -> Module:
    """A copy that holds one network of a stack alone, as a stack of one.

    stacked: a module whose parameters and buffers all lead with the stack, (K, ...).
    """
    own = copy.deepcopy(stacked)
    for tensor in (*own.parameters(), *own.buffers()):  # (K, ...) -> (1, ...)
        tensor.data = tensor.data[index : index + 1].clone()
    return own
