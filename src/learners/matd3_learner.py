"""MATD3 (Ackermann et al. 2019): deterministic policies, twin centralised critics, smoothed and delayed targets."""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Draws, Logger, Stats
from learners.checks import check_team_reward, require
from learners.optimisation import NEXT, NOW, LossSpec, available, masked_mean, transition_mask
from modules.critics import REGISTRY as critic_REGISTRY
from modules.critics.ensemble_critic import EnsembleCritic
from modules.layers.squash import action_bounds, squash

KEYS = ("critic_type", "ensemble_size", "reward_scale", "actor_lr", "actor_update_interval", "target_noise",
        "target_noise_clip", "pre_tanh_l2", "input_norm")  # fmt: skip


class MATD3Learner(BaseLearner):
    """Online, off-policy, one team reward: all agents share the critics Q_j(s, a_1..a_N), each has its own policy.

    The paper gives every agent critics of its own, for rewards may differ between agents; with one team reward those
    would be copies of each other up to their initial weights.
    """

    action_types = frozenset({"continuous"})
    LOSSES = (
        LossSpec("critic", modules=("critic",), lr="critic_lr"),
        LossSpec("actor", modules=("agent",), lr="actor_lr", interval="actor_update_interval", clip="member"),
    )
    TARGETS = ("agent", "critic")
    critic: EnsembleCritic
    target_critic: EnsembleCritic
    low: Tensor
    high: Tensor

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        require(args, KEYS, "matd3_learner", "matd3")
        check_team_reward(scheme, "matd3_learner")
        self.critic = critic_REGISTRY[args.critic_type](scheme, args)
        low, high = action_bounds(args)  # (A,)
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)
        self.prepare()

    def draws(self, name: str, batch: EpisodeBatch) -> Draws:
        """The noise on the target policies' actions, standard normal (B, T-1, N, A)."""
        if name != "critic":
            return {}
        shape = (batch.batch_size, batch.max_seq_length - 1, self.args.n_agents, self.args.n_actions)
        return {"noise": th.randn(shape, generator=self.generator, device=self.low.device)}

    def critic_loss(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """sum_j (Q_j(s, a) - y)^2 with y = c r + gamma (1 - terminated) min_j Q'_j(s', pi'(o') + noise)."""
        mask = transition_mask(batch).flatten()  # (R,)
        state, next_state = batch["state"][:, NOW].flatten(0, 1), batch["state"][:, NEXT].flatten(0, 1)  # (R, S)
        actions = batch["actions"][:, NOW].flatten(0, 1)  # (R, N, A)
        reward = self.args.reward_scale * batch["reward"][:, NOW].flatten()  # (R,)
        terminated = batch["terminated"][:, NOW].flatten().to(reward.dtype)  # (R,)
        with th.no_grad():
            next_actions = self.smoothed_target_actions(batch, draws)  # (R, N, A)
            value = self.target_critic(next_state, next_actions).amin(0)  # (R,)
            target = reward + self.args.gamma * (1 - terminated) * value
        values = self.critic(state, actions)  # (2, R)
        error = values - target
        loss = masked_mean(error.square(), mask).sum()
        return loss, {
            "q_taken": values.detach().mean(0),
            "td_error_abs": error.detach().abs().mean(0),
            "target": target,
        }

    def smoothed_target_actions(self, batch: EpisodeBatch, draws: Draws) -> Tensor:
        """Target policies' next actions plus clipped noise, inside the bounds, (R, N, A)."""
        half_range = 0.5 * (self.high - self.low)
        noise = (draws["noise"] * self.args.target_noise).clamp(
            -self.args.target_noise_clip, self.args.target_noise_clip
        )
        actions = squash(self.unroll(self.target_mac, batch, NEXT), self.low, self.high)  # (B, T-1, N, A)
        smoothed = th.clamp(actions + noise * half_range, self.low, self.high).flatten(0, 1)  # (R, N, A)
        return smoothed * available(batch, NEXT)  # a dimension that an agent lacks is 0, as in what was played

    def actor_loss(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """Raise Q_1(s, pi_i(o_i), a_-i), the others' actions as played, with a small penalty before tanh."""
        mask = transition_mask(batch).flatten()  # (R,)
        state = batch["state"][:, NOW].flatten(0, 1)  # (R, S)
        played = batch["actions"][:, NOW].flatten(0, 1)  # (R, N, A)
        raw = self.unroll(self.mac, batch, NOW).flatten(0, 1)  # (R, N, A)
        has = available(batch, NOW)  # (R, N, A)
        actions = (squash(raw, self.low, self.high) * has).unsqueeze(1)  # (R, 1, N, A)
        value = self.critic.single_replacements(state, played, actions, members=1)[0, :, 0].mean(-1)  # (R,)
        reach = (raw * has).square().mean((-2, -1))  # (R,), how far into tanh's flat ends
        return masked_mean(self.args.pre_tanh_l2 * reach - value, mask), {"q_policy": value.detach()}
