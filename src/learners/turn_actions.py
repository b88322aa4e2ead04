"""What AlberDICE asks about single agents' actions: expectations, ratios and divergences, for both kinds of actions.

Of discrete actions each is a sum over all of them. Of continuous ones, which AlberDICE's paper does not have, ratios
are of densities and expectations are means over points or samples. A learner has one of the two classes.
"""

import math
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from learners.base_learner import Noise
from learners.losses import NOW, available, importance_logsumexp, rows_of
from modules.behaviour.team_behaviour import TeamBehaviour, TeamMixtures
from modules.critics.ensemble_critic import EnsembleCritic
from modules.critics.state_critic import StateCritic
from modules.layers.masks import FORBIDDEN

# Of a probability or density: what was never logged, or is never chosen, costs much, not infinitely much.
LEAST_LOG = math.log(1e-10)


class ListedActions:
    """Discrete actions. learner: a `BestResponseLearner`, whose parts are read when they are asked for."""

    def __init__(self, learner: Any) -> None:
        self.learner = learner

    @staticmethod
    def behaviour(scheme: dict[str, Any], args: SimpleNamespace) -> TeamBehaviour:
        """pi^D_i(a_i | o_i) and pi^D_-i(a_-i | s, a_i)."""
        return TeamBehaviour(scheme, args)

    @staticmethod
    def advantage(scheme: dict[str, Any], args: SimpleNamespace) -> nn.Module:
        """e_i(s, .), a number per action."""
        return StateCritic(scheme, args, n_outputs=args.n_actions)

    def response_noise(self, batch: EpisodeBatch) -> Noise:
        return {}

    def actor_noise(self, batch: EpisodeBatch) -> Noise:
        return {}

    def others(self, i: int, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """log rho_i of the logged actions, without a limit, and the others' divergence, (R,) each."""
        learner = self.learner
        _, state, logged, has = learner.logged(batch)
        others = learner.behaviour.others(i)
        pi, taken = learner.policies(batch)[:, others], logged[:, others]  # (R, N-1, A) each
        gap = log_ratio(pi, learner.behaviour.of_others(i, state, logged, has))  # (R, N-1, A)
        return (gap * taken).sum((-2, -1)), (pi * gap).sum((-2, -1))

    def judged(self, i: int, batch: EpisodeBatch, noise: Noise) -> tuple[Tensor, Tensor]:
        """e_i(s, a_i) of the logged actions, and log sum_a exp e_i(s, a) - E_(pi^D_i)[e_i(s, a)], (R,) each."""
        has, logged = available(batch, NOW)[:, i], rows_of(batch, "actions_onehot", NOW)[:, i]  # (R, A) each
        every = self.advantages(i, batch)  # (R, A)
        own = (every * logged).sum(-1)  # (R,)
        if not self.learner.args.conservative:
            return own, th.zeros_like(own)
        with th.no_grad():
            behaviour = self.own_behaviour(i, batch).exp()  # (R, A)
        return own, every.masked_fill(has == 0, FORBIDDEN).logsumexp(-1) - (behaviour * every).sum(-1)

    def projection(self, i: int, batch: EpisodeBatch, noise: Noise, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """alpha KL(pi_i || pi^D_i) - E_(pi_i)[e_i(s, a)], and the divergence alone, (R,) each."""
        pi = self.learner.policies(batch)[:, i]  # (R, A)
        with th.no_grad():
            gain, behaviour = self.advantages(i, batch), self.own_behaviour(i, batch)  # (R, A) each
        gap = log_ratio(pi, behaviour)  # (R, A)
        return (pi * (alpha * gap - gain)).sum(-1), (pi * gap).sum(-1)

    def advantages(self, i: int, batch: EpisodeBatch) -> Tensor:
        """e_i(s, a_i) of every action, (R, A)."""
        network = getattr(self.learner, f"advantage_{i}")
        values: Tensor = network(rows_of(batch, "state", NOW))  # (1, R, A), or (1, R) of one
        return values.view(-1, self.learner.args.n_actions)

    def own_behaviour(self, i: int, batch: EpisodeBatch) -> Tensor:
        """log pi^D_i(. | o_i) of every action, (R, A)."""
        obs, _, _, has = self.learner.logged(batch)
        log_mu: Tensor = self.learner.behaviour.of_agent(i, obs, has)
        return log_mu


class BoxActions:
    """Continuous actions; policies are Gaussians that tanh squashes into the bounds.

    An entropy is the policy's own, by quadrature (`TanhGaussianPolicy.entropy`). What else stands in a divergence,
    -E_pi[log pi^D], is a mean over actions: over fixed points of equal mass where it is a number of the environment,
    over samples where the policy learns from it. Densities are in units of half the action range. learner: as above.
    """

    def __init__(self, learner: Any) -> None:
        self.learner, self.policy = learner, learner.policy
        args = learner.args
        points = normal_points(args.divergence_points, args.n_actions)  # (K, A)
        learner.register_buffer("points", points.to(args.device), persistent=False)

    @staticmethod
    def behaviour(scheme: dict[str, Any], args: SimpleNamespace) -> TeamMixtures:
        """pi^D_i(a_i | o_i) and pi^D_-i(a_-i | s, a_i)."""
        return TeamMixtures(scheme, args)

    @staticmethod
    def advantage(scheme: dict[str, Any], args: SimpleNamespace) -> nn.Module:
        """e_i(s, a_i), a critic of one agent's action."""
        return EnsembleCritic(scheme, SimpleNamespace(**{**vars(args), "n_agents": 1}), members=1)

    def response_noise(self, batch: EpisodeBatch) -> Noise:
        """The uniform actions of `judged`, (B, T-1, K, N, A) in [0, 1)."""
        learner = self.learner
        if not learner.args.conservative:
            return {}
        lead = (batch.batch_size, batch.max_seq_length - 1, learner.args.n_agents)
        noise: Noise = self.policy.cover_noise(lead, learner.args.sampled_actions, learner.generator)
        return noise

    def actor_noise(self, batch: EpisodeBatch) -> Noise:
        """The policies' samples, (B, T-1, K, N, A)."""
        args, generator = self.learner.args, self.learner.generator
        lead = (batch.batch_size, batch.max_seq_length - 1, args.sampled_actions, args.n_agents)
        return {"own": self.policy.make_noise(lead, generator, generator.device)}

    def others(self, i: int, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """log rho_i of the logged actions, without a limit, and the others' divergence, (R,) each."""
        learner, policy = self.learner, self.policy
        _, state, logged, has = learner.logged(batch)
        outputs, others = learner.policies(batch), learner.behaviour.others(i)  # (R, N, 2A)
        points = learner.points[None, :, None]  # (1, K, 1, A)
        chosen = policy.sample(outputs.unsqueeze(1), has.unsqueeze(1), points)  # (R, K, N, A)
        at = th.cat([logged.unsqueeze(1), chosen], dim=1)  # (R, 1+K, N, A)
        log_mu = learner.behaviour.of_others(i, state, logged, has, at).clamp_min(LEAST_LOG)  # (R, 1+K, N-1)
        log_pi = policy.log_prob(outputs, logged, has)[:, others].clamp_min(LEAST_LOG)  # (R, N-1)
        entropy = policy.entropy(outputs, has)[:, others]  # (R, N-1)
        return (log_pi - log_mu[:, 0]).sum(-1), -(entropy + log_mu[:, 1:].mean(1)).sum(-1)

    def judged(self, i: int, batch: EpisodeBatch, noise: Noise) -> tuple[Tensor, Tensor]:
        """e_i(s, a_i) of the logged actions, and log E_uniform[exp e_i(s, a)] - e_i(s, a_i), (R,) each.

        The logged action stands for pi^D_i, whose sample it is.
        """
        _, state, logged, has = self.learner.logged(batch)
        tried = logged.unsqueeze(1)  # (R, 1, N, A)
        if self.learner.args.conservative:
            uniform = {"uniform": noise["uniform"]}
            tried = th.cat([tried, self.policy.cover(logged, has, uniform)], dim=1)  # (R, 1+K, N, A)
        values = getattr(self.learner, f"advantage_{i}").joint(state, tried[:, :, [i]])[0]  # (R, 1 or 1+K)
        own, others = values[:, 0], values[:, 1:]
        if not self.learner.args.conservative:
            return own, th.zeros_like(own)
        return own, importance_logsumexp(others, th.zeros_like(others)) - own

    def projection(self, i: int, batch: EpisodeBatch, noise: Noise, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """alpha KL(pi_i || pi^D_i) - E_(pi_i)[e_i(s, a)], and the divergence alone, (R,) each, by samples of pi_i."""
        obs, state, _, has = self.learner.logged(batch)
        outputs = self.learner.policies(batch)  # (R, N, 2A)
        drawn = noise["own"].flatten(0, 1)  # (R, K, N, A)
        at = self.policy.sample(outputs.unsqueeze(1), has.unsqueeze(1), drawn)  # (R, K, N, A)
        gain = getattr(self.learner, f"advantage_{i}").joint(state, at[:, :, [i]])[0].mean(-1)  # (R,)
        log_mu = self.learner.behaviour.of_agent(i, obs, has, at).mean(-1)  # (R,)
        divergence = -self.policy.entropy(outputs, has)[:, i] - log_mu  # (R,)
        return alpha * divergence - gain, divergence


def log_ratio(pi: Tensor, log_behaviour: Tensor) -> Tensor:
    """log(pi / pi^D), elementwise; probabilities that round to 0, in either, have a logarithm too."""
    return pi.clamp_min(math.exp(LEAST_LOG)).log() - log_behaviour.clamp_min(LEAST_LOG)


def normal_points(number: int, dimensions: int) -> Tensor:
    """Points that stand for the standard Gaussian of some dimensions, all of equal mass: (number, dimensions).

    A lattice in the unit cube (steps of 1 / number, and of the powers of a generalised golden ratio) through the
    Gaussian's quantiles. Each dimension is standardised, so that means of x and of x^2 are exact, and with them the
    mean of a Gaussian's log-density.
    """
    golden = 2.0
    for _ in range(64):  # to the root of g^dimensions = g + 1; without a use in one dimension, where there is none
        golden = (1.0 + golden) ** (1.0 / dimensions)
    steps = th.tensor([1.0 / number, *(golden**-j for j in range(1, dimensions))], dtype=th.float64)  # (A,)
    shares = ((th.arange(number, dtype=th.float64).unsqueeze(-1) + 0.5) * steps).remainder(1.0)  # (K, A)
    points: Tensor = th.special.ndtri(shares)
    points = points - points.mean(0)
    return (points / points.square().mean(0).sqrt()).float()
