"""OMAR (Pan, Huang, Ma & Xu 2022): offline multi-agent RL with actor rectification, for continuous actions.

Every agent learns alone, by conservative Q-learning on its own observation. Values of the data's neighbourhood have
many local optima, in which a policy that climbs the gradient stays; so policies also imitate the best action that a
search without gradients finds.
"""

import functools
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Context, Logger, Noise, Stats
from learners.cross_entropy_search import search
from learners.losses import (
    NEXT,
    NOW,
    available,
    importance_logsumexp,
    masked_mean,
    rows_of,
    td_target,
    transition_mask,
)
from learners.optimisation import TARGET_KEYS, LossSpec, of_every_run, rate
from learners.penalty_samples import PENALTY_KEYS, PenaltySamples
from modules.critics.keys import ENSEMBLE_SIZE
from modules.critics.local_ensemble import LOCAL_KEYS, LocalEnsemble
from modules.policies import build_policy
from modules.policies.base_policy import BoxPolicy
from utils.errors import ConfigError
from utils.keys import COUNT, POSITIVE, SHARE, WEIGHT, Key, Range


class OMARLearner(BaseLearner):
    """Critics Q_ij(o_i, a_i) and policies of each agent, on the team's reward or on rewards of its own.

    `omar_coef` 0 is independent conservative Q-learning. Losses are sums over agents: each agent's is its own.
    """

    action_types = frozenset({"continuous"})
    KEYS = {
        **TARGET_KEYS,
        **LOCAL_KEYS,
        **PENALTY_KEYS,
        **of_every_run("hidden_dim"),
        "ensemble_size": ENSEMBLE_SIZE,
        "omar_coef": Key("share of imitating the best action found in the policies' loss; the rest climbs Q", SHARE),
        "search_draws": Key("draws of the search", COUNT),
        "search_samples": Key("actions in each draw", COUNT),
        "search_elites": Key("best actions that make the next draw's Gaussian", Range(2, whole=True, null=True)),
        "search_std": Key("standard deviation of the first draw, in half action ranges", POSITIVE),
        "action_l2": Key("weight of the squared policy actions in the policies' loss", WEIGHT),
        "pre_tanh_l2": Key("weight of the squared policy outputs before tanh", WEIGHT),
        "critic_lr": rate("the critics"),
        "actor_lr": rate("the policies"),
    }
    CONFIGS = ("omar", "omar")
    CRITICS = "per agent"
    ALIASES = {"lr": "critic_lr"}
    LOSSES = (
        LossSpec("critic", modules=("critic",), lr="critic_lr", clip="member"),
        LossSpec("actor", modules=("agent",), lr="actor_lr", clip="member"),
    )
    TARGETS = ("agent", "critic")
    target_critic: LocalEnsemble

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        if args.search_elites is not None and args.search_elites > args.search_samples:
            raise ConfigError(f"search_elites={args.search_elites}: this must be at most search_samples")
        policy = build_policy(args, self.continuous, kinds=("mean",))
        assert isinstance(policy, BoxPolicy)
        self.policy = policy
        self.critic = LocalEnsemble(scheme, args, args.ensemble_size, with_actions=True, shared=args.shared_critics)
        std = args.penalty_noise if args.penalty_samples == "policies" else None
        self.samples = PenaltySamples(self.policy, args.n_penalty_samples, std)
        self.prepare()

    def noise(self, name: str, batch: EpisodeBatch) -> Noise:
        """The randomness of the penalty's actions, or of the search, standard normal (B, T-1, I, K, N, A)."""
        lead, n_agents = (batch.batch_size, batch.max_seq_length - 1), self.args.n_agents
        if name == "critic":
            return self.samples.noise(lead, n_agents, self.generator)
        shape = (*lead, self.args.search_draws, self.args.search_samples, n_agents)
        return {"search": self.policy.make_noise(shape, self.generator, self.args.device)}

    def own_actions(self, mac: Any, batch: EpisodeBatch, steps: slice) -> Tensor:
        """The policies' actions pi_i(o_i), (R, N, A)."""
        return self.policy.mode(self.unroll(mac, batch, steps).flatten(0, 1), available(batch, steps))

    # -- the critics -------------------------------------------------------------------------------------------------

    def critic_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """sum_ij mean((Q_ij(o_i, a_i) - y_i)^2 + alpha xi_ij), with CQL's penalty of agent i alone

        xi_ij = log 1/K sum_k exp(Q_ij(o_i, u_k)) / p(u_k) - Q_ij(o_i, a_i), u_k actions of density p.
        """
        mask, has = transition_mask(batch).flatten(), available(batch, NOW)  # (R,), (R, N, A)
        obs, logged = rows_of(batch, "obs", NOW), rows_of(batch, "actions", NOW)  # (R, N, O), (R, N, A)
        with th.no_grad():
            target = self.target(batch)  # (R, N)
            own = functools.partial(self.own_actions, self.mac, batch)
            actions, log_densities = self.samples(has, noise, own)  # (R, K, N, A), (R, K, N)
        values = self.critic(obs, th.cat([logged.unsqueeze(1), actions], 1))  # (E, R, 1+K, N)
        data, others = values[:, :, 0], values[:, :, 1:]  # (E, R, N), (E, R, K, N)
        raised = importance_logsumexp(others.transpose(-1, -2), log_densities.transpose(-1, -2))  # (E, R, N)
        error, penalty = data - target, raised - data  # (E, R, N) each
        rows = (error.square() + self.args.alpha_cql * penalty).sum((0, 2))  # (R,)
        return masked_mean(rows, mask), {
            "q_taken": data.detach().mean((0, 2)),
            "td_error_abs": error.detach().abs().mean((0, 2)),
            "penalty": penalty.detach().mean((0, 2)),
            "target": target.mean(-1),
        }

    def target(self, batch: EpisodeBatch) -> Tensor:
        """y_i = r_i + gamma (1 - terminated) min_j Q'_ij(o'_i, pi'_i(o'_i)), (R, N)."""
        own = self.own_actions(self.target_mac, batch, NEXT).unsqueeze(1)  # (R, 1, N, A)
        value = self.target_critic(rows_of(batch, "obs", NEXT), own)[:, :, 0].amin(0)  # (R, N)
        reward, terminated = rows_of(batch, "reward", NOW), rows_of(batch, "terminated", NOW)  # (R, 1 or N), (R, 1)
        return td_target(reward, terminated, value, self.args.gamma)

    # -- the policies ------------------------------------------------------------------------------------------------

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """sum_i mean(-(1 - c) Q_i1(o_i, pi_i(o_i)) + c |pi_i(o_i) - best_i|^2), and penalties on actions.

        The distance is a mean over the agent's dimensions, in half action ranges; c is `omar_coef`.
        """
        has, obs = available(batch, NOW), rows_of(batch, "obs", NOW)  # (R, N, A), (R, N, O)
        outputs = self.unroll(self.mac, batch, NOW).flatten(0, 1)  # (R, N, A)
        own = self.policy.mode(outputs, has)  # (R, N, A)
        value = self.critic(obs, own.unsqueeze(1), members=1)[0, :, 0]  # (R, N)
        with th.no_grad():
            best, gain = self.best_actions(obs, own, value, has, noise["search"].flatten(0, 1))  # (R, N, A), (R, N)
        distance = -self.policy.log_prob(outputs, best, has) / self.policy.dimensions(has)  # (R, N)
        share = self.args.omar_coef
        rows = (share * distance - (1 - share) * value).sum(-1)  # (R,)
        rows = rows + self.policy.regulariser(outputs, has, self.args.action_l2, self.args.pre_tanh_l2)
        stats = self.policy.statistics(outputs, has)
        stats |= {"q_policy": value.detach().mean(-1), "search_gain": gain.mean(-1)}  # (R,) each
        return masked_mean(rows, transition_mask(batch).flatten()), stats

    def best_actions(
        self, obs: Tensor, own: Tensor, value: Tensor, has: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """best_i, the better by Q_i1 of the policy's action and the search's, and by how much: (R, N, A), (R, N).

        own (R, N, A) and value (R, N): the policies' actions and what Q_i1 says of them; noise (R, I, K, N, A).
        """

        def in_bounds(unit: Tensor) -> Tensor:  # (R, K, N, A) in [-1, 1] -> actions
            return self.policy.uniform(0.5 * (unit + 1)) * has.unsqueeze(1)

        found, found_value = search(
            lambda unit: self.critic(obs, in_bounds(unit), members=1)[0],
            noise,
            self.args.search_std,
            self.args.search_elites,
        )  # (R, N, A), (R, N)
        better = found_value > value  # (R, N)
        best = th.where(better.unsqueeze(-1), in_bounds(found.unsqueeze(1)).squeeze(1), own)  # (R, N, A)
        return best, (found_value - value).clamp_min(0)
