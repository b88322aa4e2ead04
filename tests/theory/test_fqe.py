"""Fitted Q evaluation finds a policy's exact value on processes known exactly, whatever the behaviour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.learners.learner_tester import F64, make_learner
from tests.theory.dice import Problem
from tests.theory.tabular import Array
from tests.theory.tabular_learner import N_STATES, JointTable, everything, small_problem


def fqe_learner(problem: Problem) -> Any:
    """An FQE learner for random deterministic policies, whose critic is a table."""
    mdp = problem.mdp
    learner = make_learner(
        "fqe", dtype=F64, discrete=True, n_agents=mdp.n_agents, n_actions=mdp.n_actions, state_shape=N_STATES,
        gamma=mdp.gamma, input_norm="none", critic_lr=0.05, tau=1.0, grad_norm_clip=1e9, ensemble_size=1,
        final_init=3.0, mac="non_shared_mac", agent="mlp_ns", obs_agent_id=False, obs_last_action=False,
    )  # fmt: skip
    learner.critic = JointTable(N_STATES, mdp.n_actions)
    learner.prepare()
    return learner


def exact_values(learner: Any, problem: Problem) -> Array:
    """Q of the learner's policy, (S, J), from V = (I - gamma P_pi)^-1 r_pi."""
    mdp = problem.mdp
    batch = everything(learner, problem)
    chosen = learner.actions(batch, slice(None, 1), None).argmax(-1)  # (R, N)
    states = batch["state"][:, 0].argmax(-1)  # (R,)
    joint = np.zeros(N_STATES, dtype=int)
    joint[states.numpy()] = (chosen[:, 0] * mdp.n_actions + chosen[:, 1]).numpy()
    rows = np.arange(N_STATES)
    value = np.linalg.solve(np.eye(N_STATES) - mdp.gamma * mdp.transition[rows, joint], mdp.reward[rows, joint])
    q: Array = mdp.reward + mdp.gamma * mdp.transition @ value
    return q


@pytest.mark.parametrize(("seed", "deterministic"), [(0, True), (1, True), (2, False)])
def test_it_fits_the_exact_value_of_the_policy(seed: int, deterministic: bool) -> None:
    problem = small_problem(seed, deterministic)
    learner = fqe_learner(problem)
    exact = exact_values(learner, problem)
    batch = everything(learner, problem)
    for step in range(1, 601):
        learner.train(batch, step, 0)
    found = learner.critic.table.detach().flatten(1).numpy()  # (S, J); the behaviour takes every pair
    assert np.abs(found - exact).max() < 0.02 * np.ptp(exact)
    other = small_problem(seed, deterministic, gamma=0.8)
    assert np.abs(found - exact_values(learner, other)).max() > 0.1 * np.ptp(exact)
