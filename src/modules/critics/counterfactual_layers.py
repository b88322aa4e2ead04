"""Layers of an ensemble critic that run once per counterfactual row. SPaCQL spends most of its time here.

In ensemble member e, counterfactual row (g, r, m) enters the first ReLU as base[e, r] + change[g, r*M + m] @
first[e, g]. A second ReLU layer and one output follow. Shapes: base (E, R, H); change (G, R*M, I); first (E, G, I, H);
second (E, H, H), second_bias (E, 1, H); third (E, H, 1), third_bias (E, 1, 1). The result is (E, G*R*M). With
`with_base` it is (E, G*R*M + R), and the last R rows are those without a change.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch as th
from torch import Tensor
from torch.autograd.function import once_differentiable

from modules.processor import amd_family
from modules.threads import Work, spread

# Activations of a layer in all members from which threads share these: handing them over takes up to a millisecond of
# processor time, as much as is saved where there are half as many.
WORTH_SHARING = 2**18
Weights = tuple[Tensor, Tensor, Tensor, Tensor]  # second, second_bias, third, third_bias


def counterfactual_values(
    base: Tensor, change: Tensor, first: Tensor, upper: Weights, with_base: bool, dtype: th.dtype | None = None
) -> Tensor:
    """Values of all rows: by the plain formula on a GPU, by a hand-written loop on a CPU, equal up to rounding.

    dtype: of the hidden layers' activations and products; None for that of the weights. Values and gradients always
    have the dtype of the weights.
    """
    if base.is_cuda:
        return plain_values(base, change, first, upper, with_base, dtype)
    values: Tensor = _on_cpu(base, change, first, upper, with_base, dtype)
    return values


@th.compiler.disable  # type: ignore[untyped-decorator]  # the loop is more than twice as fast as the compiled formula
def _on_cpu(
    base: Tensor, change: Tensor, first: Tensor, upper: Weights, with_base: bool, dtype: th.dtype | None
) -> Tensor:
    # torch.func's vmap and grad need ordinary operations; torch has no public way to ask whether they are at work.
    if th._C._are_functorch_transforms_active():
        return plain_values(base, change, first, upper, with_base, dtype)
    operands = base, change, first, *upper
    if th.is_grad_enabled() and any(operand.requires_grad for operand in operands):
        values: Tensor = _MemberLoop.apply(*operands, with_base, dtype or base.dtype)  # type: ignore[no-untyped-call]
        return values
    return _loop_values(*_lowered(base, change, first, upper, dtype or base.dtype), with_base, None)


def plain_values(
    base: Tensor, change: Tensor, first: Tensor, upper: Weights, with_base: bool, dtype: th.dtype | None = None
) -> Tensor:
    """Values of all rows by the formula, over all members at once."""
    second, second_bias, third, third_bias = upper
    if dtype is not None:
        base, change, first, second, second_bias = (t.to(dtype) for t in (base, change, first, second, second_bias))
    n_rows = base.shape[1]
    hidden = th.matmul(change, first).unflatten(2, (n_rows, -1)) + base[:, None, :, None]  # (E, G, R, M, H)
    hidden = hidden.flatten(1, 3)  # (E, G*R*M, H)
    if with_base:
        hidden = th.cat([hidden, base], dim=1)
    hidden = th.baddbmm(second_bias, th.relu(hidden), second)
    # Values are not bfloat16: near 36 it has steps of 0.25, and critics that differ by less would seem to agree.
    return th.baddbmm(third_bias, th.relu(hidden).to(third.dtype), third).squeeze(-1)


def _lowered(
    base: Tensor, change: Tensor, first: Tensor, upper: Weights, dtype: th.dtype
) -> tuple[Tensor, Tensor, Tensor, Weights]:
    """The operands with what hidden layers are made of in `dtype`."""
    second, second_bias, third, third_bias = upper
    base, change, first, second, second_bias = (t.to(dtype) for t in (base, change, first, second, second_bias))
    return base, change, first, (second, second_bias, third, third_bias)


def _loop_values(
    base: Tensor, change: Tensor, first: Tensor, upper: Weights, with_base: bool, saved: list[Tensor] | None
) -> Tensor:
    """Values of all rows, one member at a time. saved: gets (rows, H) of both hidden layers of each member."""
    second, second_bias, third, third_bias = upper
    n_members, n_rows, width = base.shape
    n_groups, n_per_group, _ = change.shape
    n_changed = n_groups * n_per_group
    n_total = n_changed + n_rows * with_base
    values = third.new_empty(n_members, n_total)
    across = second.transpose(1, 2).contiguous()  # (E, H, H)
    layers: list[tuple[Tensor, Tensor]] = [(base, base)] * n_members

    def work(members: Iterator[int]) -> None:
        for member in members:
            hidden = base.new_empty(n_total, width)
            changed = hidden[:n_changed]
            th.matmul(change, first[member], out=changed.view(n_groups, n_per_group, width))
            changed.view(n_groups, n_rows, -1, width).add_(base[member, :, None])
            if with_base:
                hidden[n_changed:] = base[member]
            hidden.relu_()
            active = _affine_relu(hidden, across[member], second_bias[member, 0])  # (rows, H)
            th.mv(active.to(values.dtype), third[member, :, 0], out=values[member])
            if saved is not None:
                layers[member] = hidden, active
            del hidden, changed, active  # what is not saved serves the next member, and is in the cache

    _each_member(work, values, width)
    if saved is not None:
        saved += itertools.chain(*layers)
    return values.add_(third_bias[:, 0])


def _each_member(work: Work, values: Tensor, width: int) -> None:
    """Have `work` done for all members, by several threads where it is worth it. values: (E, rows)."""
    if values.numel() * width < WORTH_SHARING:
        work(iter(range(len(values))))
    else:
        spread(work, len(values))


class _MemberLoop(th.autograd.Function):
    """The same values and gradients, computed one member at a time so that its activations stay in the cache.

    Members are shared among threads (`modules.threads`). Forward, the base is added in place. Backward,
    the gradient before the last layer is an outer product that is not formed. Instead, `active` holds the gradient of a
    row's value where a unit of the second layer is positive, the last layer's weights are folded into the second
    layer's, and the last layer's own gradient is taken from hidden^T @ active, which the second layer needs too. Hidden
    layers' activations and products have `dtype`; values and gradients have the dtype of the weights.
    """

    @staticmethod
    def forward(
        ctx: Any, base: Tensor, change: Tensor, first: Tensor, second: Tensor, second_bias: Tensor, third: Tensor,
        third_bias: Tensor, with_base: bool, dtype: th.dtype,
    ) -> Tensor:  # fmt: skip
        base, change, first, upper = _lowered(base, change, first, (second, second_bias, third, third_bias), dtype)
        saved: list[Tensor] = []
        values = _loop_values(base, change, first, upper, with_base, saved)
        ctx.save_for_backward(change, first, *upper[:3], *saved)
        ctx.n_rows = base.shape[1]
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad = grads[0].contiguous()  # (E, rows)
        change, first, second, second_bias, third, *saved = ctx.saved_tensors
        dtype, low = third.dtype, first.dtype
        grad_low, third_low = grad.to(low), third.to(low)
        n_members, n_groups, _, width = first.shape
        n_rows, n_changed = ctx.n_rows, n_groups * change.shape[1]
        d_base = first.new_empty(n_members, n_rows, width)
        d_first, products = th.empty_like(first), th.empty_like(second)
        sums = first.new_empty(n_members, width)
        d_change = first.new_empty(n_members, *change.shape) if ctx.needs_input_grad[1] else None
        folded = second * third_low.transpose(1, 2)  # (E, H, H), the last layer's weights in the second's columns

        def work(members: Iterator[int]) -> None:
            active = th.empty_like(saved[0])  # (rows, H), one buffer for all members of a thread
            for member in members:
                hidden, upper = saved[2 * member], saved[2 * member + 1]  # (rows, H)
                _where_positive(grad_low[member, :, None].expand_as(upper), upper, out=active)
                _transposed_times(hidden, active, out=products[member])
                th.sum(active, 0, out=sums[member])
                d_hidden = _times_transposed(active, folded[member])  # (rows, H)
                _where_positive(d_hidden, hidden, out=d_hidden)
                d_changed = d_hidden[:n_changed].view(n_groups, -1, width)  # (G, R*M, H)
                th.bmm(change.transpose(1, 2), d_changed, out=d_first[member])
                by_row = d_changed.view(n_groups, n_rows, -1, width)  # (G, R, M, H)
                th.sum(by_row.sum(2) if by_row.shape[2] > 1 else by_row.squeeze(2), 0, out=d_base[member])
                if len(d_hidden) > n_changed:
                    d_base[member] += d_hidden[n_changed:]
                if d_change is not None:
                    th.bmm(d_changed, first[member].transpose(1, 2), out=d_change[member])
                del d_hidden, d_changed, by_row  # so that the next member reuses their memory, which is in the cache

        _each_member(work, grad, width)
        products, sums = products.to(dtype), sums.to(dtype)
        d_third = (products * second).sum(1) + second_bias[:, 0] * sums  # (E, H)
        third_row = third.transpose(1, 2)  # (E, 1, H)
        return (
            d_base.to(dtype), None if d_change is None else d_change.sum(0).to(dtype), d_first.to(dtype),
            products * third_row, sums.unsqueeze(1) * third_row, d_third.unsqueeze(-1),
            grad.sum(1).view(-1, 1, 1), None, None,
        )  # fmt: skip


# torch multiplies float32 matrices with MKL, which leaves the wide vector units of AMD's Zen 5 idle. oneDNN, which is
# part of torch too, uses them: there it is up to twice as fast on tall matrices. Elsewhere the two are alike, except
# that oneDNN copies a transposed matrix first (`python benchmarks/operators.py`). Both keep float32 precision; bfloat16
# goes to oneDNN where the processor has it.
def _onednn_dtypes() -> tuple[th.dtype, ...]:
    if not (th.backends.mkldnn.is_available() and hasattr(th.ops.mkldnn, "_linear_pointwise")):
        return ()
    return (th.float32, th.bfloat16) if th.ops.mkldnn._is_mkldnn_bf16_supported() else (th.float32,)


_ONEDNN_DTYPES = _onednn_dtypes()
_COPIES_PAY = (amd_family() or 0) >= 26


def _where_positive(values: Tensor, gate: Tensor, out: Tensor) -> None:
    """Write values where gate > 0 and 0 elsewhere to `out`: the backward pass of a ReLU.

    A private operator: with the public formula, values * (gate > 0), a critic update takes 1.14 to 1.34 times
    as long (`python benchmarks/operators.py`).
    """
    th.ops.aten.threshold_backward.grad_input(values, gate, 0, grad_input=out)


def _affine_relu(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute relu(inputs @ weight^T + bias). inputs (rows, I), weight (O, I), bias (O,)."""
    if inputs.dtype in _ONEDNN_DTYPES:
        fused: Tensor = th.ops.mkldnn._linear_pointwise(inputs, weight, bias, "relu", [], "")
        return fused
    return th.addmm(bias, inputs, weight.t()).relu_()


def _times_transposed(inputs: Tensor, weight: Tensor) -> Tensor:
    """Compute inputs @ weight^T. inputs (rows, O), weight (I, O)."""
    if inputs.dtype in _ONEDNN_DTYPES:
        product: Tensor = th.ops.mkldnn._linear_pointwise(inputs, weight, None, "none", [], "")
        return product
    return th.mm(inputs, weight.t())


def _transposed_times(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Write left^T @ right to `out`. left (rows, I), right (rows, O), out (I, O)."""
    if _COPIES_PAY and left.dtype in _ONEDNN_DTYPES:
        out.copy_(th.ops.mkldnn._linear_pointwise(left.t(), right.t(), None, "none", [], ""))
    else:
        th.mm(left.t(), right, out=out)
