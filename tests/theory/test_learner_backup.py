"""The learner's target, averaged over sets of replaced agents, is the exact backup on a process made of its batch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch as th
from torch import Tensor

from learners.losses import NEXT, available
from tests.learners.learner_tester import F64, N_AGENTS, setting
from tests.theory.tabular import Array, DecMDP, adaptive_backup, soft_backup, subsets

A = 2
J = A**N_AGENTS


def orders() -> list[Tensor]:
    """One `order`, (n, N), a choice of sets (one a size): the set of size k holds the agents of rank below k."""
    found = []
    for choice in itertools.product(*(subsets(N_AGENTS, k) for k in range(1, N_AGENTS + 1))):
        ranks = []
        for agents in choice:
            first = [*agents, *(i for i in range(N_AGENTS) if i not in agents)]
            ranks.append([first.index(i) for i in range(N_AGENTS)])
        found.append(th.tensor(ranks))
    return found


def prepared() -> tuple[Any, Any, dict[str, Tensor], DecMDP, Array, Array, Array]:
    """A learner, its batch and noise; each row a state that every action leads to; pi, mu and the targets' table."""
    learner, batch, noise = setting(alg="spacql_discrete", n_actions=A, final_init=2.0, uncertainty_ensemble="target")
    states = batch["state"][:, 1]  # (R, S)
    rows = len(states)
    with th.no_grad():
        outputs = learner.outputs(learner.target_mac, batch, NEXT)  # (R, N, A)
        own = learner.policy.sample(outputs, available(batch, NEXT), noise["next"][:, 0])  # (R, N, A), one-hot
        joint = th.eye(A, dtype=F64)[th.tensor(list(itertools.product(range(A), repeat=N_AGENTS)))]  # (J, N, A)
        table = th.stack([learner.target_critic(states, one.expand(rows, -1, -1)) for one in joint], -1)  # (E, R, J)
    logged = th.zeros(rows, J, dtype=F64)
    taken = batch["actions"][:, 1].squeeze(-1) @ th.tensor([A**2, A, 1])  # (R,)
    logged[th.arange(rows), taken] = 1
    stay = np.eye(rows)[:, None].repeat(J, 1)  # (R, J, R)
    reward = batch["reward"][:, 0].numpy().repeat(J, 1)
    mdp = DecMDP(stay, reward, np.full(rows, 1 / rows), learner.args.gamma, N_AGENTS, A)
    return learner, batch, noise, mdp, own.transpose(0, 1).numpy(), logged.numpy(), table.numpy()


def mean_target(learner: Any, batch: Any, noise: dict[str, Tensor]) -> Array:
    """Over all choices of sets, (R,)."""
    targets = []
    for order in orders():
        noise["order"] = order.expand(batch.batch_size, 1, -1, -1)
        with th.no_grad():
            targets.append(learner.target(batch, noise)[0])
    mean: Array = th.stack(targets).mean(0).numpy()
    return mean


def test_with_fixed_weights_it_is_the_soft_partial_backup(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, batch, noise, mdp, pi, logged, table = prepared()
    weights = np.random.default_rng(0).dirichlet(np.ones(N_AGENTS), size=batch.batch_size)  # (R, n)
    monkeypatch.setattr(learner.replacement, "weights", lambda uncertainty, has_next: th.tensor(weights))
    exact = soft_backup(mdp, pi, logged, weights, table.min(0))[:, 0]
    assert np.allclose(mean_target(learner, batch, noise), exact, atol=1e-10)
    shifted = soft_backup(mdp, pi, logged, np.roll(weights, 1, axis=1), table.min(0))[:, 0]
    assert np.abs(shifted - exact).max() > 1e-3  # weights of other sizes are noticed


def test_with_its_own_weights_it_is_the_adaptive_backup() -> None:
    learner, batch, noise, mdp, pi, logged, table = prepared()
    exact = adaptive_backup(mdp, pi, logged, table)[:, 0]
    assert np.allclose(mean_target(learner, batch, noise), exact, atol=1e-10)
    uniform = soft_backup(mdp, pi, logged, np.full(N_AGENTS, 1 / N_AGENTS), table.min(0))[:, 0]
    assert np.abs(uniform - exact).max() > 1e-4  # the weights are not uniform
