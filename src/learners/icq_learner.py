"""ICQ-MA (Yang et al. 2021): implicit constraint Q-learning with a sequential target and a linear mixer, offline.

The best policy near the behaviour mu is mu exp(Q / temperature) / Z. Its expectations are taken over the data, each
logged action weighted by exp(Q / temperature) / Z, and Z by the batch: the weight is B times a softmax over the batch.
Targets contract only where Q is below value_temperature (1 - gamma) / gamma: docs/learners/icq.md.
"""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.advantages import advantages
from learners.base_learner import Context, Logger, Noise, Stats
from learners.local_values import LINEAR_KEYS, LocalValuesLearner, check_linear_mixer
from learners.losses import NEXT, NOW, available, log_mean_exp, next_action_known, rows_of, transition_mask
from modules.critics.keys import ENSEMBLE_SIZE
from modules.policies import build_policy
from utils.keys import POSITIVE, SHARE, Key


class ICQLearner(LocalValuesLearner):
    """Q = sum_i k_i(s) q_i(o_i, a_i) + b(s) of logged actions; each agent clones by its own part's softmax.

    Of several critics each agent has the smallest value, everywhere: so one Q is learned, as in the released code.
    """

    KEYS = {
        **LINEAR_KEYS,
        "ensemble_size": ENSEMBLE_SIZE,
        "value_temperature": Key("temperature of the softmax over the batch that weighs next values", POSITIVE),
        "policy_temperature": Key("temperature of the softmax over the batch that weighs logged actions", POSITIVE),
        "td_lambda": Key("share of longer returns in the targets", SHARE),
    }
    CONFIGS = ("icq", "icq_discrete")
    ALIASES = {"lr": "q_lr"}
    MEMBERS = "ensemble_size"
    TARGETS = ("q", "mixer")
    STATE_VALUES = False

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_linear_mixer(args, "icq_learner")
        self.policy = build_policy(args, self.continuous, kinds=("mean", "pi_logits"))
        self.LOSSES = (self.q_spec, self.ACTOR_SPEC)
        self.prepare()

    def batch_context(self, name: str, batch: EpisodeBatch) -> Context:
        """The logarithms of Z: of the next values, (), or of each agent's logged actions, (N,)."""
        if name == "q":
            log_z = log_mean_exp(self.next_q(batch) / self.args.value_temperature, self.bootstrapped(batch))
            return {"log_z": log_z, **super().batch_context(name, batch)}
        outputs = self.unroll(self.mac, batch, NOW)  # (B, T-1, N, P)
        return {"log_z": log_mean_exp(self.exponent(outputs, batch).T, transition_mask(batch).flatten())}

    # -- the critics -------------------------------------------------------------------------------------------------

    def local_q(self, batch: EpisodeBatch, steps: slice, prefix: str = "") -> Tensor:
        """The smallest q_i(o_i, a_i) over the critics, of logged actions, (1, R, N); `target_`: the targets'."""
        return super().local_q(batch, steps, prefix).amin(0, keepdim=True)

    def next_q(self, batch: EpisodeBatch) -> Tensor:
        """Q'(s', a') of the targets at the action that was logged next, (R,)."""
        return self.mixed(self.local_q(batch, NEXT, "target_"), batch, NEXT, "target_").flatten()

    def targets(self, batch: EpisodeBatch, context: Context) -> Tensor:
        """y_t = r + gamma ((1 - lambda) V_(t+1) + lambda y_(t+1)), (B, T-1, 1), with V_(t+1) = w Q'(s', a').

        w = B softmax(Q'(s', a') / value_temperature) over all next actions of the batch. Where the next step has no
        target, y ends with V_(t+1).
        """
        after, bootstraps = self.next_q(batch), self.bootstrapped(batch)  # (R,) each
        weight = softmax_weight(after / self.args.value_temperature, context["log_z"], bootstraps)  # (R,)
        values = (weight * after).view(batch.batch_size, -1, 1)  # (B, T-1, 1)
        values = th.cat([th.zeros_like(values[:, :1]), values], dim=1)  # (B, T, 1); nobody looks at the first
        reward, terminated = batch["reward"][:, NOW], batch["terminated"][:, NOW]  # (B, T-1, 1) each
        valid = transition_mask(batch) * self.has_target(batch).view_as(reward)  # (B, T-1, 1)
        gains = advantages(reward, terminated, valid, values, self.args.gamma, self.args.td_lambda)  # y_t - V_t
        return gains + values[:, NOW]

    def q_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """ICQ-MA's loss of the critics: (y - Q(s, a))^2, y the `targets`.

        Steps without a logged next action, the last of episodes that were cut, count as 0.
        """
        with th.no_grad():
            target = self.targets(batch, context).flatten(0, 1)  # (R, 1)
        rows, stats = self.q_error(batch, target, context)
        return self.mean(rows * self.has_target(batch), batch), stats

    def has_target(self, batch: EpisodeBatch) -> Tensor:
        """Whether a step's target is known, (R,): it ended the episode, or the next action is logged."""
        ended = batch["terminated"][:, NOW].flatten() > 0  # (R,)
        return (ended | self.next_action_valid(batch)).to(batch["reward"].dtype)

    def bootstrapped(self, batch: EpisodeBatch) -> Tensor:
        """Steps whose target holds the next value, (R,): the rows of the next values' softmax."""
        goes_on = batch["terminated"][:, NOW].flatten() == 0  # (R,)
        return transition_mask(batch).flatten() * self.has_target(batch) * goes_on

    def next_action_valid(self, batch: EpisodeBatch) -> Tensor:
        """Whether row t+1 stores an action of the behaviour, (R,) bool."""
        return next_action_known(batch)

    # -- the policies ------------------------------------------------------------------------------------------------

    @th.no_grad()
    def exponent(self, outputs: Tensor, batch: EpisodeBatch) -> Tensor:
        """k_i(s) (q_i(o_i, a_i) - b_i(o_i)) / policy_temperature, (R, N), of the policies' outputs (B, T-1, N, P).

        b_i is the mean of q_i(o_i, a) over pi_i. The exact Z depends on the state and would cancel it.
        """
        has = available(batch, NOW)  # (R, N, A)
        read = self.policy.read(outputs.flatten(0, 1), has)  # (R, N, A)
        every: Tensor = self.q(rows_of(batch, "obs", NOW), self.policy.support(read, has))  # (E, R, K, N)
        every = every.amin(0, keepdim=True)  # (1, R, K, N)
        gap = self.local_q(batch, NOW) - self.policy.expected(every, read)  # (1, R, N)
        states = self.normaliser(rows_of(batch, "state", NOW)).unsqueeze(0)  # (1, R, S)
        z: Tensor = self.mixer.weights(states) * gap / self.args.policy_temperature
        return z.squeeze(0)

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """ICQ-MA's loss of the policies: -w_i log pi_i(a_i | o_i), w_i = B softmax of `exponent` over the batch."""
        outputs = self.unroll(self.mac, batch, NOW)  # (B, T-1, N, P)
        mask = transition_mask(batch).flatten()  # (R,)
        weight = softmax_weight(self.exponent(outputs, batch), context["log_z"], mask.unsqueeze(-1))  # (R, N)
        # (sum w)^2 / (n sum w^2) of the two means is the share of the data that the policies effectively learn from.
        stats = {"weight": weight.mean(-1), "weight_square": weight.square().mean(-1)}
        return self.mean(self.cloning(outputs, batch, weight), batch), stats


def softmax_weight(exponent: Tensor, log_z: Tensor, mask: Tensor) -> Tensor:
    """n softmax(x) over the n rows that are valid, exp(x - log_z), and 1 in the others; any shapes that broadcast."""
    return (exponent - log_z).masked_fill(mask == 0, 0.0).exp()
