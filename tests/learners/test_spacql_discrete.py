"""SPaCQL on discrete actions against enumeration, and what configurations it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch as th
from torch import Tensor
from torch.func import functional_call, vmap

from learners.spacql_learner import SPaCQLLearner
from modules.policies import CategoricalPolicy
from tests.learners.learner_tester import F64, N_AGENTS, make_batch, make_learner, setting
from utils.errors import ConfigError

A = 4  # actions


def awkward(**updates: Any) -> tuple[Any, Any, dict[str, Tensor]]:
    """A learner, transitions on which some actions are not available, and noise."""
    learner, batch, noise = setting(alg="spacql_discrete", n_actions=A, final_init=2.0, **updates)
    some = th.rand(batch["avail_actions"].shape, generator=th.Generator().manual_seed(1)) < 0.5
    batch["avail_actions"][:] = (some | (batch["actions_onehot"] > 0)).int()
    return learner, batch, noise


def probabilities(mac: Any, batch: Any, t: int) -> Tensor:
    """Each agent's softmax over its available actions, one row and agent at a time, (R, N, A)."""
    obs = batch["obs"][:, t]
    result = th.zeros(len(obs), N_AGENTS, A, dtype=F64)
    agent = mac.agent
    for row in range(len(obs)):
        for i in range(N_AGENTS):
            x = (obs[row, i] - agent.normaliser.mean[i]) / agent.normaliser.std[i]
            for layer in (agent.fc1, agent.fc2):
                x = th.relu(x @ layer.weight[i] + layer.bias[i, 0])
            logits = x @ agent.fc3.weight[i] + agent.fc3.bias[i, 0]
            available = batch["avail_actions"][row, t, i].nonzero().flatten()
            result[row, i, available] = th.softmax(logits[available], 0)
    return result


def value(critic: Any, batch: Any, row: int, t: int, actions: Tensor) -> Tensor:
    """Every member's value of one joint action given as numbers (N,), (E,)."""
    one_hot = th.nn.functional.one_hot(actions, A).to(F64)
    values: Tensor = critic(batch["state"][row : row + 1, t], one_hot[None])[:, 0]
    return values


def sampled(learner: Any, batch: Any, noise: dict[str, Tensor]) -> Tensor:
    """The target policies' next actions, as numbers, (R, N): the first clock to ring, at rate p."""
    p = probabilities(learner.target_mac, batch, 1)
    return (noise["next"][:, 0] / p).argmin(-1)  # rate 0 rings at infinity


def replaced(joint: Tensor, i: int, action: int) -> Tensor:
    changed = joint.clone()
    changed[i] = action
    return changed


# -- the target ------------------------------------------------------------------------------------------------------


def test_sampled_actions_follow_the_policy_and_availability() -> None:
    learner = make_learner("spacql_discrete", n_actions=A)
    p = th.tensor([[0.5, 0.0, 0.2, 0.3], [0.0, 0.0, 1.0, 0.0], [0.25, 0.25, 0.25, 0.25]])  # (N, A)
    outputs = p.expand(40_000, N_AGENTS, A)
    noise = learner.policy.make_noise((40_000, N_AGENTS), learner.generator, "cpu")
    everywhere = th.ones_like(outputs)
    chosen = learner.policy.sample(outputs, everywhere, noise)
    assert (chosen.sum(-1) == 1).all() and set(chosen.unique().tolist()) == {0.0, 1.0}
    assert (chosen.mean(0) - p).abs().max() < 0.01 and chosen.mean(0)[p == 0].eq(0).all()
    assert th.equal(chosen, learner.policy.sample(outputs, everywhere, noise))
    pairs = (chosen[:, 0, 0] * chosen[:, 2, 0]).mean()  # agents sample independently
    assert pairs.item() == pytest.approx(0.125, abs=0.01)


def test_target_equals_algorithm_1_written_as_a_loop() -> None:
    learner, batch, noise = awkward()
    target, _ = learner.target(batch, noise)
    policy = sampled(learner, batch, noise)
    assert batch["avail_actions"][:, 1].gather(-1, policy.unsqueeze(-1)).all()
    for row in range(batch.batch_size):
        numerator, denominator = 0.0, 0.0
        for k in range(1, N_AGENTS + 1):
            joint = batch["actions"][row, 1, :, 0].clone()
            for i in range(N_AGENTS):
                if noise["order"][row, 0, k - 1, i] < k:
                    joint[i] = policy[row, i]
            u = value(learner.critic, batch, row, 1, joint).std()
            numerator += value(learner.target_critic, batch, row, 1, joint).min() / u
            denominator += 1 / u
        expected = batch["reward"][row, 0, 0] + learner.args.gamma * numerator / denominator
        th.testing.assert_close(target[row], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["full", "average_single"])
def test_relatives_of_the_target(kind: str) -> None:
    learner, batch, noise = awkward(partial_replacement=kind)
    target, _ = learner.target(batch, noise)
    policy = sampled(learner, batch, noise)
    for row in range(batch.batch_size):
        logged = batch["actions"][row, 1, :, 0]
        joints = [policy[row]] if kind == "full" else [replaced(logged, i, policy[row, i]) for i in range(N_AGENTS)]
        values = th.stack([value(learner.target_critic, batch, row, 1, joint) for joint in joints])  # (M, E)
        expected = batch["reward"][row, 0, 0] + learner.args.gamma * values.mean(0).min()
        th.testing.assert_close(target[row], expected, rtol=0, atol=1e-10)


def test_without_a_next_action_everybody_follows_the_policy() -> None:
    learner, batch, noise = awkward()
    full, _, _ = awkward(partial_replacement="full")
    batch["next_action_valid"][::2] = 0
    batch["actions_onehot"][::2, 1] = th.nan  # what does not exist must not be used
    target, _ = learner.target(batch, noise)
    joint, _ = full.target(batch, noise)
    th.testing.assert_close(target[::2], joint[::2], rtol=0, atol=1e-12)


# -- penalty and policies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["policy", "logsumexp"])
def test_critic_loss_equals_enumeration(kind: str) -> None:
    learner, batch, noise = awkward(cql_penalty=kind, alpha_cql=0.7)
    loss, _ = learner("critic", batch, noise)
    target, _ = learner.target(batch, noise)
    p = probabilities(learner.mac, batch, 0)
    expected = th.zeros((), dtype=F64)
    for row in range(batch.batch_size):
        logged = batch["actions"][row, 0, :, 0]
        data = value(learner.critic, batch, row, 0, logged)  # (E,)
        expected = expected + (data - target[row]).square().sum()
        for i in range(N_AGENTS):
            available = batch["avail_actions"][row, 0, i].nonzero().flatten().tolist()
            values = {a: value(learner.critic, batch, row, 0, replaced(logged, i, a)) for a in available}
            if kind == "policy":
                pushed = sum(p[row, i, a] * values[a] for a in available)
            else:
                pushed = th.stack(list(values.values())).exp().sum(0).log()
            expected = expected + 0.7 / N_AGENTS * (pushed - data).sum()
    th.testing.assert_close(loss, expected / batch.batch_size, rtol=0, atol=1e-10)


def test_actor_loss_and_its_gradient_equal_enumeration() -> None:
    learner, batch, _ = awkward()
    loss, _ = learner("actor", batch, {})
    p = learner.mac.forward_all(batch)[:, 0]  # (R, N, A)
    th.testing.assert_close(p, probabilities(learner.mac, batch, 0))
    expected = th.zeros((), dtype=F64)
    for row in range(batch.batch_size):
        logged = batch["actions"][row, 0, :, 0]
        for i in range(N_AGENTS):
            for a in range(A):
                first = value(learner.critic, batch, row, 0, replaced(logged, i, a))[0].detach()
                expected = expected - p[row, i, a] * first / (N_AGENTS * batch.batch_size)
    th.testing.assert_close(loss, expected, rtol=0, atol=1e-10)
    ours = th.autograd.grad(loss, list(learner.agent.parameters()))
    theirs = th.autograd.grad(expected, list(learner.agent.parameters()))
    th.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    assert any(g.abs().max() > 1e-6 for g in ours)


@pytest.mark.parametrize("mask_first", [True, False])
def test_unavailable_actions_have_no_probability_and_no_influence(mask_first: bool) -> None:
    learner, batch, noise = awkward(mask_before_softmax=mask_first)
    outputs = learner.outputs(learner.mac, batch, slice(None))
    availability = batch["avail_actions"].flatten(0, 1)
    assert outputs[availability == 0].eq(0).all()
    th.testing.assert_close(outputs.sum(-1), th.ones(12, N_AGENTS, dtype=F64))
    for has in (availability, th.ones_like(availability)):  # the probabilities alone keep them out too
        chosen = learner.policy.sample(outputs, has, th.rand(12, N_AGENTS, A))
        assert chosen[availability == 0].eq(0).all()


@pytest.mark.parametrize("kind", ["policy", "logsumexp"])
def test_rows_without_any_available_action_do_not_spoil_an_update(kind: str) -> None:
    """Padding of an online buffer is all zeros: such rows are masked and must not be NaN."""
    learner = make_learner("spacql_discrete", cql_penalty=kind, actor_update_interval=1, n_actions=A)
    batch = make_batch(learner.args, steps=4)
    batch["filled"][:2, 2:] = 0
    batch["avail_actions"][:2, 2:] = 0
    for step in range(3):
        learner.train(batch, step + 1, 0)
    learner.check_finite(3)
    assert all(th.isfinite(p).all() for p in learner.parameters())


@pytest.mark.parametrize("kind", ["policy", "logsumexp"])
@pytest.mark.parametrize("name", ["critic", "actor"])
def test_losses_are_pure(name: str, kind: str) -> None:
    """Two stacked parameter sets under functional_call and vmap equal two calls, gradients included."""
    learner, batch, noise = awkward(cql_penalty=kind)
    noise = noise if name == "critic" else {}
    sets = [{k: v.detach() for k, v in learner.named_parameters()} for _ in range(2)]
    sets[1] = {k: v + 0.1 * th.randn_like(v) for k, v in sets[1].items()}
    stacked = {k: th.stack([one[k] for one in sets]).requires_grad_() for k in sets[0]}
    lanes, _ = vmap(lambda p: functional_call(learner, p, (name, batch, noise)))(stacked)
    trained = [k for k in stacked if k.startswith("critic." if name == "critic" else "agent.")]
    together = th.autograd.grad(lanes.sum(), [stacked[k] for k in trained])
    for lane, one in enumerate(sets):
        parameters = {k: v.clone().requires_grad_() for k, v in one.items()}
        loss, _ = functional_call(learner, parameters, (name, batch, noise))
        th.testing.assert_close(lanes[lane], loss, rtol=1e-10, atol=1e-10)
        alone = th.autograd.grad(loss, [parameters[k] for k in trained])
        th.testing.assert_close([g[lane] for g in together], list(alone), rtol=1e-9, atol=1e-9)


def test_policies_learn_the_best_action() -> None:
    """The reward falls with every agent's action number, no future: action 0 is found among logged random ones."""
    learner = make_learner(
        "spacql_discrete", n_actions=A, gamma=0.0, alpha_cql=0.1, actor_update_interval=1, critic_lr=0.01, actor_lr=0.01
    )
    for step in range(300):
        learner.train(make_batch(learner.args, rows=64, seed=step), step + 1, 0)
    with th.no_grad():
        assert learner.mac.forward_all(make_batch(learner.args, seed=10**6))[..., 0].mean() > 0.8


# -- configurations --------------------------------------------------------------------------------------------------


def test_one_configuration_serves_both_action_types() -> None:
    assert SPaCQLLearner.action_types == {"continuous", "discrete"}
    learner = make_learner("spacql", discrete=True)
    assert isinstance(learner.policy, CategoricalPolicy) and learner.args.action_selector == "multinomial"
    assert learner.args.target_noise > 0  # of no consequence here


@pytest.mark.parametrize(
    ("alg", "updates", "words"),
    [
        ("qmix", {},
         "^spacql_learner needs .*partial_replacement, .*actor_update_interval, .*: use --config=spacql_discrete$"),
        ("bc", {"discrete": False}, "needs .*target_noise, .*partial_replacement, .*: use --config=spacql$"),
        ("matd3", {"action_selector": "deterministic"}, "which this configuration lacks: use --config=spacql$"),
        ("spacql_discrete", {"agent_output_type": "q", "action_selector": "epsilon_greedy"},
         "^agent_output_type=q: for discrete actions spacql_learner needs pi_logits$"),
        ("spacql", {"agent_output_type": "gaussian"},
         "^agent_output_type=gaussian: for continuous actions spacql_learner needs mean$"),
    ],
)  # fmt: skip
def test_configurations_that_do_not_fit_are_one_clear_sentence(alg: str, updates: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_learner(alg, learner="spacql_learner", **({"ensemble_size": 4} | updates))
