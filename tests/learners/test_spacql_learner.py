"""SPaCQL against known answers: by hand, by brute force, and against its own relatives."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch as th
from torch import Tensor, nn

from tests.learners.learner_tester import F64, N_AGENTS, make_batch, make_learner, setting
from utils.errors import ConfigError


def joint_values(critic: nn.Module, state: Tensor, actions: Tensor) -> Tensor:
    return critic(state, actions)  # (E, R)


def policy_actions(learner: Any, batch: Any, noise: dict[str, Tensor]) -> Tensor:
    """The target policies' noisy next actions, network by network, (R, N, A)."""
    low, high = learner.policy.low, learner.policy.high
    agent = learner.target_agent
    columns = []
    for i in range(N_AGENTS):
        x = (batch["obs"][:, 1, i] - agent.normaliser.mean[i]) / agent.normaliser.std[i]
        for layer in (agent.fc1, agent.fc2):
            x = th.relu(x @ layer.weight[i] + layer.bias[i])
        x = th.tanh(x @ agent.fc3.weight[i] + agent.fc3.bias[i])
        columns.append((low + high) / 2 + x * (high - low) / 2)
    shift = noise["next"][:, 0] * learner.args.target_noise * (high - low) / 2
    return th.maximum(th.minimum(th.stack(columns, dim=1) + shift, high), low)


# -- weights and target ----------------------------------------------------------------------------------------------


def test_weights_sum_to_one_and_shrink_with_uncertainty() -> None:
    learner = make_learner()
    uncertainty = th.rand(50, N_AGENTS) + 0.01
    weights = learner.replacement.weights(uncertainty, th.ones(50, dtype=th.bool))
    th.testing.assert_close(weights.sum(-1), th.ones(50))
    more = uncertainty.clone()
    more[:, 1] *= 2
    changed = learner.replacement.weights(more, th.ones(50, dtype=th.bool))
    assert (changed[:, 1] < weights[:, 1]).all() and (changed[:, 0] > weights[:, 0]).all()
    by_hand = th.tensor([[1.0, 2.0, 4.0]])  # 1/u = 1, 1/2, 1/4
    expected = th.tensor([[4 / 7, 2 / 7, 1 / 7]])
    th.testing.assert_close(learner.replacement.weights(by_hand, th.ones(1, dtype=th.bool)), expected)


def test_weights_survive_perfect_agreement() -> None:
    learner = make_learner()
    weights = learner.replacement.weights(th.zeros(2, N_AGENTS), th.ones(2, dtype=th.bool))
    th.testing.assert_close(weights, th.full((2, N_AGENTS), 1 / 3))


class HandMadeCritic(nn.Module):
    """Given values, whatever it is asked: (E, R, M)."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values

    def subset_replacements(self, *_: Tensor) -> Tensor:
        return self.values


def test_target_of_a_hand_made_ensemble() -> None:
    """Two critics, three agents: u = (sqrt 2, sqrt 8, sqrt 2)/..., worked out on paper."""
    learner, batch, noise = setting(gamma=0.5, ensemble_size=2)
    one = make_batch(learner.args, rows=1, dtype=F64)
    one["reward"][:] = 1.0
    # Online opinions differ by 2, 4, 2: standard deviations in the proportion 1 : 2 : 1, so w = (2, 1, 2)/5.
    learner.critic = HandMadeCritic(th.tensor([[[1.0, 0.0, 5.0]], [[3.0, 4.0, 7.0]]], dtype=F64))
    # Minima over the targets: 10, 20, -5.
    learner.target_critic = HandMadeCritic(th.tensor([[[10.0, 30.0, 0.0]], [[12.0, 20.0, -5.0]]], dtype=F64))
    target, stats = learner.target(one, {k: v[:1] for k, v in noise.items()})
    expected_w = th.tensor([[0.4, 0.2, 0.4]], dtype=F64)
    th.testing.assert_close(stats["w"], expected_w)
    th.testing.assert_close(stats["u"], th.tensor([[2.0, 4.0, 2.0]], dtype=F64) / 2**0.5)
    th.testing.assert_close(stats["k_eff"], th.tensor([2.0], dtype=F64))
    th.testing.assert_close(stats["w_max"], th.tensor([0.4], dtype=F64))
    # The critics' own mixtures: 0.4 * 10 + 0.2 * 30 and 0.4 * 12 + 0.2 * 20 - 0.4 * 5.
    th.testing.assert_close(stats["u_target"], th.tensor([10.0 - 6.8], dtype=F64) / 2**0.5)
    th.testing.assert_close(target, th.tensor([1 + 0.5 * (0.4 * 10 + 0.2 * 20 - 0.4 * 5)], dtype=F64))
    one["terminated"][:] = 1
    target, _ = learner.target(one, {k: v[:1] for k, v in noise.items()})
    th.testing.assert_close(target, th.ones(1, dtype=F64))


def test_target_equals_algorithm_1_written_as_a_loop() -> None:
    learner, batch, noise = setting()
    target, _ = learner.target(batch, noise)
    policy = policy_actions(learner, batch, noise)
    for row in range(batch.batch_size):
        numerator, denominator = 0.0, 0.0
        for k in range(1, N_AGENTS + 1):
            joint = batch["actions"][row, 1].clone()
            chosen = [i for i in range(N_AGENTS) if noise["order"][row, 0, k - 1, i] < k]
            assert len(chosen) == k
            for i in chosen:
                joint[i] = policy[row, i]
            state = batch["state"][row : row + 1, 1]
            u = joint_values(learner.critic, state, joint[None]).std()
            numerator += joint_values(learner.target_critic, state, joint[None]).min() / u
            denominator += 1 / u
        expected = batch["reward"][row, 0, 0] + learner.args.gamma * numerator / denominator
        th.testing.assert_close(target[row], expected, rtol=0, atol=1e-10)


def test_weights_forced_to_all_agents_give_the_full_joint_target(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, batch, noise = setting()
    full, _, _ = setting(partial_replacement="full")
    last = th.tensor([0.0, 0.0, 1.0], dtype=F64)
    monkeypatch.setattr(learner.replacement, "weights", lambda u, valid: last.expand_as(u))
    forced, _ = learner.target(batch, noise)
    target, _ = full.target(batch, noise)
    th.testing.assert_close(forced, target, rtol=0, atol=1e-12)
    values = joint_values(learner.target_critic, batch["state"][:, 1], policy_actions(learner, batch, noise))
    brute = batch["reward"][:, 0, 0] + learner.args.gamma * values.amin(0)
    th.testing.assert_close(target, brute, rtol=0, atol=1e-12)


def test_average_single_is_the_mean_over_agents_inside_the_minimum() -> None:
    learner, batch, noise = setting(partial_replacement="average_single")
    target, stats = learner.target(batch, noise)
    policy, state = policy_actions(learner, batch, noise), batch["state"][:, 1]
    values = []
    for i in range(N_AGENTS):
        joint = batch["actions"][:, 1].clone()
        joint[:, i] = policy[:, i]
        values.append(joint_values(learner.target_critic, state, joint))
    averages = th.stack(values).mean(0)  # (E, R)
    expected = batch["reward"][:, 0, 0] + learner.args.gamma * averages.amin(0)
    th.testing.assert_close(target, expected, rtol=0, atol=1e-12)
    th.testing.assert_close(stats["u_target"], averages.std(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["adaptive", "average_single"])
def test_without_a_next_action_everybody_follows_the_policy(kind: str) -> None:
    learner, batch, noise = setting(partial_replacement=kind)
    full, _, _ = setting(partial_replacement="full")
    batch["next_action_valid"][::2] = 0
    for key in ("actions", "actions_onehot"):
        batch[key][::2, 1] = th.nan  # what does not exist must not be used
    target, stats = learner.target(batch, noise)
    joint, _ = full.target(batch, noise)
    th.testing.assert_close(target[::2], joint[::2], rtol=0, atol=1e-12)
    assert (target[1::2] - joint[1::2]).abs().min() > 1e-6
    if kind == "adaptive":
        th.testing.assert_close(stats["k_eff"][::2], th.full((3,), 3.0, dtype=F64))


def test_subsets_are_uniform_and_fresh() -> None:
    learner = make_learner()
    batch = make_batch(learner.args, rows=6000)
    noises = (learner.noise("critic", batch) for _ in range(2))
    first, second = (learner.replacement.subsets(noise, N_AGENTS, th.device("cpu")) for noise in noises)
    assert not th.equal(first, second)
    sizes = th.arange(1, N_AGENTS + 1)
    assert (first.sum(-1) == sizes).all()
    share = first.double().mean(0)  # (k, i): an agent is in a k-subset with probability k/n
    assert (share - sizes.unsqueeze(-1) / N_AGENTS).abs().max() < 0.03


# -- the critics' loss -----------------------------------------------------------------------------------------------


def test_penalty_of_samples_about_policies_equals_brute_force() -> None:
    """Each value counts by the inverse of its action's density: 1/4 of uniform ones, a Gaussian's of the others."""
    learner, batch, noise = setting(
        cql_penalty="logsumexp_policies", alpha_cql=0.7, n_penalty_samples=3, penalty_noise=0.3, final_init=1.0
    )
    loss, stats = learner("critic", batch, noise)
    target, _ = learner.target(batch, noise)
    state, actions = batch["state"][:, 0], batch["actions"][:, 0]
    low, high = learner.policy.low, learner.policy.high
    half = (high - low) / 2
    near = th.distributions.Normal(th.zeros(1, dtype=F64), th.full((1,), 0.3, dtype=F64))
    flat = th.full((1, N_AGENTS), -2 * math.log(2.0), dtype=F64)
    samples = [(low + (high - low) * noise["uniform"][:, 0, k], flat) for k in range(3)]
    for key, step in (("here", 0), ("after", 1)):
        mean = low + half + half * th.tanh(learner.mac.forward_all(batch)[:, step])  # (R, N, A)
        for k in range(3):
            z = noise[key][:, 0, k]  # (R, N, A)
            clipped = (mean + 0.3 * half * z).clamp(low, high)
            samples.append((clipped, near.log_prob(0.3 * z).sum(-1)))
    data = joint_values(learner.critic, state, actions)  # (E, R)
    penalty = -data
    for i in range(N_AGENTS):
        pushed = []
        for action, log_density in samples:
            joint = actions.clone()
            joint[:, i] = action[:, i]
            pushed.append(joint_values(learner.critic, state, joint) - log_density[:, i])
        penalty = penalty + th.stack(pushed).exp().mean(0).log() / N_AGENTS
    th.testing.assert_close(loss, ((data - target) ** 2 + 0.7 * penalty).mean(1).sum(), rtol=0, atol=1e-10)
    th.testing.assert_close(stats["penalty"], penalty.mean(0), rtol=0, atol=1e-10)


def test_samples_about_policies_need_continuous_actions() -> None:
    with pytest.raises(ConfigError, match=r"^cql_penalty=logsumexp_policies samples actions, and logsumexp is exact"):
        make_learner("spacql_discrete", cql_penalty="logsumexp_policies")


@pytest.mark.parametrize("kind", ["policy", "logsumexp"])
def test_critic_loss_equals_brute_force(kind: str) -> None:
    learner, batch, noise = setting(cql_penalty=kind, alpha_cql=0.7, n_penalty_samples=4)
    loss, _ = learner("critic", batch, noise)
    target, _ = learner.target(batch, noise)
    state, actions = batch["state"][:, 0], batch["actions"][:, 0]
    data = joint_values(learner.critic, state, actions)  # (E, R)
    if kind == "policy":
        raw = learner.mac.forward_all(batch)[:, :1]
        half = (learner.policy.high - learner.policy.low) / 2
        samples = learner.policy.low + half + half * th.tanh(raw)  # (R, 1, N, A)
    else:
        low, high = learner.policy.low, learner.policy.high
        samples = low + (high - low) * noise["uniform"][:, 0]  # (R, K, N, A)
    expected = ((data - target) ** 2).mean(1).sum()
    for i in range(N_AGENTS):
        pushed = []
        for k in range(samples.shape[1]):
            joint = actions.clone()
            joint[:, i] = samples[:, k, i]
            pushed.append(joint_values(learner.critic, state, joint))
        values = th.stack(pushed)  # (K, E, R)
        up = values[0] if kind == "policy" else values.exp().sum(0).log()
        expected = expected + 0.7 / N_AGENTS * (up - data).mean(1).sum()
    th.testing.assert_close(loss, expected, rtol=0, atol=1e-10)


def test_actor_loss_equals_brute_force() -> None:
    learner, batch, _ = setting(action_l2=0.3, pre_tanh_l2=0.2, final_init=1.0)
    loss, _ = learner("actor", batch, {})
    raw = learner.mac.forward_all(batch)[:, 0]  # (R, N, A)
    unit = th.tanh(raw)
    half = (learner.policy.high - learner.policy.low) / 2
    expected = 0.3 * unit.square().mean((0, 2)).sum() + 0.2 * raw.square().mean()
    for i in range(N_AGENTS):
        joint = batch["actions"][:, 0].clone()
        joint[:, i] = learner.policy.low + half + half * unit[:, i]
        expected = expected - joint_values(learner.critic, batch["state"][:, 0], joint)[0].mean() / N_AGENTS
    th.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
