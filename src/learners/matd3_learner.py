"""MATD3 (Ackermann et al. 2019): deterministic policies, twin centralised critics, smoothed and delayed targets."""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Context, Logger, Noise, Stats
from learners.checks import check_team_reward
from learners.losses import NEXT, NOW, available, masked_mean, rows_of, td_target, transition_mask
from learners.optimisation import TARGET_KEYS, TARGET_NOISE, LossSpec, of_every_run, rate
from modules.critics.ensemble_critic import CRITIC_KEYS, EnsembleCritic
from modules.policies import build_policy
from utils.keys import COUNT, POSITIVE, WEIGHT, Key


class MATD3Learner(BaseLearner):
    """Online, off-policy, one team reward: all agents share the critics Q_j(s, a_1..a_N), each has its own policy.

    The paper gives every agent critics of its own, for rewards may differ between agents; with one team reward those
    would be copies of each other up to their initial weights.
    """

    action_types = frozenset({"continuous"})
    KEYS = {
        **TARGET_KEYS,
        **CRITIC_KEYS,
        **of_every_run("hidden_dim"),
        "critic_lr": rate("the critics"),
        "actor_lr": rate("the policies"),
        "actor_update_interval": Key("critic updates per policy update", COUNT),
        "reward_scale": Key("factor on rewards", POSITIVE),
        "target_noise": Key(TARGET_NOISE, WEIGHT),
        "target_noise_clip": Key("largest such noise, in half action ranges", WEIGHT),
        "pre_tanh_l2": Key("weight of the squared policy outputs before tanh", WEIGHT),
    }
    CONFIGS = ("matd3", "matd3")
    CRITICS = "central"
    ALIASES = {"lr": "critic_lr"}
    LOSSES = (
        LossSpec("critic", modules=("critic",), lr="critic_lr"),
        LossSpec("actor", modules=("agent",), lr="actor_lr", interval="actor_update_interval", clip="member"),
    )
    TARGETS = ("agent", "critic")
    target_critic: EnsembleCritic

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_team_reward(scheme, "matd3_learner")
        self.critic = EnsembleCritic(scheme, args)
        noise = {"noise_std": args.target_noise, "noise_clip": args.target_noise_clip}
        self.policy = build_policy(args, self.continuous, kinds=("mean",), **noise)
        self.prepare()

    def noise(self, name: str, batch: EpisodeBatch) -> Noise:
        """The noise on the target policies' actions, standard normal (B, T-1, N, A)."""
        if name != "critic":
            return {}
        lead = (batch.batch_size, batch.max_seq_length - 1, self.args.n_agents)
        return {"target": self.policy.make_noise(lead, self.generator, self.args.device)}

    def critic_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """sum_j (Q_j(s, a) - y)^2, y the `target`."""
        mask = transition_mask(batch).flatten()  # (R,)
        with th.no_grad():
            target = self.target(batch, noise)  # (R,)
        values = self.critic(rows_of(batch, "state", NOW), rows_of(batch, "actions", NOW))  # (E, R)
        error = values - target
        loss = masked_mean(error.square(), mask).sum()
        return loss, {
            "q_taken": values.detach().mean(0),
            "td_error_abs": error.detach().abs().mean(0),
            "target": target,
        }

    def target(self, batch: EpisodeBatch, noise: Noise) -> Tensor:
        """y = c r + gamma (1 - terminated) min_j Q'_j(s', pi'(o') + noise), all agents replaced: (R,)."""
        reward = self.args.reward_scale * batch["reward"][:, NOW].flatten()  # (R,)
        terminated = batch["terminated"][:, NOW].flatten()  # (R,)
        return td_target(reward, terminated, self.next_value(batch, noise), self.args.gamma)

    def next_value(self, batch: EpisodeBatch, noise: Noise) -> Tensor:
        """min_j Q'_j(s', pi'(o') + clipped noise), (R,)."""
        outputs = self.unroll(self.target_mac, batch, NEXT).flatten(0, 1)  # (R, N, A)
        actions = self.policy.sample(outputs, available(batch, NEXT), noise["target"].flatten(0, 1))  # (R, N, A)
        values: Tensor = self.target_critic(rows_of(batch, "state", NEXT), actions)  # (E, R)
        return values.amin(0)

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """Raise Q_1(s, pi_i(o_i), a_-i), the others' actions as played, with a small penalty before tanh."""
        outputs = self.unroll(self.mac, batch, NOW).flatten(0, 1)  # (R, N, A)
        value = self.own_value(outputs, batch)  # (R,)
        penalty = self.policy.regulariser(outputs, available(batch, NOW), 0.0, self.args.pre_tanh_l2)  # (R,)
        return masked_mean(penalty - value, transition_mask(batch).flatten()), {"q_policy": value.detach()}

    def own_value(self, outputs: Tensor, batch: EpisodeBatch) -> Tensor:
        """Q_1(s, pi_i(o_i), a_-i), a mean over agents, of the policies' outputs (R, N, A): (R,)."""
        own = self.policy.support(outputs, available(batch, NOW))  # (R, 1, N, A)
        state, played = rows_of(batch, "state", NOW), rows_of(batch, "actions", NOW)  # (R, S), (R, N, A)
        return self.critic.single_replacements(state, played, own, members=1)[0, :, 0].mean(-1)
