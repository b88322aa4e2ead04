"""MACQL: conservative Q-learning (Kumar et al. 2020) on joint actions, with centralised critics.

The rival in CFCQL's paper and part of its code: the same critics, targets and policies, but the penalty is one
log-sum-exp over joint actions, in which all agents leave the data at once. Offline, continuous actions; for discrete
ones see `q_cql_learner.py`.
"""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import Context, Logger, Noise, Stats
from learners.losses import NOW, available, importance_logsumexp, masked_mean, rows_of, transition_mask
from learners.matd3_learner import MATD3Learner
from learners.penalty_samples import PENALTY_KEYS, PenaltySamples
from utils.keys import WEIGHT, Key


class MACQLLearner(MATD3Learner):
    """MATD3's critics with a penalty; each policy climbs Q_1 with the others' actions as logged."""

    KEYS = {
        **PENALTY_KEYS,
        "action_l2": Key("weight of the squared policy actions in the policies' loss", WEIGHT),
    }
    CONFIGS = ("macql", "macql")

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        std = args.penalty_noise if args.penalty_samples == "policies" else None
        self.samples = PenaltySamples(self.policy, args.n_penalty_samples, std)

    def noise(self, name: str, batch: EpisodeBatch) -> Noise:
        """The target's noise, and the randomness of the joint actions in the penalty."""
        if name != "critic":
            return {}
        lead = (batch.batch_size, batch.max_seq_length - 1)
        return super().noise(name, batch) | self.samples.noise(lead, self.args.n_agents, self.generator)

    def critic_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """sum_j mean((Q_j(s, a) - y)^2 + alpha xi_j), xi_j = log 1/K sum_k exp(Q_j(s, u_k)) / p(u_k) - Q_j(s, a).

        u_k are joint actions of density p, y is MATD3's target.
        """
        mask = transition_mask(batch).flatten()  # (R,)
        state, logged = rows_of(batch, "state", NOW), rows_of(batch, "actions", NOW)  # (R, S), (R, N, A)
        with th.no_grad():
            target = self.target(batch, noise)  # (R,)
            actions, log_densities = self.joint_actions(batch, noise)  # (R, K, N, A), (R, K)
        values = self.critic.joint(state, th.cat([logged.unsqueeze(1), actions], 1))  # (E, R, 1+K)
        data, others = values[..., 0], values[..., 1:]  # (E, R), (E, R, K)
        error, penalty = data - target, importance_logsumexp(others, log_densities) - data  # (E, R) each
        loss = masked_mean(error.square() + self.args.alpha_cql * penalty, mask).sum()
        return loss, {
            "q_taken": data.detach().mean(0),
            "td_error_abs": error.detach().abs().mean(0),
            "penalty": penalty.detach().mean(0),
            "target": target,
        }

    def joint_actions(self, batch: EpisodeBatch, noise: Noise) -> tuple[Tensor, Tensor]:
        """The K joint actions u_k of the penalty and log p(u_k), its agents' log-densities summed."""

        def own(steps: slice) -> Tensor:  # (R, N, A)
            return self.policy.mode(self.unroll(self.mac, batch, steps).flatten(0, 1), available(batch, steps))

        actions, log_densities = self.samples(available(batch, NOW), noise, own)  # (R, K, N, A), (R, K, N)
        return actions, log_densities.sum(-1)

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """-Q_1(s, pi_i(o_i), a_-i), a mean over agents, and the penalties on actions and on outputs before tanh."""
        has = available(batch, NOW)  # (R, N, A)
        outputs = self.unroll(self.mac, batch, NOW).flatten(0, 1)  # (R, N, A)
        value = self.own_value(outputs, batch)  # (R,)
        regulariser = self.policy.regulariser(outputs, has, self.args.action_l2, self.args.pre_tanh_l2)  # (R,)
        stats = self.policy.statistics(outputs, has)
        stats["q_policy"] = value.detach()
        return masked_mean(regulariser - value, transition_mask(batch).flatten()), stats
