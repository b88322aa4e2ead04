"""Conservative Q-learning (Kumar et al. 2020) on discrete actions: independent (`iql_cql`) or mixed (`qmix_cql`)."""

import math
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import Context, Logger, Noise, Stats
from learners.losses import EVERY, NOW, available, logsumexp_actions, masked_mean, rows_of, transition_mask
from learners.q_learner import QLearner
from utils.errors import ConfigError
from utils.keys import COUNT, WEIGHT, Key
from utils.run_keys import MIXED


class QCQLLearner(QLearner):
    """Q-learning with a penalty that pushes down the actions which values prefer, and raises the logged ones.

    Without a mixer each agent has its own penalty, over all its available actions. With one the penalty is over joint
    actions, which are too many: K random ones stand for them.
    """

    KEYS = {
        "alpha_cql": Key("weight of the penalty", WEIGHT),
        "n_penalty_samples": Key("random joint actions per row in the penalty", COUNT, optional=True, where=MIXED),
    }
    CONFIGS = ("qmix_cql", "qmix_cql")
    STANDARDISES_STATES = True
    LATER = frozenset({"normaliser"})

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        self.n_samples: int = getattr(args, "n_penalty_samples", 0) if self.mixer is not None else 0
        if self.mixer is not None and self.n_samples == 0:
            raise ConfigError(f"mixer={args.mixer} needs random joint actions in the penalty: set n_penalty_samples=20")

    def noise(self, name: str, batch: EpisodeBatch) -> Noise:
        """What chooses the joint actions: uniform, one number per agent and action, (B, T-1, K, N, A)."""
        if self.mixer is None:
            return {}
        shape = (batch.batch_size, batch.max_seq_length - 1, self.n_samples, self.args.n_agents, self.args.n_actions)
        return {"joint": th.rand(shape, generator=self.generator, device=self.generator.device)}

    def q_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """Mean of (Q - y)^2 + alpha xi over valid transitions; y is QLearner's, xi one of the two penalties below."""
        values = self.unroll(self.mac, batch, EVERY)  # (B, T, N, A)
        error, stats = self.squared_error(values, batch, context)  # (R,)
        now = values[:, NOW].flatten(0, 1)  # (R, N, A)
        penalty = self.own_penalty(now, batch) if self.mixer is None else self.joint_penalty(now, batch, noise)  # (R,)
        stats["penalty"] = penalty.detach()
        return masked_mean(error + self.args.alpha_cql * penalty, transition_mask(batch).flatten()), stats

    def own_penalty(self, values: Tensor, batch: EpisodeBatch) -> Tensor:
        """xi = mean_i (log sum_a exp Q_i(o_i, a) - Q_i(o_i, a_i)), a over agent i's available actions.

        values (R, N, A) -> (R,).
        """
        taken = values.gather(-1, rows_of(batch, "actions", NOW)).squeeze(-1)  # (R, N)
        forbidden = available(batch, NOW).transpose(1, 2) == 0  # (R, A, N)
        return (logsumexp_actions(values.transpose(1, 2), forbidden) - taken).mean(-1)

    def joint_penalty(self, values: Tensor, batch: EpisodeBatch, noise: Noise) -> Tensor:
        """xi = log 1/K sum_k exp Q^tot(s, u_k) - Q^tot(s, a), joint actions u_k uniform over available ones: (R,)."""
        chances = noise["joint"].flatten(0, 1)  # (R, K, N, A)
        chances = chances.masked_fill(available(batch, NOW).unsqueeze(1) == 0, -1.0)
        drawn = chances.argmax(-1)  # (R, K, N): the largest of equally distributed numbers is each with equal chance
        logged = rows_of(batch, "actions", NOW).transpose(1, 2)  # (R, 1, N)
        chosen = th.cat([logged, drawn], 1)  # (R, 1+K, N)
        local = values.unsqueeze(1).expand(-1, chosen.shape[1], -1, -1)  # (R, 1+K, N, A)
        local = local.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)  # (R, 1+K, N)
        states = self.states(batch, NOW).flatten(0, 1).unsqueeze(1).expand(-1, chosen.shape[1], -1)  # (R, 1+K, S)
        assert self.mixer is not None
        total = self.mixer(local, states).squeeze(-1)  # (R, 1+K)
        penalty: Tensor = total[:, 1:].logsumexp(-1) - math.log(self.n_samples) - total[:, 0]  # (R,)
        return penalty
