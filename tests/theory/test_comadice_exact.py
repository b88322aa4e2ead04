"""ComaDICE's learner against exact answers: the dual and its weights, their gradients, what diverges, the policies.

LBFGS on the learner's pure losses reaches the oracle's digits for every divergence and alpha. `train`, whose cost is
that of Adam, is held against it in two cases where e is not learned and, where e and nu learn together, in all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.losses import NOW
from modules.divergences import REGISTRY
from tests.learners.learner_tester import F64
from tests.theory.dice import Problem, Solution, dual_value, make_problem, solve_dual
from tests.theory.tabular import Array, marginals
from tests.theory.tabular_learner import (
    N_STATES,
    everything,
    make_rows,
    mean,
    minimise,
    pair_table,
    small_problem,
    tabular_learner,
    train,
)

SEEDS = range(3)
TINY = 1e-3  # weights below are held to a part of this, not of themselves: they are exp of a large number
X = (-4.0, -2.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0)  # A / alpha, one a state and agent
every_divergence = pytest.mark.parametrize("name", REGISTRY)
every_alpha = pytest.mark.parametrize("alpha", [1.0, 0.1, 0.01])


def optimist(problem: Problem, **config: Any) -> tuple[Any, EpisodeBatch]:
    """A learner whose nu is no return's: advantages are <= 0, where no f* is steep. Without a loss of policies."""
    learner = tabular_learner(problem, **config)
    learner.LOSSES = learner.LOSSES[:-1]  # policies learn from values and never back
    learner.value.table.data.fill_(1 / (1 - problem.mdp.gamma) / problem.mdp.n_agents)
    return learner, everything(learner, problem)


def weight_error(learner: Any, batch: EpisodeBatch, solution: Solution) -> float:
    """The largest error of the policies' weights at logged pairs, relative to w*, or to TINY where w* is smaller."""
    found = pair_table(batch, learner.policy_weight(batch))  # (S, J)
    return float((np.abs(found - solution.weights) / np.maximum(solution.weights, TINY)).max())


def level(learner: Any, batch: EpisodeBatch) -> float:
    """E nu^tot(s_0)."""
    return mean(batch, learner.start_nu(batch))


def weight_by_state(learner: Any, batch: EpisodeBatch, problem: Problem) -> Array:
    """E[w | s], (S,)."""
    weights = pair_table(batch, learner.policy_weight(batch))  # (S, J)
    found: Array = (problem.occupancy * weights).sum(1) / problem.occupancy.sum(1)
    return found


# -- the dual --------------------------------------------------------------------------------------------------------


@every_divergence
@every_alpha
def test_full_is_the_dual_where_nothing_is_random(name: str, alpha: float) -> None:
    for seed in SEEDS:
        problem = small_problem(seed, deterministic=True)
        learner, batch = optimist(problem, divergence=name, alpha=alpha)
        solution = solve_dual(problem, REGISTRY[name], alpha)
        assert weight_error(learner, batch, solution) > 0.1  # at the start
        assert minimise(learner, batch) == pytest.approx(solution.value, abs=1e-8)
        assert weight_error(learner, batch, solution) < 1e-4
        assert mean(batch, learner.policy_weight(batch)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("name", "alpha"), [("soft_chi2", 0.1), ("kl", 0.1)])
def test_training_solves_it(name: str, alpha: float) -> None:
    problem = small_problem(0, deterministic=True, gamma=0.7)
    learner, batch = optimist(problem, divergence=name, alpha=alpha, value_lr=0.1)
    solution = solve_dual(problem, REGISTRY[name], alpha)
    train(learner, batch, 400, final=1e-3)
    assert learner("value", batch, {})[0].item() == pytest.approx(solution.value, abs=1e-5)
    assert weight_error(learner, batch, solution) < 0.01
    assert mean(batch, learner.policy_weight(batch)) == pytest.approx(1, abs=1e-3)


@every_divergence
@every_alpha
def test_one_sample_of_a_random_next_state_is_too_optimistic(name: str, alpha: float) -> None:
    """Jensen: f* is convex. The weights are those of another problem although their mean is 1 there too."""
    for seed in SEEDS:
        problem = small_problem(seed, deterministic=False)
        learner, batch = optimist(problem, divergence=name, alpha=alpha)
        solution = solve_dual(problem, REGISTRY[name], alpha)
        least = {1.0: 1e-3, 0.1: 3e-3, 0.01: 4e-3}[alpha]  # half of what is seen, or less
        assert minimise(learner, batch) > solution.value + least
        assert weight_error(learner, batch, solution) > 0.05
        assert mean(batch, learner.policy_weight(batch)) == pytest.approx(1, abs=1e-5)


@every_divergence
@every_alpha
def test_with_a_learned_advantage_it_is_the_dual_everywhere(name: str, alpha: float) -> None:
    """Once e has learned: E[A | s, a], and the loss and its gradient at any nu are the dual's."""
    problem = small_problem(1, deterministic=False)
    learner, batch = optimist(problem, divergence=name, alpha=alpha, advantage="joint")
    solution = solve_dual(problem, REGISTRY[name], alpha)
    th.manual_seed(0)
    for nu in (th.from_numpy(solution.nu), th.from_numpy(solution.nu) + 0.5 * alpha * th.randn(N_STATES, dtype=F64)):
        learner.value.table.data.copy_((nu / 2).expand(2, -1).unsqueeze(-1))
        minimise(learner, batch, "joint", "joint")
        mdp, values = problem.mdp, nu.numpy()
        exact = mdp.reward + mdp.gamma * mdp.transition @ values - values[:, None]  # (S, J)
        np.testing.assert_allclose(pair_table(batch, learner.advantage(batch)), exact, atol=1e-5)
        loss = learner("value", batch, {})[0]
        nu.requires_grad_()
        dual = dual_value(problem, REGISTRY[name], alpha, nu)
        th.testing.assert_close(loss, dual, rtol=1e-4, atol=1e-6)
        (expected,) = th.autograd.grad(dual, nu)
        for gradient in th.autograd.grad(loss, learner.value.table)[0].squeeze(-1):  # (S,) of each agent
            th.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@every_divergence
@every_alpha
def test_training_both_solves_it(name: str, alpha: float) -> None:
    """From the start, e ahead of nu or they go round each other; samples in its place miss value and weights.

    What e overshoots E[A] by stands in the exponent of KL's w, and Adam long remembers that gradient: a rate by alpha.
    """
    problem = small_problem(0, deterministic=False, gamma=0.7)
    solution = solve_dual(problem, REGISTRY[name], alpha)
    lr, updates = (0.1 * alpha**0.5, 400) if name == "kl" else (0.1, 300)
    learner, batch = optimist(problem, divergence=name, alpha=alpha, advantage="joint", value_lr=lr, q_lr=10 * lr)
    train(learner, batch, updates, final=0.01, ahead=2)
    assert learner("value", batch, {})[0].item() == pytest.approx(solution.value, rel=0.001)
    assert weight_error(learner, batch, solution) < 0.01
    assert mean(batch, learner.policy_weight(batch)) == pytest.approx(1, abs=1e-3)
    sampler, batch = optimist(problem, divergence=name, alpha=alpha)
    assert minimise(sampler, batch) > solution.value * 1.01
    assert weight_error(sampler, batch, solution) > 0.05


# -- the other losses ------------------------------------------------------------------------------------------------


def levels(value_loss: str, problem: Problem, **config: Any) -> tuple[Array, Array]:
    """E nu(s_0) after each of 4 stretches of training at a constant rate, and E[w | s] at the end."""
    learner = tabular_learner(problem, value_loss=value_loss, divergence="soft_chi2", **config)
    learner.LOSSES, batch, found = learner.LOSSES[:-1], everything(learner, problem), []
    for _ in range(4):
        train(learner, batch, 100)
        found.append(level(learner, batch))
    return np.array(found), weight_by_state(learner, batch, problem)


@pytest.mark.slow
def test_the_printed_loss_lifts_the_values_without_end() -> None:
    """Where states are not initial nothing balances -E[w | s]; the others settle on the same data at the same rate.

    alpha is large for the slope, w* = exp(-(1 - gamma) nu / alpha) and so, not to vanish before the test ends.
    """
    mdp = small_problem(0, deterministic=False).mdp
    uniform = np.full(mdp.reward.shape, 1 / mdp.reward.shape[1])
    problem = make_problem(replace(mdp, start=np.eye(N_STATES)[0]), uniform)
    poster, weights = levels("poster", problem, alpha=10.0, value_lr=0.02, q_lr=0.02)
    rises = np.diff(poster)
    assert rises.min() > 2 and rises.min() > 0.8 * rises.max() and weights.max() < 0.95
    for value_loss in ("full", "semi_dataset"):
        values, weights = levels(value_loss, problem, alpha=10.0, value_lr=0.02, q_lr=0.02)
        assert np.abs(np.diff(values)[1:]).max() < 0.2 * rises.min()
        assert np.abs(weights - 1).max() < 0.05


def test_the_printed_loss_settles_where_every_state_is_initial() -> None:
    """What diverges is states that are not: E[w | s] = (1 - gamma) p0(s) / d(s), 0 for them, which no nu gives."""
    problem = small_problem(0, deterministic=True, gamma=0.7)
    values, weights = levels("poster", problem, alpha=0.1, value_lr=0.05, q_lr=0.05)
    assert np.abs(np.diff(values)[1:]).max() < 0.02
    np.testing.assert_allclose(weights, 0.3 * problem.mdp.start / problem.occupancy.sum(1), rtol=0.05)


def test_the_dual_has_no_minimum_where_a_limit_cuts_in_a_state_never_left() -> None:
    """Inflow without outflow: no weights satisfy the flow constraints. The same chain, closed, settles."""
    found = {}
    for last in (3, 0):  # 0 -> 1 -> 2 -> 3, cut there, or back to 0
        learner = tabular_learner(small_problem(0, True), divergence="soft_chi2", alpha=1.0)
        learner.LOSSES = learner.LOSSES[:-1]
        chain, still = np.array([[0, 1], [1, 2], [2, last]]), np.zeros(3, int)
        batch = make_rows(learner, chain, np.zeros((3, 2), int), np.zeros(3), still, np.ones(3))
        found[last] = []
        for _ in range(3):
            train(learner, batch, 150)
            found[last].append(level(learner, batch))
    assert (np.diff(found[3]) < -3).all() and np.abs(np.diff(found[0])).max() < 0.05, found


@every_divergence
@every_alpha
@pytest.mark.parametrize("mixer", [{"mixer": "vdn"}, {"mixer": "monotone", "mixer_layers": 1}], ids=["vdn", "monotone"])
def test_semi_dataset_regularises_state_by_state(name: str, alpha: float, mixer: dict[str, Any]) -> None:
    """For fixed q its minimum has E[w | s] = 1 at every state: each keeps the data's probability."""
    problem = small_problem(2, deterministic=False)
    learner = tabular_learner(problem, value_loss="semi_dataset", divergence=name, alpha=alpha, **mixer)
    batch = everything(learner, problem)
    th.manual_seed(0)
    learner.q.table.data.normal_()
    learner.value.table.data.fill_(2)
    if mixer["mixer"] == "monotone":  # whose weights are not small
        learner.mixer.hyper_w_final[-1].bias.data.copy_(th.tensor([0.7, 1.5]))
    minimise(learner, batch)
    np.testing.assert_allclose(weight_by_state(learner, batch, problem), 1, atol=1e-4)
    assert np.abs(pair_table(batch, learner.policy_weight(batch)) - 1).max() > 0.1  # action by action it is not


# -- gradients in the advantage --------------------------------------------------------------------------------------


def rows_of_states(learner: Any) -> EpisodeBatch:
    """One equally likely row a state, in which episodes start too, and which lead to the next."""
    states = np.arange(N_STATES)
    follow = np.stack([states, (states + 1) % N_STATES], axis=1)
    return make_rows(learner, follow, np.stack([states % 3, states // 2], 1), np.zeros(N_STATES), states, np.ones(4))


@every_divergence
@every_alpha
@pytest.mark.parametrize("x", np.split(np.array(X), 2), ids=["low", "high"])
def test_the_duals_slope_is_the_weight(name: str, alpha: float, x: Array) -> None:
    """d(full) / dA = w*(A / alpha), by way of the reward, which A counts once; of a learned e, that e's weight."""
    divergence, wanted = REGISTRY[name], th.from_numpy(x)
    for source in ("sample", "joint"):
        learner = tabular_learner(small_problem(0, True), divergence=name, alpha=alpha, advantage=source)
        batch = rows_of_states(learner)
        th.manual_seed(0)
        learner.value.table.data.normal_()
        reward = batch["reward"].clone()  # (S, 2, 1)
        if source == "joint":
            learner.joint.table.data.copy_((alpha * wanted).view(-1, 1, 1))
        else:
            reward[:, 0, 0] = alpha * wanted - learner.sampled_advantage(batch).detach()
        batch.data.transition_data["reward"] = reward.requires_grad_()
        (gradient,) = th.autograd.grad(learner("value", batch, {})[0], reward)
        th.testing.assert_close(N_STATES * gradient[:, 0, 0], divergence.weight(wanted), rtol=1e-9, atol=1e-12)


SLOPES = {  # x w*'(x)
    "kl": lambda x: x * x.exp(),
    "chi2": lambda x: x * (x > -1),
    "soft_chi2": lambda x: th.where(x < 0, x * x.exp(), x),
}


@every_divergence
@every_alpha
def test_the_released_codes_slope_is_another(name: str, alpha: float) -> None:
    """d(official) / de_i = x w*'(x), x = e_i / alpha, by way of nu_i; beside it the start's share."""
    learner = tabular_learner(
        small_problem(0, True), value_loss="official", mixer="monotone", mixer_layers=1, divergence=name, alpha=alpha
    )
    batch, x = rows_of_states(learner), th.tensor(X, dtype=F64).view(2, N_STATES)  # (N, S)
    th.manual_seed(0)
    learner.q.table.data.normal_()
    mixing = learner.mixer.weights(batch["state"][:, NOW]).squeeze(1).T.detach()  # (N, S), W_i(s)
    gaps = learner.gaps(batch, learner.local_nu(batch, NOW)).squeeze(1).T.detach()  # (N, S), q_i as nu is 0
    learner.value.table.data.copy_((gaps - alpha * x / mixing).unsqueeze(-1))
    (gradient,) = th.autograd.grad(learner("value", batch, {})[0], learner.value.table)  # (N, S, 1)
    start = 1 - learner.args.gamma
    slope: Tensor = (start - gradient.squeeze(-1) * x.numel()) / mixing  # the loss is a mean over agents and states
    th.testing.assert_close(slope, SLOPES[name](x), rtol=1e-6, atol=1e-8)
    assert (slope - REGISTRY[name].weight(x)).abs().max() > 0.5  # so it is not the dual's


# -- policies --------------------------------------------------------------------------------------------------------


def test_policies_are_the_marginals_of_the_solution() -> None:
    """Weighted behaviour cloning by agent: pi_i(a_i | s) = sum of d*(s, a) over the others' actions, over d*(s)."""
    problem = small_problem(0, deterministic=True, gamma=0.7)
    learner = tabular_learner(problem, divergence="soft_chi2", alpha=0.1, hidden_dim=32, actor_lr=0.02)
    batch = everything(learner, problem)
    minimise(learner, batch)
    for step in range(300):
        learner.optimisers["actor"].param_groups[0]["lr"] = 0.02 * 0.05 ** (step / 300)
        learner.update(len(learner.LOSSES) - 1, batch)
    with th.no_grad():
        outputs = learner.unroll(learner.mac, rows_of_states(learner), NOW)  # (S, 1, N, A)
    found = outputs.squeeze(1).transpose(0, 1).numpy()  # (N, S, A)
    d = problem.occupancy * solve_dual(problem, REGISTRY["soft_chi2"], 0.1).weights  # (S, J)
    np.testing.assert_allclose(found, marginals(d / d.sum(1, keepdims=True), 2), atol=0.02)
    assert np.abs(found - marginals(problem.behaviour, 2)).max() > 0.1
