"""OMIGA (Wang, Xu, Zheng & Zhan 2023): implicit global-to-local value regularisation, offline.

The team's value is regularised by KL(pi || mu) with weight alpha. With a linear mixer, Q = sum_i k_i(s) q_i + b(s) and
V = sum_i k_i(s) nu_i + b(s), the problem falls apart: agent i's best policy is mu_i exp(z_i), z_i = k_i (q_i - nu_i) /
alpha, where nu_i makes E_mu[exp(z_i)] = 1 in every state. The paper's form has constants that shift nu_i alone.
"""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import Context, Logger, Noise, Stats
from learners.local_values import LINEAR_KEYS, LocalValuesLearner, check_linear_mixer
from learners.losses import NEXT, NOW, rows_of
from learners.optimisation import LossSpec, rate
from utils.keys import POSITIVE, WEIGHT, Key


class OMIGALearner(LocalValuesLearner):
    """Local values that a linear mixer adds up; each agent clones by the weight exp(z_i) of its own logged action.

    Only logged actions are looked at. Pairs of actions are not: an agent's weight says nothing of what the others do.
    """

    KEYS = {
        **LINEAR_KEYS,
        "alpha": Key("weight of the divergence from the behaviour, in units of the reward's value", POSITIVE),
        "largest_exponent": Key("largest z_i whose exponential is taken", WEIGHT),
        "value_lr": rate("the values nu"),
    }
    CONFIGS = ("omiga", "omiga")
    ALIASES = {"lr": "value_lr"}
    LOSSES: tuple[LossSpec, ...] = (LossSpec("value", ("value",), lr="value_lr"),)
    TARGETS = ("q", "value", "mixer")
    target_mixer: Any

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_linear_mixer(args, "omiga_learner")
        self.LOSSES = (self.ACTOR_SPEC, self.q_spec, *self.LOSSES)  # in the released code's order
        self.prepare()

    def weights(self, batch: EpisodeBatch) -> Tensor:
        """k_i(s) of the target mixer, (R, N)."""
        states = self.normaliser(rows_of(batch, "state", NOW)).unsqueeze(0)  # (1, R, S)
        weights: Tensor = self.target_mixer.weights(states)
        return weights.squeeze(0)

    def exponent(self, batch: EpisodeBatch) -> Tensor:
        """z_i = k_i(s) (q'_i(o_i, a_i) - nu_i(o_i)) / alpha of the logged actions, q' the target's: (R, N)."""
        gap = self.local_q(batch, NOW, "target_") - self.local_v(batch, NOW)  # (1, R, N)
        z: Tensor = self.weights(batch) * gap.squeeze(0) / self.args.alpha
        return z

    def q_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """OMIGA's loss of q and the mixer: (r + gamma V'(s') - Q(s, a))^2, Q = sum_i k_i q_i + b, V' of the targets."""
        with th.no_grad():
            after = self.mixed(self.local_v(batch, NEXT, "target_"), batch, NEXT, "target_").squeeze(0)  # (R, 1)
            target = self.backup(batch, after)  # (R, 1)
        rows, stats = self.q_error(batch, target, context)
        return self.mean(rows, batch), stats

    def value_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """OMIGA's loss of the local values: exp(z_i) + k_i nu_i / alpha, a mean over agents.

        Its minimum has E[exp(z_i)] = 1 in every state.
        """
        with th.no_grad():
            weights = self.weights(batch)  # (R, N)
        z, nu = self.exponent(batch), self.local_v(batch, NOW).squeeze(0)  # (R, N) each
        rows = exp_then_linear(z, self.args.largest_exponent) + weights * nu / self.args.alpha
        return self.mean(rows.mean(-1), batch), {"value": nu.detach().mean(-1), "exponent": z.detach().mean(-1)}

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """OMIGA's loss of the policies: -exp(z_i) log pi_i(a_i | o_i), a mean over agents."""
        with th.no_grad():
            weight = self.exponent(batch).clamp_max(self.args.largest_exponent).exp()  # (R, N)
        rows = self.cloning(self.unroll(self.mac, batch, NOW), batch, weight)  # (R,)
        return self.mean(rows, batch), {"weight": weight.mean(-1)}


def exp_then_linear(z: Tensor, largest: float) -> Tensor:
    """exp(z) up to `largest`, from there on its tangent, elementwise: large z have a finite pull and never none."""
    return z.clamp_max(largest).exp() * (1 + (z - largest).clamp_min(0))
