"""AlberDICE's losses written out, its behaviour models, and what it refuses."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from modules.behaviour.team_behaviour import AutoregressiveDensity
from tests.learners.learner_tester import F64, N_AGENTS, make_batch, make_learner, train
from utils.errors import ConfigError

ACTIONS = 2


def case(steps: int = 2, **updates: Any) -> tuple[Any, EpisodeBatch]:
    """A float64 learner of three agents and a batch in which one row ends."""
    keys = {"discrete": True, "final_init": 1.0, "alpha_start": 0.7} | updates
    learner = make_learner("alberdice", dtype=F64, **keys)
    batch = make_batch(learner.args, rows=6, steps=steps, dtype=F64)
    batch["terminated"][1, 0] = 1
    return learner, batch


def policies(learner: Any, batch: EpisodeBatch) -> Tensor:
    """(B, N, A) of the batch's first step."""
    learner.mac.init_hidden(batch.batch_size)
    outputs: Tensor = learner.mac.forward(batch, 0).view(batch.batch_size, N_AGENTS, -1)
    return outputs


def given(learner: Any, i: int, batch: EpisodeBatch, actions: Tensor) -> dict[int, Tensor]:
    """pi^D_j(. | s, a_i, a_<j) by j, (B, A) each."""
    has = batch["avail_actions"][:, 0]
    density = learner.behaviour.given[i](batch["state"][:, 0], actions, has).exp()  # (B, N-1, A)
    return dict(zip([j for j in range(N_AGENTS) if j != i], density.unbind(1), strict=True))


@pytest.mark.parametrize("start_states", ["initial", "data"])
@pytest.mark.parametrize("i", range(N_AGENTS))
def test_a_response_written_out(i: int, start_states: str) -> None:
    """The dual as a logarithm of a mean, with rows for the state after the end, and the weighted fit of e_i."""
    learner, batch = case(start_states=start_states, largest_ratio=1.0, gradient_penalty=0.3, conservative=0.2)
    alpha, gamma = 0.7, learner.args.gamma
    state, after = batch["state"][:, 0], batch["state"][:, 1]
    actions, pi = batch["actions_onehot"][:, 0], policies(learner, batch).detach()
    others = {j: p.detach() for j, p in given(learner, i, batch, actions).items()}
    ratio, divergence = th.ones(6, dtype=F64), th.zeros(6, dtype=F64)
    for j, behaviour in others.items():
        ratio = ratio * (pi[:, j] / behaviour * actions[:, j]).sum(-1)
        divergence = divergence + (pi[:, j] * (pi[:, j] / behaviour).log()).sum(-1)
    assert (ratio > 1).any() and (ratio < 1).any()
    ratio = ratio.clamp(max=1.0)
    nu, advantage = getattr(learner, f"value_{i}"), getattr(learner, f"advantage_{i}")
    alive = th.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 1.0], dtype=F64)
    e = batch["reward"][:, 0, 0] - alpha * divergence + gamma * alive * nu(after)[0] - nu(state)[0]  # (B,)
    n_after = gamma / (1 - gamma)  # steps in the state after the one end, in which e is 0
    z = ((ratio * (e / alpha).exp()).sum() + n_after) / (6 + n_after)
    noise = learner.noise(f"response_{i}", batch)
    between = noise["between"][:, 0].double()
    point = (between * state + (1 - between) * after).requires_grad_()
    (slope,) = th.autograd.grad(nu(point).sum(), point, create_graph=True)
    slope = (slope * nu.normaliser.std).square().sum(-1)
    dual = (1 - gamma) * nu(state)[0].mean() + alpha * z.log() + 0.3 * slope.mean()
    every = advantage(state)[0]  # (B, A)
    error = (every * actions[:, i]).sum(-1) - e.detach()
    own = learner.behaviour.alone.outputs(batch["obs"][:, 0])[:, i].softmax(-1).detach()
    fit = (ratio * error.square()).sum() / ratio.sum() + 0.2 * (every.logsumexp(-1) - (own * every).sum(-1)).mean()
    spec = next(spec for spec in learner.LOSSES if spec.name == f"response_{i}")
    expected = th.autograd.grad(dual + fit, learner.parameters_of(spec))
    context = learner.batch_context(spec.name, batch)
    loss, _ = getattr(learner, f"{spec.name}_loss")(batch, noise, {k: v.detach() for k, v in context.items()})
    th.testing.assert_close(loss, dual + fit)
    th.testing.assert_close(th.autograd.grad(loss, learner.parameters_of(spec)), expected)


def test_windows_start_where_their_episodes_do() -> None:
    """The initial state of a later step is the episode's, not its own."""
    learner, batch = case(steps=4)
    th.testing.assert_close(learner.starts(batch).view(6, 3, -1), batch["state"][:, :1].expand(-1, 3, -1))
    learner, batch = case(steps=4, start_states="data")
    th.testing.assert_close(learner.starts(batch).view(6, 3, -1), batch["state"][:, :-1])


@pytest.mark.parametrize("i", range(N_AGENTS))
def test_an_actors_loss_is_least_at_the_projection(i: int) -> None:
    """pi_i proportional to pi^D_i exp(e_i / alpha) in every state."""
    learner, batch = case()
    pi = policies(learner, batch)[:, i].detach()  # (B, A)
    advantage = getattr(learner, f"advantage_{i}")(batch["state"][:, 0])[0].detach()  # (B, A)
    own = learner.behaviour.alone.outputs(batch["obs"][:, 0])[:, i].log_softmax(-1).detach()  # (B, A)
    loss, _ = learner(f"actor_{i}", batch, {})
    th.testing.assert_close(loss.detach(), (pi * (0.7 * (pi.log() - own) - advantage)).sum(-1).mean())
    best = (own + advantage / 0.7).softmax(-1)
    least = (best * (0.7 * (best.log() - own) - advantage)).sum(-1).mean()
    assert least < loss and least == pytest.approx(-0.7 * (own + advantage / 0.7).logsumexp(-1).mean().item())


def test_a_turn_moves_one_policy() -> None:
    """Also after other agents' turns, whose momentum stays with their own optimisers."""
    learner = make_learner("alberdice", discrete=True)
    train(learner, 0, 3)
    for index, spec in enumerate(learner.LOSSES):
        if spec.name.startswith("actor"):
            i, before = int(spec.name[-1]), [value.detach().clone() for value in learner.agent.parameters()]
            learner.update(index, make_batch(learner.args))
            for value, old in zip(learner.agent.parameters(), before, strict=True):
                same = (value == old).flatten(1).all(1)  # (N,)
                assert same.tolist() == [j != i for j in range(N_AGENTS)]


def test_alpha_falls_by_equal_factors_and_stays() -> None:
    learner, batch = case(alpha_start=4.0, alpha_finish=0.25, alpha_anneal_time=4)
    found = []
    for step in range(6):
        learner.training_steps = step
        found.append(float(learner.batch_context("actor_0", batch)["alpha"]))
    assert found == pytest.approx([4, 2, 1, 0.5, 0.25, 0.25])


# -- the behaviour -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("i", range(N_AGENTS))
def test_the_behaviour_of_the_others_is_a_distribution_that_looks_back_only(i: int) -> None:
    """Its product over the others sums to 1; an agent's own later ones do not matter, i's action does."""
    learner, batch = case()
    total, own = th.zeros(6, dtype=F64), batch["actions_onehot"][:, 0]
    others = [j for j in range(N_AGENTS) if j != i]
    for choice in itertools.product(range(ACTIONS), repeat=len(others)):
        actions = own.clone()
        for j, action in zip(others, choice, strict=True):
            actions[:, j] = th.eye(ACTIONS, dtype=F64)[action]
        models = given(learner, i, batch, actions)
        total += math.prod((models[j] * actions[:, j]).sum(-1) for j in others)
    th.testing.assert_close(total, th.ones_like(total))
    changed = own.clone()
    changed[:, others[-1]] = changed[:, others[-1]].flip(-1)
    before, after = given(learner, i, batch, own), given(learner, i, batch, changed)
    assert all(th.equal(before[j], after[j]) for j in others)  # the last one is seen by nobody
    changed[:, i] = changed[:, i].flip(-1)
    assert not th.allclose(before[others[0]], given(learner, i, batch, changed)[others[0]])


def test_the_divergence_has_the_exact_mean() -> None:
    """Of three agents: weighed by rho_i under the behaviour it is KL(pi_-i || pi^D_-i(. | s, a_i)) in every state."""
    learner, batch = case(largest_ratio=1e6)
    pi, mean, exact = policies(learner, batch), th.zeros(6, dtype=F64), th.zeros(6, dtype=F64)
    for choice in itertools.product(range(ACTIONS), repeat=2):
        for j, action in zip((1, 2), choice, strict=True):
            batch["actions_onehot"][:, 0, j] = th.eye(ACTIONS, dtype=F64)[action]
        actions = batch["actions_onehot"][:, 0]
        models = given(learner, 0, batch, actions)
        behaviour = math.prod((models[j] * actions[:, j]).sum(-1) for j in (1, 2))
        chosen = math.prod((pi[:, j] * actions[:, j]).sum(-1) for j in (1, 2))
        log_ratio, divergence = learner.environment(0, batch)
        mean += behaviour * log_ratio.exp() * divergence
        exact += chosen * (chosen / behaviour).log()
    th.testing.assert_close(mean, exact)


def test_unavailable_actions_have_no_probability() -> None:
    args = SimpleNamespace(n_agents=2, n_actions=3, hidden_dim=4)
    density = AutoregressiveDensity({"state": {"vshape": (5,)}}, args, agent=1)
    has = th.tensor([[[1, 0, 1], [1, 1, 1]]])
    found = density(th.zeros(1, 5), th.eye(3)[[0, 1]].unsqueeze(0), has).exp()  # (1, 1, A)
    assert found[0, 0, 1] == 0 and float(found.detach().sum()) == pytest.approx(1)


def test_ratios_that_round_to_zero_count_by_their_logarithms() -> None:
    """Six others have settled on an action that no row has: their joint ratio is below every number of float32."""
    learner = make_learner("alberdice", discrete=True, n_agents=7, state_shape=28)
    with th.no_grad():
        learner.agent.fc3.bias[..., 0] += 60
    batch = make_batch(learner.args)
    batch["actions"][:] = 1
    batch["actions_onehot"][:] = th.tensor([0.0, 1.0])
    batch["filled"][-1] = 0  # a row that is none has no part in it
    assert (learner.environment(0, batch)[0] < math.log(1e-50)).all()
    loss, stats = learner("response_0", batch, {"between": th.full((6, 1, 1), 0.5)})
    assert float(stats["ratio_0"].sum()) == pytest.approx(5, rel=1e-4)  # a mean of 1 over the five rows
    data = batch.data.transition_data
    data.update({key: value.double() for key, value in data.items() if value.is_floating_point()})
    exact, _ = learner.to(F64)("response_0", batch, {"between": th.full((6, 1, 1), 0.5, dtype=F64)})
    th.testing.assert_close(loss.double(), exact, rtol=1e-4, atol=0)


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "updates", [{"mac": "basic_mac", "agent": "mlp"}, {"agent": "rnn_ns"}, {"mac": "basic_mac", "agent": "rnn"}]
)
def test_shared_and_recurrent_policies_are_refused(updates: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="moves one policy at a time and weighs states, not histories; set mac="):
        make_learner("alberdice", discrete=True, **updates)


@pytest.mark.parametrize(
    ("updates", "message"),
    [
        ({"gamma": 1}, "^gamma=1: occupancies are discounted, choose a number below 1$"),
        ({"common_reward": False}, "^alberdice_learner needs one team reward: set common_reward=True$"),
        ({"n_agents": 1, "state_shape": 4}, "needs two agents or more that respond to each other"),
        (
            {"agent_output_type": "q", "action_selector": "epsilon_greedy"},
            "^agent_output_type=q: for discrete actions alberdice_learner needs pi_logits$",
        ),
    ],
)
def test_what_it_cannot_handle_is_refused(updates: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_learner("alberdice", **updates)
