"""A linear layer and the ReLU behind it in one operation, for wide layers on a CPU."""

from typing import Any

import torch as th
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

SMALLEST_WIDTH = 128  # below it the operation costs more than it saves
_ONEDNN = th.backends.mkldnn.is_available() and hasattr(th.ops.mkldnn, "_linear_pointwise")


def affine_relu(inputs: Tensor, layer: nn.Linear) -> Tensor:
    """Compute relu(layer(inputs)), equal up to rounding; inputs (..., I) -> (..., O)."""
    if (
        not _ONEDNN
        or inputs.is_cuda
        or inputs.dtype != th.float32
        or layer.out_features < SMALLEST_WIDTH
        or th.compiler.is_compiling()
        or th._C._are_functorch_transforms_active()  # torch.func needs ordinary operations
    ):
        return F.relu(layer(inputs))
    rows = inputs.flatten(0, -2)  # (R, I)
    outputs: Tensor = _AffineReLU.apply(rows, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return outputs.unflatten(0, inputs.shape[:-1])


class _AffineReLU(th.autograd.Function):
    """relu(x W^T + b) by oneDNN's product, which adds the bias and cuts at zero before it writes.

    Backward, x^T d is the fast way round where there are few inputs; autograd has d^T x.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        outputs: Tensor = th.ops.mkldnn._linear_pointwise(inputs, weight, bias, "relu", [], "")  # (R, O)
        ctx.save_for_backward(inputs, weight, outputs)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        inputs, weight, outputs = ctx.saved_tensors
        before = th.ops.aten.threshold_backward(grads[0], outputs, 0)  # (R, O)
        to_inputs: Tensor | None = None
        if ctx.needs_input_grad[0]:
            to_inputs = th.ops.mkldnn._linear_pointwise(before, weight.t(), None, "none", [], "")  # (R, I)
        return to_inputs, th.mm(inputs.t(), before).t(), before.sum(0)
