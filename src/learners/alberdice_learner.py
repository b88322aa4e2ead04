"""AlberDICE (Matsunaga et al. 2023): alternating best responses by stationary-distribution correction, offline.

The agents take turns. Agent i holds the policies of the others fixed, which makes them a part of its environment, and
solves max E_d[r] - alpha KL(d_i pi_-i || d^D) over its own occupancy d_i(s, a_i), where d^D is the data's. The
divergence falls apart into that of d_i and, for each action, KL(pi_-i || pi^D_-i(. | s, a_i)): what the others do is
compared with what they did when agent i took this action. So agents agree on one of several modes of the data.
"""

import functools
import math
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Context, Logger, Noise, Stats
from learners.checks import check_team_reward
from learners.losses import FIRST, NEXT, NOW, available, masked_mean, rows_of, td_target, transition_mask
from learners.optimisation import LossSpec, of_every_run, rate
from modules.behaviour.team_behaviour import TeamBehaviour
from modules.critics.state_critic import StateCritic
from modules.layers.masks import FORBIDDEN
from modules.policies import build_policy
from utils.errors import ConfigError
from utils.keys import COUNT, POSITIVE, WEIGHT, Key

LEAST_LOG = math.log(1e-10)  # of a probability of the behaviour: what was never logged costs much, not infinitely much


class AlberDICELearner(BaseLearner):
    """For each agent i in turn: its values nu_i(s) and advantages e_i(s, a_i), then its policy; first the behaviour.

    The losses of agent i are `response_i` and `actor_i`. Policies are one stack of networks; each actor loss has an
    optimiser of its own, which only ever sees gradients of its own agent's network.
    """

    action_types = frozenset({"discrete"})
    EXTRAS = ("init_state",)
    KEYS = {
        **of_every_run("gamma", "hidden_dim"),
        "alpha_start": Key("weight of the divergence at the start, in units of the reward's value", POSITIVE),
        "alpha_finish": Key("weight of the divergence at the end", POSITIVE),
        "alpha_anneal_time": Key("updates from alpha_start to alpha_finish, by equal factors", COUNT),
        "start_states": Key("states that count as an episode's first in the values' loss", ("initial", "data")),
        "largest_ratio": Key("largest ratio of the others' policies to their behaviour", POSITIVE),
        "gradient_penalty": Key("weight of the squared slope of the values", WEIGHT),
        "conservative": Key("weight of the penalty on advantages of actions that are rare in the data", WEIGHT),
        "value_lr": rate("the values and advantages"),
        "behaviour_lr": rate("the behaviour models"),
        "actor_lr": rate("the policies"),
    }
    CONFIGS = ("alberdice", "alberdice")
    CRITICS = "per agent"
    ALIASES = {"lr": "value_lr"}

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_config(scheme, mac, args)
        self.policy = build_policy(args, self.continuous, kinds=("pi_logits",))
        self.behaviour = TeamBehaviour(scheme, args)  # pi^D_i(a_i | o_i) and pi^D_-i(a_-i | s, a_i)
        for i in range(args.n_agents):
            self.add_module(f"value_{i}", StateCritic(scheme, args))  # nu_i(s)
            self.add_module(f"advantage_{i}", StateCritic(scheme, args, n_outputs=args.n_actions))  # e_i(s, a_i)
        self.LOSSES = (
            LossSpec("behaviour", ("behaviour",), lr="behaviour_lr"),
            *(spec for i in range(args.n_agents) for spec in self.turn(i)),
        )
        self.prepare()

    def turn(self, i: int) -> tuple[LossSpec, ...]:
        """The losses of agent i, in order; each is a method here with the agent filled in."""
        for kind in ("response", "actor"):
            setattr(self, f"{kind}_{i}_loss", functools.partial(getattr(self, f"{kind}_loss"), i))
        return (
            LossSpec(f"response_{i}", (f"value_{i}", f"advantage_{i}"), lr="value_lr"),
            LossSpec(f"actor_{i}", ("agent",), lr="actor_lr", clip="member"),
        )

    def noise(self, name: str, batch: EpisodeBatch) -> Noise:
        """Where between two states the slope of the values is taken, (B, T-1, 1)."""
        if not name.startswith("response") or not self.args.gradient_penalty:
            return {}
        shape = (batch.batch_size, batch.max_seq_length - 1, 1)
        return {"between": th.rand(shape, generator=self.generator, device=self.generator.device)}

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
            log_ratio, advantage = self.sampled(int(agent), batch, context)  # (R,) each
            exponent = (log_ratio + advantage / context["alpha"]).masked_fill(mask == 0, -th.inf)
            ended, steps = self.absorbed(batch), mask.sum()
            everything = (steps + ended).clamp_min(1)
            context["log_z"] = exponent.logsumexp(0).logaddexp(ended.log()) - everything.log()
            context["share"] = steps / everything
            context["mean_ratio"] = masked_mean(log_ratio.exp(), mask)
        return context

    # -- the behaviour -----------------------------------------------------------------------------------------------

    def behaviour_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """-log pi^D_i(a_i | o_i) - sum_(j != i) log pi^D_j(a_j | s, a_i, a_<j), a sum over agents i."""
        rows = -self.behaviour.log_likelihood(*self.logged(batch))  # (R,)
        return masked_mean(rows, transition_mask(batch).flatten()), {}

    def logged(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Observations (R, N, O), states (R, S), actions (R, N, A) and what is available (R, N, A)."""
        obs, state, actions = (rows_of(batch, key, NOW) for key in ("obs", "state", "actions_onehot"))
        return obs, state, actions, available(batch, NOW)

    # -- the others as a part of agent i's environment ---------------------------------------------------------------

    def policies(self, batch: EpisodeBatch) -> Tensor:
        """pi_i(. | o_i) of all agents, (R, N, A)."""
        outputs = self.unroll(self.mac, batch, NOW).flatten(0, 1)  # (R, N, A)
        probabilities: Tensor = self.policy.read(outputs, available(batch, NOW))
        return probabilities

    @th.no_grad()
    def environment(self, i: int, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """log rho_i and sum_(j != i) KL(pi_j || pi^D_j(. | s, a_i, a_<j)), (R,) each.

        rho_i = pi_-i(a_-i | s) / pi^D_-i(a_-i | s, a_i) of the logged actions. In the divergence the actions before j's
        are logged ones too. Weighed by rho_i they are as the policies choose them, so that its mean is
        KL(pi_-i || pi^D_-i(. | s, a_i)); of two agents each row has it exactly.
        """
        _, state, logged, has = self.logged(batch)
        others = self.behaviour.others(i)
        pi, taken = self.policies(batch)[:, others], logged[:, others]  # (R, N-1, A) each
        gap = log(pi) - self.behaviour.of_others(i, state, logged, has).clamp_min(LEAST_LOG)  # (R, N-1, A)
        log_ratio = (gap * taken).sum((-2, -1)).clamp_max(math.log(self.args.largest_ratio))
        return log_ratio, (pi * gap).sum((-2, -1))

    def sampled(self, i: int, batch: EpisodeBatch, context: Context) -> tuple[Tensor, Tensor]:
        """log rho_i, and of the logged s' r - alpha KL(pi_-i || pi^D_-i) + gamma nu_i(s') - nu_i(s), (R,) each."""
        log_ratio, divergence = self.environment(i, batch)  # (R,) each
        value = getattr(self, f"value_{i}")
        now, after = value(rows_of(batch, "state", NOW)).squeeze(0), value(rows_of(batch, "state", NEXT)).squeeze(0)
        reward, terminated = rows_of(batch, "reward", NOW).squeeze(-1), rows_of(batch, "terminated", NOW).squeeze(-1)
        paid = reward - context["alpha"] * divergence  # (R,)
        return log_ratio, td_target(paid, terminated, after, self.args.gamma) - now

    # -- a best response: values, advantages, policy -----------------------------------------------------------------

    def absorbed(self, batch: EpisodeBatch) -> Tensor:
        """Steps of the batch in the state after the end, (): gamma + gamma^2 + ... for each end of an episode.

        There nothing is paid and nu is 0, so e is 0 too. Adding a number to nu everywhere changes no advantage but
        for a number that alpha log E cancels, so one value is free.
        """
        ends = (transition_mask(batch) * batch["terminated"][:, NOW]).sum()
        steps: Tensor = ends * self.args.gamma / (1 - self.args.gamma)
        return steps

    def response_loss(self, i: int, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """The dual, which moves nu_i alone, and the fit of e_i, which moves e_i alone."""
        mask = transition_mask(batch).flatten()  # (R,)
        log_ratio, advantage = self.sampled(i, batch, context)  # (R,) each
        exponent = (log_ratio + advantage / context["alpha"]).masked_fill(mask == 0, -th.inf)
        rows, stats = self.dual(i, batch, exponent, noise, context)
        fit, more = self.fit(i, batch, log_ratio.exp() / context["mean_ratio"], advantage.detach())
        return masked_mean(rows + fit, mask), stats | more

    def dual(
        self, i: int, batch: EpisodeBatch, exponent: Tensor, noise: Noise, context: Context
    ) -> tuple[Tensor, Stats]:
        """(1 - gamma) E[nu_i(s_0)] + alpha log E_D[rho_i exp(e_i / alpha)] + c E|grad nu_i|^2, rows (R,).

        exponent: log rho_i + e_i / alpha of the sampled advantage e_i, (R,), -inf where there is no transition.
        """
        value, start = getattr(self, f"value_{i}"), self.starts(batch)  # start (R, S)
        first, weight = value(start).squeeze(0), (exponent - context["log_z"]).exp()  # (R,) each
        # The gradient of log E[exp x] is that of exp(x - log Z) with Z held fixed; its own value is left out.
        mean = context["share"] * (weight - weight.detach()) + context["log_z"]  # (R,)
        rows = (1 - self.args.gamma) * first + context["alpha"] * mean
        if self.args.gradient_penalty:
            slope = self.slope(value, start, rows_of(batch, "state", NEXT), noise["between"].flatten(0, 1))  # (R,)
            rows = rows + self.args.gradient_penalty * slope
        return rows, {f"nu_start_{i}": first.detach(), f"weight_{i}": weight.detach()}

    def starts(self, batch: EpisodeBatch) -> Tensor:
        """The rows' episodes' first states, or, with `start_states: data`, their own states: (R, S)."""
        states = batch["state"][:, NOW]  # (B, T-1, S)
        if self.args.start_states == "initial":
            first = batch["init_state"].unsqueeze(1) if "init_state" in batch.scheme else states[:, FIRST]  # (B, 1, S)
            states = first.expand_as(states)
        rows: Tensor = states.flatten(0, 1)
        return rows

    def slope(self, value: StateCritic, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
        """Squared norm of nu's gradient between two states (R, S), per standard deviation of the state: (R,)."""
        point = share * first + (1 - share) * second  # (R, S)
        gradient = th.func.grad(lambda states: value(states).sum())(point)  # (R, S)
        per_deviation: Tensor = gradient * value.normaliser.std
        return per_deviation.square().sum(-1)

    def fit(self, i: int, batch: EpisodeBatch, ratio: Tensor, target: Tensor) -> tuple[Tensor, Stats]:
        """rho_i / E[rho_i] (e_i(s, a_i) - sampled)^2 + c (log sum_a exp e_i(s, a) - E_(pi^D_i)[e_i(s, a)]), rows (R,).

        Its minimum for c = 0 is the mean of the sampled advantage over what the others do and over next states.
        ratio: rho_i / E[rho_i], (R,). target: the sampled advantage, (R,).
        """
        has, logged = available(batch, NOW)[:, i], rows_of(batch, "actions_onehot", NOW)[:, i]  # (R, A) each
        every = self.advantages(i, batch)  # (R, A)
        error = (every * logged).sum(-1) - target  # (R,)
        rows = ratio * error.square()  # (R,)
        if self.args.conservative:
            with th.no_grad():
                behaviour = self.own_behaviour(i, batch).exp()  # (R, A)
            rare = every.masked_fill(has == 0, FORBIDDEN).logsumexp(-1) - (behaviour * every).sum(-1)  # (R,)
            rows = rows + self.args.conservative * rare
        return rows, {f"advantage_error_{i}": error.detach().abs(), f"ratio_{i}": ratio}

    def advantages(self, i: int, batch: EpisodeBatch) -> Tensor:
        """e_i(s, a_i) of every action, (R, A)."""
        values: Tensor = getattr(self, f"advantage_{i}")(rows_of(batch, "state", NOW))  # (1, R, A), or (1, R) of one
        return values.view(-1, self.args.n_actions)

    def own_behaviour(self, i: int, batch: EpisodeBatch) -> Tensor:
        """log pi^D_i(. | o_i) of every action, (R, A)."""
        obs, _, _, has = self.logged(batch)
        return self.behaviour.of_agent(i, obs, has)

    def actor_loss(self, i: int, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """-sum_a pi_i(a | o_i) e_i(s, a) + alpha KL(pi_i || pi^D_i): the information projection on d_i."""
        pi = self.policies(batch)[:, i]  # (R, A)
        with th.no_grad():
            gain, behaviour = self.advantages(i, batch), self.own_behaviour(i, batch)  # (R, A) each
        gap = log(pi) - behaviour.clamp_min(LEAST_LOG)  # (R, A)
        rows = (pi * (context["alpha"] * gap - gain)).sum(-1)  # (R,)
        stats = {f"divergence_{i}": (pi * gap).sum(-1).detach()}
        return masked_mean(rows, transition_mask(batch).flatten()), stats


def log(probabilities: Tensor) -> Tensor:
    """Their logarithms, elementwise, of the policies; those that round to 0 have one too."""
    return probabilities.clamp_min(math.exp(LEAST_LOG)).log()


def check_config(scheme: dict[str, Any], mac: Any, args: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, for what the method cannot handle."""
    if not getattr(mac.agent, "unshared", False) or getattr(mac.agent, "is_recurrent", True):
        raise ConfigError(
            f"agent={args.agent}: alberdice_learner moves one policy at a time and weighs states, not histories; "
            "set mac=non_shared_mac agent=mlp_ns"
        )
    if args.n_agents < 2:
        raise ConfigError("alberdice_learner needs two agents or more that respond to each other: choose --config=bc")
    if args.gamma >= 1:
        raise ConfigError(f"gamma={args.gamma}: occupancies are discounted, choose a number below 1")
    check_team_reward(scheme, "alberdice_learner")
