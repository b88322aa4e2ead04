"""The fused layer against the plain formula."""

import pytest
import torch as th
import torch.nn.functional as F
from torch import nn

from modules.layers.affine_relu import _ONEDNN, affine_relu


@pytest.mark.parametrize("width", [8, 160])  # below and above the smallest width of the fused operation
def test_values_and_gradients_are_those_of_the_plain_formula(width: int) -> None:
    th.manual_seed(0)
    layer, inputs = nn.Linear(7, width), th.randn(5, 2, 3, 7, requires_grad=True)
    fused, plain = affine_relu(inputs, layer), F.relu(layer(inputs))
    th.testing.assert_close(fused, plain)
    assert (plain == 0).any() and (plain > 0).any()
    assert ("AffineReLU" in str(fused.grad_fn.next_functions)) == (_ONEDNN and width > 8)  # behind a view
    upstream, sources = th.randn_like(plain), (inputs, *layer.parameters())
    gradients = th.autograd.grad(fused, sources, upstream)
    for left, right in zip(gradients, th.autograd.grad(plain, sources, upstream), strict=True):
        th.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


def test_it_can_be_mapped_over_stacked_parameters() -> None:
    layer, inputs = nn.Linear(7, 160), th.randn(4, 7)
    stacked = {name: th.stack([value, 2 * value]) for name, value in layer.named_parameters()}

    def loss(parameters: dict[str, th.Tensor]) -> th.Tensor:
        return F.relu(F.linear(inputs, parameters["weight"], parameters["bias"])).sum()

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self) -> th.Tensor:
            return affine_relu(inputs, self.layer).sum()

    network = Network()
    mapped = th.func.vmap(
        th.func.grad(lambda own: th.func.functional_call(network, {f"layer.{k}": v for k, v in own.items()}, ()))
    )(stacked)
    expected = th.func.vmap(th.func.grad(loss))(stacked)
    for name, gradient in mapped.items():
        th.testing.assert_close(gradient, expected[name])
