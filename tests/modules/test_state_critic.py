"""Values of states against plain `nn.Linear` networks with copied weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch as th
from torch import Tensor

from modules.critics import StateCritic
from modules.layers.normaliser import fill_normalisers
from tests.modules.test_ensemble_critic import sequential

R, S, H = 6, 7, 8
F64 = th.float64
TIGHT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}
MEAN, STD = th.linspace(-1, 1, S, dtype=F64), th.linspace(0.5, 2, S, dtype=F64)


def random(*shape: int, seed: int = 0) -> Tensor:
    return th.randn(*shape, generator=th.Generator().manual_seed(seed), dtype=F64)


def make(members: int, n_outputs: int) -> Any:
    th.manual_seed(0)
    args = SimpleNamespace(hidden_dim=H)
    critic = StateCritic({"state": {"vshape": S}}, args, members, n_outputs).to(F64)
    fill_normalisers(critic, {"state": (MEAN, STD)})
    return critic


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("members", [1, 4])
def test_values_and_gradients_equal_loops(members: int, n_outputs: int) -> None:
    critic, state = make(members, n_outputs), random(R, S).requires_grad_()
    plain = [sequential(critic, member) for member in range(members)]
    rows = [[network((state[row] - MEAN) / STD) for row in range(R)] for network in plain]
    theirs = th.stack([th.stack(values) for values in rows])  # (E, R, n_outputs)
    theirs = theirs.squeeze(-1) if n_outputs == 1 else theirs
    ours = critic(state)
    assert ours.shape == ((members, R) if n_outputs == 1 else (members, R, n_outputs))
    th.testing.assert_close(ours, theirs, **TIGHT)
    direction = random(*ours.shape, seed=2)
    pair = [th.autograd.grad(values, state, direction, retain_graph=True)[0] for values in (ours, theirs)]
    th.testing.assert_close(*pair, **TIGHT)
    stacked = th.autograd.grad(ours, list(critic.parameters()), direction)
    single = th.autograd.grad(theirs, [p for network in plain for p in network.parameters()], direction)
    for member in range(members):
        for layer in range(3):
            weight, bias = single[6 * member + 2 * layer : 6 * member + 2 * layer + 2]
            th.testing.assert_close(stacked[2 * layer][member], weight.T, **TIGHT)
            th.testing.assert_close(stacked[2 * layer + 1][member, 0], bias, **TIGHT)


def test_members_start_apart() -> None:
    values = make(3, 1)(random(R, S))
    assert (values[0] - values[1]).abs().min() > 1e-6 and (values[1] - values[2]).abs().min() > 1e-6
