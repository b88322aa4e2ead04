from __future__ import annotations

import pytest
import torch as th

from learners.losses import transition_mask
from modules.layers.squash import squash
from tests.learners.learner_tester import F64, make_batch, make_learner, setting
from utils.errors import ConfigError


def test_the_target_is_the_smaller_critic_at_the_smoothed_target_actions() -> None:
    learner, batch, noise = setting(alg="matd3", target_noise=0.7, target_noise_clip=0.5, reward_scale=0.1, gamma=0.9)
    batch["terminated"][1, 0] = 1
    _, stats = learner("critic", batch, noise)
    low, high = learner.policy.low, learner.policy.high
    for row in range(batch.batch_size):
        observations = batch["obs"][row, 1]  # (N, O)
        raw, _ = learner.target_agent(observations, learner.target_agent.init_hidden())  # (N, A)
        shift = (0.7 * noise["target"][row, 0]).clamp(-0.5, 0.5) * (high - low) / 2
        actions = (squash(raw, low, high) + shift).clamp(low, high)
        values = learner.target_critic(batch["state"][row, 1:2], actions.unsqueeze(0))[:, 0]  # (2,)
        bootstrap = 0.0 if row == 1 else 0.9 * values.min()
        assert th.allclose(stats["target"][row], 0.1 * batch["reward"][row, 0, 0] + bootstrap)


def test_the_critic_loss_is_the_sum_of_both_mean_squared_errors_over_valid_rows() -> None:
    learner, batch, noise = setting(alg="matd3", steps=4)
    batch["filled"][2, 2:] = 0
    batch["terminated"][3, 0] = 1
    loss, stats = learner("critic", batch, noise)
    mask = transition_mask(batch).flatten()
    assert mask.sum() < len(mask)
    values = learner.critic(batch["state"][:, :-1].flatten(0, 1), batch["actions"][:, :-1].flatten(0, 1))
    errors = ((values - stats["target"]).square() * mask).sum(1) / mask.sum()
    assert th.allclose(loss, errors.sum())


def test_each_policy_climbs_the_first_critic_with_the_others_actions_as_played() -> None:
    learner, batch, _ = setting(alg="matd3", pre_tanh_l2=0.0)
    loss, _ = learner("actor", batch, {})
    expected = th.zeros((), dtype=F64)
    for agent in range(learner.args.n_agents):
        raw, _ = learner.agent(batch["obs"][:, 0].flatten(0, 1), learner.agent.init_hidden())
        mixed = batch["actions"][:, 0].clone()
        mixed[:, agent] = squash(raw, learner.policy.low, learner.policy.high).view_as(mixed)[:, agent]
        expected = expected - learner.critic(batch["state"][:, 0], mixed)[0].mean() / learner.args.n_agents
    assert th.allclose(loss, expected)


@pytest.mark.slow
def test_policies_find_the_best_joint_action_of_a_concave_reward() -> None:
    """r = -|a - a*|^2 without a future: both the critics and the policies have a closed form."""
    learner = make_learner("matd3", gamma=0.0, hidden_dim=32, actor_lr=0.003, critic_lr=0.01, pre_tanh_l2=0.0)
    best = th.tensor([[0.5, 1.0], [-0.5, -1.0], [0.0, 2.0]])  # (N, A), inside [-1, 1] x [-2, 3]
    for step in range(1000):
        batch = make_batch(learner.args, rows=128, seed=step)
        batch["reward"][:, 0, 0] = -(batch["actions"][:, 0] - best).square().sum((1, 2))
        learner.train(batch, step, 0)
    batch = make_batch(learner.args, rows=64, seed=9999)
    raw = learner.unroll(learner.mac, batch, slice(0, 1))[:, 0]  # (B, N, A)
    error = (squash(raw, learner.policy.low, learner.policy.high) - best).abs().mean()
    assert error < 0.15, error


def test_individual_rewards_are_refused() -> None:
    with pytest.raises(ConfigError, match="common_reward=True"):
        make_learner("matd3", common_reward=False)
