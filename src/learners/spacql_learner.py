"""SPaCQL: soft partial conservative Q-learning (Jin & Montana), Algorithm 1, for continuous and discrete actions.

Offline, centralised critics, decentralised policies (deterministic, or softmax where actions are discrete). The Bellman
target mixes, over k = 1..n, targets in which k randomly chosen agents follow their policies while the others keep their
logged next actions; the mixture leans to the k on which an ensemble of critics agrees.
"""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Context, Logger, Noise, Stats
from learners.checks import check_team_reward
from learners.conservative_penalty import REGISTRY as penalty_REGISTRY
from learners.conservative_penalty import Rows
from learners.losses import (
    NEXT,
    NOW,
    available,
    masked_mean,
    next_action_known,
    rows_of,
    td_target,
    transition_mask,
)
from learners.optimisation import TARGET_KEYS, TARGET_NOISE, LossSpec, of_every_run, rate
from learners.partial_replacement import REGISTRY as replacement_REGISTRY
from learners.partial_replacement import standard_deviation
from learners.penalty_samples import PENALTY_NOISE
from modules.behaviour import REGISTRY as density_REGISTRY
from modules.behaviour.base_density import BaseDensity
from modules.critics.ensemble_critic import CRITIC_KEYS, EnsembleCritic
from modules.policies import build_policy
from utils.errors import ConfigError
from utils.keys import COUNT, POSITIVE, WEIGHT, Key

CONTINUOUS_ONLY = {
    "target_noise": Key(TARGET_NOISE, WEIGHT, actions="continuous"),
    "n_penalty_samples": Key(
        "actions per agent and row of each kind in the penalty",
        COUNT,
        actions="continuous",
        where={"cql_penalty": ("logsumexp", "logsumexp_policies")},
    ),
    "penalty_noise": Key(PENALTY_NOISE, POSITIVE, actions="continuous", where={"cql_penalty": ("logsumexp_policies",)}),
    "action_l2": Key("weight of the squared policy actions in the policies' loss", WEIGHT, actions="continuous"),
    "pre_tanh_l2": Key("weight of the squared policy outputs before tanh", WEIGHT, actions="continuous"),
}
WITH_ENSEMBLE = {
    "partial_replacement": tuple(name for name, rule in replacement_REGISTRY.items() if rule.needs_ensemble)
}
DENSITY = {"penalty_weights": ("density",)}


class SPaCQLLearner(BaseLearner):
    """SPaCQL, and with `partial_replacement` also its relatives CFCQL (`full`) and ICQL-QS (`average_single`).

    Where one agent's action varies alone (penalty, policies) an expectation over its discrete actions is exact; the
    next joint action of the target is sampled, as Algorithm 1 says.
    """

    action_types = frozenset({"continuous", "discrete"})
    KEYS = {
        **TARGET_KEYS,
        **CRITIC_KEYS,
        **of_every_run("hidden_dim"),
        **CONTINUOUS_ONLY,
        "partial_replacement": Key("agents replaced in the target", tuple(replacement_REGISTRY)),
        "uncertainty_ensemble": Key(
            "critics whose disagreement is u_k (eq. 7)", ("online", "target"), where=WITH_ENSEMBLE
        ),
        "cql_penalty": Key("penalty xi_c of eq. 5", tuple(penalty_REGISTRY)),
        "alpha_cql": Key("weight of the penalty", WEIGHT),
        "penalty_weights": Key("agents' weights lambda_i of eq. 5", ("uniform", "density")),
        "penalty_temperature": Key("temperature of the softmax of penalty_weights=density", WEIGHT, where=DENSITY),
        "density_lr": rate("the behaviour's estimate", where=DENSITY),
        "critic_lr": rate("the critics"),
        "actor_lr": rate("the policies"),
        "actor_update_interval": Key("critic updates per policy update", COUNT),
    }
    CONFIGS = ("spacql", "spacql_discrete")
    CRITICS = "central"
    ALIASES = {"lr": "critic_lr"}
    LOSSES: tuple[LossSpec, ...] = (
        LossSpec("critic", modules=("critic",), lr="critic_lr"),
        LossSpec("actor", modules=("agent",), lr="actor_lr", interval="actor_update_interval", clip="member"),
    )
    TARGETS = ("agent", "critic")
    DENSITY_LOSS = LossSpec("density", modules=("density",), lr="density_lr")
    target_critic: EnsembleCritic
    density: BaseDensity

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_team_reward(scheme, "spacql_learner")
        self.replacement = replacement_REGISTRY[args.partial_replacement]
        if self.replacement.needs_ensemble and args.ensemble_size < 2:
            raise ConfigError(
                f"partial_replacement={args.partial_replacement} weighs by disagreement: set ensemble_size to 2 or more"
            )
        noise_std = args.target_noise if self.continuous else 0.0
        self.policy = build_policy(args, self.continuous, kinds=("mean", "pi_logits"), noise_std=noise_std)
        self.critic = EnsembleCritic(scheme, args)
        self.xi = penalty_REGISTRY[args.cql_penalty](self.policy, args)
        self.n_agents: int = args.n_agents
        self.l2 = (args.action_l2, args.pre_tanh_l2) if self.continuous else (0.0, 0.0)
        self.weighs_agents: bool = args.penalty_weights == "density"
        if self.weighs_agents:
            self.density = density_REGISTRY["mixture" if self.continuous else "categorical"](scheme, args)
            self.LOSSES = (*self.LOSSES, self.DENSITY_LOSS)
        self.prepare()

    def noise(self, name: str, batch: EpisodeBatch) -> Noise:
        """Fresh randomness for one evaluation of a loss, (B, T-1, ...)."""
        if name != "critic":
            return {}
        lead = (batch.batch_size, batch.max_seq_length - 1)
        noise = {"next": self.policy.make_noise((*lead, self.n_agents), self.generator, self.generator.device)}
        noise |= self.replacement.noise(lead, self.n_agents, self.generator)
        return noise | self.xi.noise(lead, self.n_agents, self.generator)

    def outputs(self, mac: Any, batch: EpisodeBatch, steps: slice) -> Tensor:
        """What the policies say on the time steps `steps`: means before tanh, or probabilities, (R, N, A)."""
        outputs = self.unroll(mac, batch, steps).flatten(0, 1)  # (R, N, A)
        return self.policy.read(outputs, available(batch, steps))

    # -- the critics (Algorithm 1, lines 5-16) -----------------------------------------------------------------------

    def critic_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """Eq. 5: sum_j mean((Q_j - Y)^2 + alpha xi_j), each critic with its own penalty.

        xi_j = sum_i lambda_i (Q_j(s, a_i ~ pi_i, a_-i) - Q_j(s, a)), written as a mean over agents of n lambda_i.
        """
        mask, has = transition_mask(batch).flatten(), available(batch, NOW)  # (R,), (R, N, A)
        state, actions = rows_of(batch, "state", NOW), rows_of(batch, "actions_onehot", NOW)  # (R, S), (R, N, A)
        with th.no_grad():
            target, stats = self.target(batch, noise)  # (R,)
            read = self.xi.reads_policies or self.weighs_agents
            outputs = self.outputs(self.mac, batch, NOW) if read else actions  # (R, N, A), else nobody looks at them
            after = self.outputs(self.mac, batch, NEXT) if self.xi.reads_next else None  # (R, N, A)
            rows = Rows(actions, has, outputs, after)
            replacements, log_densities = self.xi.actions(rows, noise)  # (R, K, N, A), (R, K, N) or None
            weights = self.agent_weights(outputs, batch) if self.weighs_agents else None  # (R, N)
        data, replaced = self.critic.data_and_single_replacements(state, actions, replacements)  # (E, R), (E, R, K, N)
        error = data - target  # (E, R)
        single = self.xi.value(replaced, rows, log_densities)  # (E, R, N)
        penalty = (single if weights is None else weights * single).mean(-1) - data  # (E, R), xi before alpha
        loss = masked_mean(error.square() + self.args.alpha_cql * penalty, mask).sum()
        stats["q_data"] = data.detach().mean(0)
        stats["td_error_abs"] = error.detach().abs().mean(0)
        stats["penalty"] = penalty.detach().mean(0)
        if weights is not None:
            stats["lambda"] = weights / self.n_agents
        return loss, stats

    def target(self, batch: EpisodeBatch, noise: Noise) -> tuple[Tensor, Stats]:
        """Y of eq. 6, (R,): r + gamma (1 - terminated) times the mixture of the target critics' values; statistics."""
        state, logged = rows_of(batch, "state", NEXT), rows_of(batch, "actions_onehot", NEXT)  # (R, S), (R, N, A)
        outputs = self.outputs(self.target_mac, batch, NEXT)  # (R, N, A)
        own = self.policy.sample(outputs, available(batch, NEXT), noise["next"].flatten(0, 1))  # (R, N, A), line 8
        known = self.next_action_valid(batch)  # (R,) bool
        subsets = self.replacement.subsets(noise, self.n_agents, known.device) | ~known[:, None, None]  # (R, M, N)
        values = self.target_critic.subset_replacements(state, logged, own, subsets)  # (E, R, M), line 9
        opinions = values
        if self.replacement.needs_ensemble and self.args.uncertainty_ensemble == "online":
            opinions = self.critic.subset_replacements(state, logged, own, subsets)  # (E, R, M), line 10
        value, mixed, stats = self.replacement.mix(values, opinions, known)  # (R,), (E, R), line 11
        reward, terminated = batch["reward"][:, NOW].flatten(), batch["terminated"][:, NOW].flatten()  # (R,)
        stats["target"] = td_target(reward, terminated, value, self.args.gamma)
        if len(mixed) > 1:
            stats["u_target"] = standard_deviation(mixed)  # (R,), of the target critics before their minimum: Figure 2
        return stats["target"], stats

    def next_action_valid(self, batch: EpisodeBatch) -> Tensor:
        """Whether row t+1 stores an action of the behaviour, (R,) bool; without one all agents are replaced."""
        return next_action_known(batch)

    def agent_weights(self, outputs: Tensor, batch: EpisodeBatch) -> Tensor:
        """n lambda_i of eq. 5 where agents are weighted, (R, N), mean 1 over the agents.

        This is CFCQL's: lambda = softmax_i(tau * KL(pi_i || mu_i)), more weight on the agent whose policy is
        farther from its behaviour mu_i. For deterministic policies -log mu_i(a_i | o_i) stands for the divergence; tau
        is `penalty_temperature`. CFCQL's code trains a VAE for continuous actions beforehand, with a standard deviation
        of 0.354 half action ranges where `density` resolves 0.1: the same tau is sharper here.
        """
        has = available(batch, NOW)  # (R, N, A)
        log_mu = self.density.log_prob(rows_of(batch, "obs", NOW), self.policy.support(outputs, has), has)  # (R, K, N)
        divergence = self.policy.divergence(log_mu, outputs)  # (R, N)
        shares: Tensor = (self.args.penalty_temperature * divergence).softmax(-1)  # (R, N), lambda_i
        return self.n_agents * shares

    def density_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """-log mu_i(a_i | o_i) of the logged actions, averaged over agents and transitions."""
        mask = transition_mask(batch).flatten()  # (R,)
        logged = rows_of(batch, "actions_onehot", NOW).unsqueeze(1)  # (R, 1, N, A)
        log_mu = self.density.log_prob(rows_of(batch, "obs", NOW), logged, available(batch, NOW))  # (R, 1, N)
        return -masked_mean(log_mu.mean((1, 2)), mask), {}

    # -- the policies (Algorithm 1, lines 18-22) ---------------------------------------------------------------------

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """Line 20: raise E over a_i ~ pi_i of Q_1(s, a_i, a_-i), the others' actions as logged."""
        mask, has = transition_mask(batch).flatten(), available(batch, NOW)  # (R,), (R, N, A)
        state, logged = rows_of(batch, "state", NOW), rows_of(batch, "actions_onehot", NOW)  # (R, S), (R, N, A)
        outputs = self.outputs(self.mac, batch, NOW)  # (R, N, A)
        own = self.policy.support(outputs, has)  # (R, K, N, A)
        first = self.critic.single_replacements(state, logged, own, members=1)  # (1, R, K, N)
        value = self.policy.expected(first, outputs)[0].mean(-1)  # (R,)
        regulariser = self.policy.regulariser(outputs, has, *self.l2)  # (R,)
        stats = self.policy.statistics(outputs, has)
        stats["q_policy"] = value.detach()
        return masked_mean(regulariser - value, mask), stats
