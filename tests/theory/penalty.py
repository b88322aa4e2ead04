"""CQL's penalties on a process known exactly: how far below the true value of a policy pi they put the estimate.

At the solution

    Q(s, a) = r + gamma P V - alpha / 2 (softmax Q(s, a) / mu(a | s) - 1),  V(s) = Q(s, pi(s)),

so that V lies below the true value of pi wherever the data have pi's joint action less often than softmax Q has.
test_joint_penalty.py is of MACQL, test_discrete_penalty.py of `iql_cql` and `qmix_cql`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch as th
from torch import Tensor

from tests.learners.learner_tester import OBS
from tests.theory.dice import Problem
from tests.theory.tabular import Array, q_of

N_STATES, JOINT = OBS, 4


def fixed_point(loss: Callable[[], Tensor], table: Tensor, target: Tensor) -> Array:
    """The table that minimises the loss while `target` is its copy: steps of Newton's method, each followed by it."""
    for _ in range(20):
        (slope,) = th.autograd.grad(loss(), table, create_graph=True)  # (S, J)
        curvature = [th.autograd.grad(entry, table, retain_graph=True)[0].flatten() for entry in slope.flatten()]
        # A sum of agents' values stays the same where one rises and the other falls: there the curvature is 0.
        step = (th.linalg.pinv(th.stack(curvature), hermitian=True) @ slope.detach().flatten()).view_as(table)
        with th.no_grad():
            table -= step
            target.copy_(table)
    assert step.abs().max() < 1e-5
    return np.asarray(table.detach().numpy(), np.float64)


def excess(case: Problem, pi: Array, q: Array) -> tuple[Array, Array]:
    """softmax Q / mu - 1 at pi's joint actions, (S,), and true value minus estimate, (S,)."""
    states = np.arange(N_STATES)
    softmax = np.exp(q - q.max(-1, keepdims=True))
    softmax /= softmax.sum(-1, keepdims=True)
    true = q_of(case.mdp, np.eye(JOINT)[pi])
    return (softmax / case.behaviour)[states, pi] - 1, (true - q)[states, pi]
