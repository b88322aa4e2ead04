"""Proposition 1: ICQL-QS's averaged temporal-difference losses have the gradient of one centralised loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from torch import Tensor

from tests.theory.tabular import Array, DecMDP, backup, partial_backup, random_joint, random_mdp, replaced

F64 = th.float64
AGENTS = pytest.mark.parametrize("n", [2, 3, 4])


class Setting:
    """A small tanh network for Q on a random process; softmax policies; data with correlated behaviour."""

    def __init__(self, n: int) -> None:
        rng = np.random.default_rng(n)
        self.mdp: DecMDP = random_mdp(rng, n, n_states=3)
        self.logged: Array = random_joint(rng, self.mdp, 1.0)
        logits = rng.normal(0, 1, (n, 3, 2))
        self.pi: Array = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)  # softmax policies
        self.data = th.tensor(rng.dirichlet(np.ones(3 * 2**n)).reshape(3, 2**n), dtype=F64)  # D, (S, J)
        self.features = th.tensor(rng.normal(0, 1, (3, 2**n, 5)), dtype=F64)
        self.theta = th.tensor(rng.normal(0, 1, 5 * 4 + 4), dtype=F64)

    def q(self, theta: Tensor) -> Tensor:
        """Q_theta of every state and joint action, (S, J)."""
        return th.tanh(self.features @ theta[:20].view(5, 4)) @ theta[20:]

    def targets(self, theta: Tensor) -> list[Tensor]:
        """T_i^ind Q_theta of every agent (eq. 1), constants."""
        q = self.q(theta).numpy()
        backups = [backup(self.mdp, replaced(self.pi, self.logged, (i,)), q) for i in range(self.mdp.n_agents)]
        return [th.tensor(one, dtype=F64) for one in backups]

    def loss(self, theta: Tensor, target: Tensor) -> Tensor:
        """E_D (Q_theta - target)^2, as in eq. 2."""
        return (self.data * (self.q(theta) - target).square()).sum()


def total(setting: Setting, theta: Tensor, targets: list[Tensor]) -> Tensor:
    """The sum of the losses."""
    return th.stack([setting.loss(theta, target) for target in targets]).sum()


def gradient(setting: Setting, targets: list[Tensor]) -> Tensor:
    """Of the sum of the losses."""
    theta = setting.theta.clone().requires_grad_()
    return th.autograd.grad(total(setting, theta, targets), theta)[0]


@AGENTS
def test_averaged_losses_have_the_gradient_of_the_centralised_loss(n: int) -> None:
    """With eq. 2's square, twice that of eq. 16's half square; the sum over agents gives 2 n times it."""
    setting = Setting(n)
    targets = setting.targets(setting.theta)
    average = th.stack(targets).mean(0)
    centralised = 0.5 * gradient(setting, [average])  # of eq. 16
    summed = gradient(setting, targets)
    assert centralised.norm() > 1e-3
    assert th.allclose(0.5 * summed / n, centralised, atol=1e-12)  # half squares on both sides, as the proof has them
    assert th.allclose(summed / n, 2 * centralised, atol=1e-12)
    assert not th.allclose(summed / n, centralised, rtol=1e-2)


@AGENTS
def test_the_gradient_agrees_with_finite_differences(n: int) -> None:
    """Targets held at theta; a target that moves along gives another gradient: the identity is about semi-gradients."""
    setting = Setting(n)
    targets = setting.targets(setting.theta)
    held, moving = [], []
    for direction in th.eye(len(setting.theta), dtype=F64) * 1e-5:
        up, down = setting.theta + direction, setting.theta - direction
        there, back = setting.targets(up), setting.targets(down)
        held.append(total(setting, up, targets) - total(setting, down, targets))
        moving.append(total(setting, up, there) - total(setting, down, back))
    centralised = 2 * n * 0.5 * gradient(setting, [th.stack(targets).mean(0)])
    assert th.allclose(th.stack(held) / 2e-5, centralised, atol=1e-7)
    assert (th.stack(moving) / 2e-5 - centralised).norm() > 0.05 * centralised.norm()


@AGENTS
def test_the_averaged_operator_is_the_replacement_of_one_agent(n: int) -> None:
    """T^ai of eq. 15 is T^(1) of eq. 3."""
    setting = Setting(n)
    q = setting.q(setting.theta).numpy()
    average = th.stack(setting.targets(setting.theta)).mean(0).numpy()
    assert np.allclose(average, partial_backup(setting.mdp, setting.pi, setting.logged, 1, q), atol=1e-12)
    assert not np.allclose(average, partial_backup(setting.mdp, setting.pi, setting.logged, 2, q), atol=1e-3)


@AGENTS
def test_the_losses_differ_by_the_spread_of_the_targets(n: int) -> None:
    """Same gradient, different value: mean_i L_i = E (Q - T^ai Q)^2 + E Var_i(T_i Q)."""
    setting = Setting(n)
    targets = th.stack(setting.targets(setting.theta))
    losses = total(setting, setting.theta, list(targets)) / n
    spread = (setting.data * targets.var(0, correction=0)).sum()
    assert spread > 1e-6
    assert losses.item() == pytest.approx((setting.loss(setting.theta, targets.mean(0)) + spread).item())
