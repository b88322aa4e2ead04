"""AlberDICE (Matsunaga et al. 2023): alternating best responses by stationary-distribution correction, offline.

The agents take turns. Agent i holds the policies of the others fixed, which makes them a part of its environment, and
solves max E_d[r] - alpha KL(d_i pi_-i || d^D) over its own occupancy d_i(s, a_i), where d^D is the data's. The
divergence falls apart into that of d_i and, for each action, KL(pi_-i || pi^D_-i(. | s, a_i)): what the others do is
compared with what they did when agent i took this action. So agents agree on one of several modes of the data.

The paper has discrete actions only. That of continuous actions is ours: turn_actions.py, `BoxActions`.
"""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import Context, Logger, Noise, Stats
from learners.best_responses import BestResponseLearner
from learners.losses import (
    NEXT,
    NOW,
    first_of,
    log_mean_exp,
    masked_mean,
    of_each_row,
    rows_of,
    steps_after_the_end,
    td_target,
    transition_mask,
)
from learners.optimisation import of_every_run, rate
from modules.critics.state_critic import StateCritic
from utils.errors import ConfigError
from utils.keys import COUNT, POSITIVE, WEIGHT, Key


class AlberDICELearner(BestResponseLearner):
    """For each agent i in turn: its values nu_i(s) and advantages e_i(s, a_i), then its policy; first the behaviour.

    The losses of agent i are `response_i` and `actor_i`.
    """

    EXTRAS = ("init_state",)
    KEYS = {
        **of_every_run("gamma", "hidden_dim"),
        "alpha_start": Key("weight of the divergence at the start, in units of the reward's value", POSITIVE),
        "alpha_finish": Key("weight of the divergence at the end", POSITIVE),
        "alpha_anneal_time": Key("updates from alpha_start to alpha_finish, by equal factors", COUNT),
        "start_states": Key("states that count as an episode's first in the values' loss", ("initial", "data")),
        "gradient_penalty": Key("weight of the squared slope of the values", WEIGHT),
        "conservative": Key("weight of the penalty on advantages of actions that are rare in the data", WEIGHT),
        "value_lr": rate("the values and advantages"),
    }
    CONFIGS = ("alberdice", "alberdice")
    ALIASES = {"lr": "value_lr"}
    APART = "its losses read how far training is"

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        if args.gamma >= 1:
            raise ConfigError(f"gamma={args.gamma}: occupancies are discounted, choose a number below 1")
        self.LOSSES = (self.BEHAVIOUR,)
        for i in range(args.n_agents):
            self.add_module(f"value_{i}", StateCritic(scheme, args))  # nu_i(s)
            self.add_module(f"advantage_{i}", self.actions.advantage(scheme, args))  # e_i(s, a_i)
            self.LOSSES += self.turn(i, {"response": (f"value_{i}", f"advantage_{i}")})
        self.prepare()

    def noise(self, name: str, batch: EpisodeBatch) -> Noise:
        """Actions of a continuous kind; where between two states the slope of the values is taken, (B, T-1, 1)."""
        if not name.startswith("response"):
            return self.actions.actor_noise(batch) if name.startswith("actor") else {}
        noise = self.actions.response_noise(batch)
        if self.args.gradient_penalty:
            shape = (batch.batch_size, batch.max_seq_length - 1, 1)
            noise["between"] = th.rand(shape, generator=self.generator, device=self.generator.device)
        return noise

    def batch_context(self, name: str, batch: EpisodeBatch) -> Context:
        """alpha; of a response also the mean of rho_i, log Z, and the share of rows in what Z is a mean over."""
        kind, _, agent = name.partition("_")
        if kind == "behaviour":
            return {}
        mask = transition_mask(batch).flatten()  # (R,)
        done = min(1.0, self.training_steps / self.args.alpha_anneal_time)
        alpha = self.args.alpha_start * (self.args.alpha_finish / self.args.alpha_start) ** done
        context = {"alpha": th.full_like(mask[0], alpha)}
        if kind == "response":
            log_rho, advantage = self.sampled(int(agent), batch, context)  # (R,) each
            ended, steps = steps_after_the_end(batch, self.args.gamma), mask.sum()
            context["log_z"] = log_mean_exp(log_rho + advantage / context["alpha"], mask, zeros=ended)
            context["share"] = steps / (steps + ended).clamp_min(1)
            context["mean_ratio"] = masked_mean(log_rho.exp(), mask)
            context["log_mean_ratio"] = log_mean_exp(log_rho, mask)
        return context

    # -- a best response: values and advantages ----------------------------------------------------------------------

    def sampled(self, i: int, batch: EpisodeBatch, context: Context) -> tuple[Tensor, Tensor]:
        """log rho_i, and of the logged s' r - alpha KL(pi_-i || pi^D_-i) + gamma nu_i(s') - nu_i(s), (R,) each."""
        log_rho, divergence = self.environment(i, batch)  # (R,) each
        value = getattr(self, f"value_{i}")
        now, after = value(rows_of(batch, "state", NOW)).squeeze(0), value(rows_of(batch, "state", NEXT)).squeeze(0)
        reward, terminated = rows_of(batch, "reward", NOW).squeeze(-1), rows_of(batch, "terminated", NOW).squeeze(-1)
        paid = reward - context["alpha"] * divergence  # (R,)
        return log_rho, td_target(paid, terminated, after, self.args.gamma) - now

    def response_loss(self, i: int, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """The dual, which moves nu_i alone, and the fit of e_i, which moves e_i alone."""
        mask = transition_mask(batch).flatten()  # (R,)
        log_rho, advantage = self.sampled(i, batch, context)  # (R,) each
        exponent = (log_rho + advantage / context["alpha"]).masked_fill(mask == 0, -th.inf)
        rows, stats = self.dual(i, batch, exponent, noise, context)
        fit, more = self.fit(i, batch, relative(log_rho, mask, context), advantage.detach(), noise)
        return masked_mean(rows + fit, mask), stats | more

    def dual(
        self, i: int, batch: EpisodeBatch, exponent: Tensor, noise: Noise, context: Context
    ) -> tuple[Tensor, Stats]:
        """(1 - gamma) E[nu_i(s_0)] + alpha log E_D[rho_i exp(e_i / alpha)] + c E|grad nu_i|^2, rows (R,).

        exponent: log rho_i + e_i / alpha of the sampled advantage e_i, (R,), -inf where there is no transition.
        In the state after an episode's end nothing is paid and nu is 0, so e is 0 too. Adding a number to nu everywhere
        changes no advantage but for a number that alpha log E cancels, so one value is free.
        """
        value, start = getattr(self, f"value_{i}"), self.starts(batch)  # start (R, S)
        first, weight = value(start).squeeze(0), (exponent - context["log_z"]).exp()  # (R,) each
        # The gradient of log E[exp x] is that of exp(x - log Z) with Z held fixed; its own value is left out.
        mean = context["share"] * (weight - weight.detach()) + context["log_z"]  # (R,)
        rows = (1 - self.args.gamma) * first + context["alpha"] * mean
        if self.args.gradient_penalty:
            share = noise["between"].flatten(0, 1)  # (R, 1)
            point = share * start + (1 - share) * rows_of(batch, "state", NEXT)  # (R, S)
            rows = rows + self.args.gradient_penalty * value.squared_slope(point)
        return rows, {f"nu_start_{i}": first.detach(), f"weight_{i}": weight.detach()}

    def starts(self, batch: EpisodeBatch) -> Tensor:
        """The rows' episodes' first states, or, with `start_states: data`, their own states: (R, S)."""
        if self.args.start_states == "initial":
            return of_each_row(first_of(batch, "state"), batch)
        return rows_of(batch, "state", NOW)

    def fit(self, i: int, batch: EpisodeBatch, ratio: Tensor, target: Tensor, noise: Noise) -> tuple[Tensor, Stats]:
        """rho_i / E[rho_i] (e_i(s, a_i) - sampled)^2 + c (log sum_a exp e_i(s, a) - E_(pi^D_i)[e_i(s, a)]), rows (R,).

        Its minimum for c = 0 is the mean of the sampled advantage over what the others do and over next states.
        ratio: rho_i / E[rho_i], (R,). target: the sampled advantage, (R,).
        """
        own, rare = self.actions.judged(i, batch, noise)  # (R,) each
        error = own - target  # (R,)
        rows = ratio * error.square()  # (R,)
        if self.args.conservative:
            rows = rows + self.args.conservative * rare
        return rows, {f"advantage_error_{i}": error.detach().abs(), f"ratio_{i}": ratio}

    # -- a best response: the policy ---------------------------------------------------------------------------------

    def actor_loss(self, i: int, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """E_(pi_i)[alpha log(pi_i / pi^D_i) - e_i(s, a)]: the information projection on d_i."""
        rows, divergence = self.actions.projection(i, batch, noise, context["alpha"])  # (R,) each
        return masked_mean(rows, transition_mask(batch).flatten()), {f"divergence_{i}": divergence.detach()}


def relative(log_rho: Tensor, mask: Tensor, context: Context) -> Tensor:
    """rho_i / E[rho_i], (R,), 0 where there is no transition; log_rho, mask: (R,)."""
    mean = context["mean_ratio"]
    # Where many others have settled, every ratio of a batch may round to 0 and so their mean. Their logarithms do not.
    rounded = mean < th.finfo(mean.dtype).tiny
    small = (log_rho - context["log_mean_ratio"]).exp()  # (R,)
    return th.where(rounded, small, log_rho.exp() / mean).masked_fill(mask == 0, 0.0)
