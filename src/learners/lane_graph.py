"""A function of tensors as a graph of torch operations: recorded once, then run without Python's work in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch as th
from torch.fx.experimental.proxy_tensor import make_fx


def recorded(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """The function as a graph of the operations that it does with these arguments.

    It must do the same operations in every call with arguments of these shapes: numbers of Python are part of the graph.
    """
    graph = make_fx(function)(*arguments)
    graph.graph.eliminate_dead_code()
    graph.recompile()

    def run(*later: Any) -> Any:
        with th.no_grad():
            return graph(*later)

    return run
