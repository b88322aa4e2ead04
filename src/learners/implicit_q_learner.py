"""Implicit Q-learning (Kostrikov, Nair & Levine 2022) of each agent, or of the team by a mixer, offline."""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import Context, Logger, Noise, Stats
from learners.local_values import LocalValuesLearner
from learners.losses import NEXT, NOW, expectile_loss, exponential_weights
from learners.optimisation import LossSpec, rate
from modules.critics.keys import ENSEMBLE_SIZE
from utils.errors import ConfigError
from utils.keys import POSITIVE, Key, Range


class ImplicitQLearner(LocalValuesLearner):
    """V is an expectile of Q over the logged actions, so that it nears their best; only logged actions are looked at.

    mixer: None (each agent learns its own values, from the team's reward or from its own), or any of the registry: then
    V = M[v], Q = M[q] and all agents clone by the same weight. V and its regression target use the target mixer, whose
    weights do not move while v learns.
    """

    KEYS = {
        "ensemble_size": ENSEMBLE_SIZE,
        "expectile": Key("expectile of the logged actions' values that is learned", Range(0, 1, above=True)),
        "inverse_temperature": Key("how sharply policies prefer better actions", POSITIVE),
        "largest_weight": Key("largest weight of a logged action", POSITIVE),
        "value_lr": rate("the values v"),
    }
    CONFIGS = ("implicit_q", "implicit_q")
    ALIASES = {"lr": "value_lr"}
    MEMBERS = "ensemble_size"
    LOSSES: tuple[LossSpec, ...] = (LossSpec("value", ("value",), lr="value_lr"),)

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        if args.expectile == 1:
            raise ConfigError("expectile=1: no value would ever fall; choose a number below 1")
        self.LOSSES = (*self.LOSSES, self.q_spec, self.ACTOR_SPEC)
        self.TARGETS = ("q",) if self.mixer is None else ("q", "mixer")
        self.prepare()

    def state_value(self, batch: EpisodeBatch, steps: slice) -> Tensor:
        """V(s) = M[v], (R, M)."""
        return self.mixed(self.local_v(batch, steps), batch, steps, "target_").squeeze(0)

    def target_value(self, batch: EpisodeBatch) -> Tensor:
        """min_j Q'_j(s, a) of the targets, Q' = M[q'], at the logged actions, (R, M)."""
        return self.mixed(self.local_q(batch, NOW, "target_"), batch, NOW, "target_").amin(0)

    def value_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """Eq. 5 of Kostrikov et al.: L(Q'(s, a) - V(s)), the expectile loss L(u) = |tau - 1(u < 0)| u^2."""
        with th.no_grad():
            target = self.target_value(batch)  # (R, M)
        value = self.state_value(batch, NOW)  # (R, M)
        rows = expectile_loss(target - value, self.args.expectile).mean(-1)  # (R,)
        return self.mean(rows, batch), {"value": value.detach().mean(-1)}

    def q_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """Eq. 6 of Kostrikov et al.: (r + gamma V(s') - Q_j(s, a))^2, summed over the critics."""
        with th.no_grad():
            target = self.backup(batch, self.state_value(batch, NEXT))  # (R, M)
        rows, stats = self.q_error(batch, target, context)
        return self.mean(rows, batch), stats

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """Eq. 7 of Kostrikov et al.: -exp(beta (Q'(s, a) - V(s))) log pi_i(a_i | o_i), weights bounded.

        The bound is `largest_weight`.
        """
        with th.no_grad():
            advantage = self.target_value(batch) - self.state_value(batch, NOW)  # (R, M)
            weight = exponential_weights(advantage, 1 / self.args.inverse_temperature, self.args.largest_weight)
        stats = {"advantage": advantage.mean(-1), "weight": weight.mean(-1)}
        rows = self.cloning(self.unroll(self.mac, batch, NOW), batch, weight)  # (R,)
        return self.mean(rows, batch), stats
