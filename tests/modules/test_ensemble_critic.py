"""The split, stacked critic against one `nn.Sequential` a member on concatenated, repeated inputs."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch as th
from torch import Tensor, nn

from modules.critics.counterfactual_layers import counterfactual_values, plain_values
from modules.critics.ensemble_critic import EnsembleCritic
from modules.layers.normaliser import fill_normalisers

R, S, N, A, K, E, H = 5, 7, 3, 2, 4, 3, 6
ARGS = SimpleNamespace(n_agents=N, n_actions=A, hidden_dim=H)
TIGHT = {"rtol": 0.0, "atol": 1e-12}


def make(dtype: th.dtype = th.float64) -> EnsembleCritic:
    th.manual_seed(0)
    statistics = {"state": (th.randn(S), th.rand(S) + 0.5)}
    critic = EnsembleCritic({"state": {"vshape": S}}, ARGS, members=E)
    fill_normalisers(critic, statistics)
    return critic.to(dtype)


def sequential(critic: EnsembleCritic, member: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for stacked in (critic.fc1, critic.fc2, critic.fc3):
        linear = nn.Linear(stacked.weight.shape[1], stacked.weight.shape[2], dtype=stacked.weight.dtype)
        linear.weight.data.copy_(stacked.weight[member].T)
        linear.bias.data.copy_(stacked.bias[member, 0])
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def brute_force(critic: EnsembleCritic, networks: list[nn.Sequential], state: Tensor, joint: Tensor) -> Tensor:
    """Values of every joint action in joint (R, M, N, A), rows built one at a time: (E, R, M)."""
    scaled = (state - critic.normaliser.mean) / critic.normaliser.std
    rows = th.stack([th.cat([scaled[r], joint[r, m].flatten()]) for r in range(R) for m in range(joint.shape[1])])
    return th.stack([network(rows).view(R, -1) for network in networks])


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    th.manual_seed(1)
    state, actions = th.randn(R, S, dtype=th.float64), th.randn(R, N, A, dtype=th.float64)
    return state, actions, th.randn(R, K, N, A, dtype=th.float64), th.rand(R, N, N) < 0.5


def replaced(actions: Tensor, alternatives: Tensor) -> Tensor:
    """Joint actions (R, K*N, N, A) in which agent i alone takes alternative k."""
    rows = []
    for k in range(K):
        for i in range(N):
            joint = actions.clone()
            joint[:, i] = alternatives[:, k, i]
            rows.append(joint)
    return th.stack(rows, dim=1)


def gradients(critic: EnsembleCritic, networks: list[nn.Sequential], ours: Tensor, theirs: Tensor) -> None:
    """Weight gradients of the same random projection agree."""
    th.manual_seed(2)
    direction = th.randn_like(ours)
    stacked = th.autograd.grad((ours * direction).sum(), list(critic.parameters()))
    single = th.autograd.grad((theirs * direction).sum(), [p for net in networks for p in net.parameters()])
    for layer in range(3):
        for member in range(E):
            weight, bias = single[member * 6 + 2 * layer : member * 6 + 2 * layer + 2]
            th.testing.assert_close(stacked[2 * layer][member], weight.T, **TIGHT)
            th.testing.assert_close(stacked[2 * layer + 1][member, 0], bias, **TIGHT)


@pytest.mark.parametrize("method", ["forward", "single", "data_and_single", "subset"])
def test_values_and_gradients_equal_brute_force(method: str) -> None:
    critic = make()
    networks = [sequential(critic, member) for member in range(E)]
    state, actions, alternatives, masks = inputs()
    data = brute_force(critic, networks, state, actions.unsqueeze(1)).squeeze(-1)
    single = brute_force(critic, networks, state, replaced(actions, alternatives)).view(E, R, K, N)
    if method == "forward":
        ours, theirs = critic(state, actions), data
    elif method == "single":
        ours, theirs = critic.single_replacements(state, actions, alternatives), single
    elif method == "data_and_single":
        pair = critic.data_and_single_replacements(state, actions, alternatives)
        ours, theirs = th.cat([p.flatten() for p in pair]), th.cat([data.flatten(), single.flatten()])
    else:
        ours = critic.subset_replacements(state, actions, alternatives[:, 0], masks)
        mixed = [th.where(masks[:, m, :, None], alternatives[:, 0], actions) for m in range(N)]
        theirs = brute_force(critic, networks, state, th.stack(mixed, dim=1))
    th.testing.assert_close(ours, theirs, **TIGHT)
    gradients(critic, networks, ours, theirs)


def test_gradient_reaches_the_alternatives() -> None:
    critic = make()
    state, actions, alternatives, _ = inputs()
    alternatives.requires_grad_()
    ours = critic.single_replacements(state, actions, alternatives, members=1)
    assert ours.shape == (1, R, K, N)
    networks = [sequential(critic, 0)]
    theirs = brute_force(critic, networks, state, replaced(actions, alternatives)).view(1, R, K, N)
    th.testing.assert_close(ours, theirs, **TIGHT)
    ours_grad = th.autograd.grad(ours.square().sum(), alternatives)[0]
    th.testing.assert_close(ours_grad, th.autograd.grad(theirs.square().sum(), alternatives)[0], **TIGHT)


@pytest.mark.parametrize("with_base", [False, True])
@pytest.mark.parametrize("dtype", [th.float32, th.float64])
def test_member_loop_equals_the_plain_formula(dtype: th.dtype, with_base: bool) -> None:
    """The CPU's hand-written forward and backward, oneDNN's float32 kernels included."""
    th.manual_seed(3)
    rows, width, shapes = 40, 16, []
    shapes = [(E, rows, width), (N, rows * K, A), (E, N, A, width), (E, width, width), (E, 1, width)]
    leaves = [th.randn(s, dtype=dtype, requires_grad=True) for s in [*shapes, (E, width, 1), (E, 1, 1)]]
    ours = counterfactual_values(*leaves[:3], tuple(leaves[3:]), with_base)  # type: ignore[arg-type]
    plain = plain_values(*leaves[:3], tuple(leaves[3:]), with_base)  # type: ignore[arg-type]
    tolerance = {"rtol": 1e-4, "atol": 1e-3} if dtype == th.float32 else {"rtol": 1e-12, "atol": 1e-10}
    th.testing.assert_close(ours, plain, **tolerance)
    direction = th.randn_like(ours)
    for a, b in zip(th.autograd.grad(ours, leaves, direction), th.autograd.grad(plain, leaves, direction), strict=True):
        th.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("values", [counterfactual_values, plain_values])
def test_bfloat16_products_stay_close(values: Any) -> None:
    """Values and gradients leave as float32, with the error of 8-bit products, however large the values are."""
    th.manual_seed(3)
    rows, width = 40, 16
    shapes = [(E, rows, width), (N, rows * K, A), (E, N, A, width), (E, width, width), (E, 1, width), (E, width, 1)]
    leaves = [th.randn(s, requires_grad=True) for s in [*shapes, (E, 1, 1)]]
    leaves[-1].data.add_(1000.0)  # bfloat16's steps are 4 there
    plain = plain_values(*leaves[:3], tuple(leaves[3:]), True)  # type: ignore[arg-type]
    ours = values(*leaves[:3], tuple(leaves[3:]), True, th.bfloat16)
    assert ours.dtype == th.float32
    assert 0 < (ours - plain).norm() / (plain - 1000).norm() < 0.02
    direction = th.randn_like(ours)
    for a, b in zip(th.autograd.grad(ours, leaves, direction), th.autograd.grad(plain, leaves, direction), strict=True):
        assert a.dtype == th.float32
        assert (a - b).norm() / b.norm() < 0.15  # a unit near 0 that fires on one side only counts whole


def test_statistics_of_the_dataset_standardise_the_state() -> None:
    critic = make()
    assert not th.equal(critic.normaliser.mean, th.zeros(S, dtype=th.float64))
    plain = EnsembleCritic({"state": {"vshape": S}}, ARGS, members=E)
    assert th.equal(plain.normaliser.mean, th.zeros(S))
