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
from learners.base_learner import BaseLearner, Draws, Logger, Stats
from learners.checks import check_choices, check_team_reward, require
from learners.optimisation import NEXT, NOW, LossSpec, available, masked_mean, transition_mask
from learners.policies import ContinuousPolicies, DiscretePolicies
from modules.behaviour import REGISTRY as density_REGISTRY
from modules.behaviour.base_density import BaseDensity
from modules.critics import REGISTRY as critic_REGISTRY
from modules.critics.ensemble_critic import EnsembleCritic
from utils.errors import ConfigError

# 1/u_k stays finite where the critics agree exactly; values are of the order of the return.
SMALLEST_UNCERTAINTY = 1e-6

CHOICES = {
    "partial_replacement": ("adaptive", "full", "average_single"),
    "cql_penalty": ("policy", "logsumexp"),
    "penalty_weights": ("uniform", "density"),
    "uncertainty_ensemble": ("online", "target"),
    "input_norm": ("dataset", "none"),
    "critic_dtype": ("float32", "bfloat16"),
}
# Keys that have no defaults, beside those of the policies and the base learner.
KEYS = (*CHOICES, "alpha_cql", "critic_type", "ensemble_size", "hidden_dim", "actor_lr", "actor_update_interval")
DENSITY_KEYS = ("penalty_temperature", "density_lr")


class SPaCQLLearner(BaseLearner):
    """SPaCQL, and with `partial_replacement` also its relatives CFCQL (`full`) and ICQL-QS (`average_single`).

    Where one agent varies alone (penalty, policies) an expectation over its discrete actions is exact; the next joint
    action of the target is sampled, as Algorithm 1 says.
    """

    action_types = frozenset({"continuous", "discrete"})
    LOSSES: tuple[LossSpec, ...] = (
        LossSpec("critic", modules=("critic",), lr="critic_lr"),
        LossSpec("actor", modules=("agent",), lr="actor_lr", interval="actor_update_interval", clip="member"),
    )
    TARGETS = ("agent", "critic")
    DENSITY_LOSS = LossSpec("density", modules=("density",), lr="density_lr")
    critic: EnsembleCritic
    target_critic: EnsembleCritic
    density: BaseDensity

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_config(scheme, args)
        self.critic = critic_REGISTRY[args.critic_type](scheme, args)
        self.policies = policies_for(scheme)(args)
        self.n_agents: int = args.n_agents
        if args.penalty_weights == "density":
            self.density = density_REGISTRY[self.policies.DENSITY](scheme, args)
            self.LOSSES = (*self.LOSSES, self.DENSITY_LOSS)
        self.prepare()

    def draws(self, name: str, batch: EpisodeBatch) -> Draws:
        """Fresh randomness for one evaluation of a loss, (B, T-1, ...)."""
        if name != "critic":
            return {}
        n, generator = self.n_agents, self.generator
        lead = (batch.batch_size, batch.max_seq_length - 1)
        draws = self.policies.next_draws(lead, generator)
        if self.args.partial_replacement == "adaptive":
            draws["order"] = th.rand(*lead, n, n, generator=generator, device=generator.device).argsort(-1)
        if self.args.cql_penalty == "logsumexp":
            draws |= self.policies.spread_draws(lead, generator)
        return draws

    def outputs(self, mac: Any, batch: EpisodeBatch, rows: slice) -> Tensor:
        """What the policies say on the time steps `rows`: means before tanh, or probabilities, (R, N, A)."""
        return self.policies.read(self.unroll(mac, batch, rows), batch["avail_actions"][:, rows])

    # -- the critics (Algorithm 1, lines 5-16) -----------------------------------------------------------------------

    def critic_loss(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """Eq. 5: sum_j MSE(Q_j, Y_SP) + alpha sum_j xi_j, each member with its own penalty."""
        mask = transition_mask(batch).flatten()  # (R,)
        state = batch["state"][:, NOW].flatten(0, 1)  # (R, S)
        actions = self.policies.logged(batch, NOW)  # (R, N, A)
        with th.no_grad():
            target, stats = self.target_value(batch, draws)  # (R,)
            alternatives, outputs = self.penalty_actions(batch, draws)  # (R, K, N, A), (R, N, A)
            weights = self.agent_weights(outputs, batch)  # (R, N)
        data, single = self.critic.data_and_single_replacements(state, actions, alternatives)  # (E, R), (E, R, K, N)
        error = data - target  # (E, R)
        penalty = self.penalty(data, single, outputs, weights, batch)  # (E, R)
        loss = masked_mean(error.square() + self.args.alpha_cql * penalty, mask).sum()
        stats["q_data"] = data.detach().mean(0)
        stats["td_error_abs"] = error.detach().abs().mean(0)
        stats["penalty"] = penalty.detach().mean(0)
        if weights is not None:
            stats["lambda"] = weights / self.n_agents
        return loss, stats

    def penalty_actions(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Tensor | None]:
        """Deviating actions of each agent that the penalty pushes down, (R, K, N, A), and what the policies say.

        `policy`: a_i ~ pi_i (one action, or all with their probabilities); `logsumexp`: K uniform ones, or all. The
        policies are read only where the penalty or its weights depend on them.
        """
        if self.args.cql_penalty == "logsumexp":
            weighted = self.args.penalty_weights == "density"
            return self.policies.spread(batch, NOW, draws), self.outputs(self.mac, batch, NOW) if weighted else None
        outputs = self.outputs(self.mac, batch, NOW)  # (R, N, A)
        return self.policies.alternatives(outputs, batch, NOW), outputs

    def agent_weights(self, outputs: Tensor | None, batch: EpisodeBatch) -> Tensor | None:
        """n lambda_i of eq. 5, (R, N), mean 1 over the agents; None where all are 1.

        `density` is CFCQL's: lambda = softmax_i(tau * KL(pi_i || mu_i)), more weight on the agent whose policy is
        farther from its behaviour mu_i, with -log mu_i(a_i | o_i) in the divergence's place for deterministic ones; tau
        is `penalty_temperature`. CFCQL's code trains a VAE for continuous actions beforehand, with a deviation of 0.354
        half action ranges where `density` resolves 0.1: the same tau is sharper here.
        """
        if self.args.penalty_weights == "uniform" or outputs is None:
            return None
        actions = self.policies.alternatives(outputs, batch, NOW)  # (R, K, N, A)
        obs = batch["obs"][:, NOW].flatten(0, 1)  # (R, N, O)
        log_mu = self.density.log_prob(obs, actions, available(batch, NOW))  # (R, K, N)
        divergence = self.policies.divergence(log_mu, outputs)  # (R, N)
        return self.n_agents * (self.args.penalty_temperature * divergence).softmax(-1)

    def penalty(
        self, data: Tensor, single: Tensor, outputs: Tensor | None, weights: Tensor | None, batch: EpisodeBatch
    ) -> Tensor:
        """xi_c of eq. 5, before alpha. data (E, R), single (E, R, K, N), weights (R, N) or None -> (E, R).

        `policy` is the equation as printed, the expectation under each policy; `logsumexp` is CFCQL's published code,
        a log-sum-exp over uniform actions or, where they are discrete, over all available ones.
        """
        if self.args.cql_penalty == "logsumexp" or outputs is None:
            deviating = self.policies.logsumexp(single, batch, NOW)  # (E, R, N)
        else:
            deviating = self.policies.expected(single, outputs)  # (E, R, N)
        return (deviating if weights is None else weights * deviating).mean(-1) - data

    def density_loss(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """-log mu_i(a_i | o_i) of the logged actions, averaged over agents and transitions."""
        mask = transition_mask(batch).flatten()  # (R,)
        logged = self.policies.logged(batch, NOW).unsqueeze(1)  # (R, 1, N, A)
        obs = batch["obs"][:, NOW].flatten(0, 1)  # (R, N, O)
        log_mu = self.density.log_prob(obs, logged, available(batch, NOW))  # (R, 1, N)
        return -masked_mean(log_mu.mean((1, 2)), mask), {}

    def target_value(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """Y_SP of eq. 6, (R,), and the weights and uncertainties behind it."""
        state = batch["state"][:, NEXT].flatten(0, 1)  # (R, S)
        logged = self.policies.logged(batch, NEXT)  # (R, N, A), a'
        outputs = self.outputs(self.target_mac, batch, NEXT)  # (R, N, A)
        policy = self.policies.next_actions(outputs, batch, NEXT, draws)  # (R, N, A), line 8
        has_next = self.next_action_valid(batch)  # (R,) bool
        subsets = self.subsets(draws, has_next)  # (R, M, N) bool
        values = self.target_critic.subset_replacements(state, logged, policy, subsets)  # (E, R, M)
        stats: Stats = {}
        if self.args.partial_replacement == "adaptive":
            if self.args.uncertainty_ensemble == "online":
                opinions = self.critic.subset_replacements(state, logged, policy, subsets)  # (E, R, n)
            else:
                opinions = values
            uncertainty = deviation(opinions)  # (R, n), u_k of eq. 7
            weights = self.weights(uncertainty, has_next)  # (R, n), w_k
            value = (weights * values.amin(0)).sum(-1)  # (R,), min over the targets before weighting
            mixed = (weights * values).sum(-1)  # (E, R)
            replaced = th.arange(1, self.n_agents + 1, device=weights.device, dtype=weights.dtype)
            k_eff = (weights * replaced).sum(-1)  # (R,)
            stats = {"w": weights, "w_max": weights.amax(-1), "u": uncertainty, "k_eff": k_eff}
        else:
            mixed = values.mean(-1)  # (E, R), average_single: mean over agents inside, then min over critics
            value = mixed.amin(0)  # (R,)
        reward = batch["reward"][:, NOW].flatten()  # (R,)
        terminated = batch["terminated"][:, NOW].flatten().to(reward.dtype)
        target = reward + self.args.gamma * (1 - terminated) * value
        stats["target"] = target
        if len(mixed) > 1:
            stats["u_target"] = deviation(mixed)  # (R,), of what the target critics say before their minimum: Figure 2
        return target, stats

    def next_action_valid(self, batch: EpisodeBatch) -> Tensor:
        """Whether row t+1 stores an action of the behaviour, (R,) bool.

        Batches whose scheme has no key for it (stock's) say so by what no action encodes to where they are discrete,
        zeros; true where continuous ones do not say.
        """
        if "next_action_valid" in batch.data.transition_data:
            return batch["next_action_valid"][:, NOW].flatten() > 0
        if not batch["actions"].is_floating_point():
            return (batch["actions_onehot"][:, NEXT] > 0).flatten(2).any(-1).flatten()
        return th.ones_like(batch["filled"][:, NOW]).flatten() > 0

    def subsets(self, draws: Draws, has_next: Tensor) -> Tensor:
        """The sets of agents that deviate, (R, M, N) bool (Algorithm 1, line 7).

        One uniformly random subset of each size k = 1..n (`adaptive`), all agents (`full`, M=1), or each agent alone
        (`average_single`). Without a logged next action everybody follows the policy.
        """
        everybody = ~has_next[:, None, None]  # (R, 1, 1)
        kind, n, device = self.args.partial_replacement, self.n_agents, has_next.device
        if kind == "adaptive":
            sizes = th.arange(1, n + 1, device=device).unsqueeze(-1)  # (n, 1)
            return (draws["order"].flatten(0, 1) < sizes) | everybody  # (R, n, N)
        if kind == "full":
            return th.ones(1, 1, n, dtype=th.bool, device=device) | everybody  # (R, 1, N)
        return th.eye(n, dtype=th.bool, device=device) | everybody  # (R, N, N)

    def weights(self, uncertainty: Tensor, has_next: Tensor) -> Tensor:
        """w_k = (1/u_k) / sum_k (1/u_k), (R, n); all on k = n where there is no logged next action."""
        inverse = 1.0 / uncertainty.clamp_min(SMALLEST_UNCERTAINTY)  # (R, n)
        weights = inverse / inverse.sum(-1, keepdim=True)
        joint = (th.arange(self.n_agents, device=weights.device) == self.n_agents - 1).to(weights.dtype)  # (n,)
        return th.where(has_next.unsqueeze(-1), weights, joint)

    # -- the policies (Algorithm 1, lines 18-22) ---------------------------------------------------------------------

    def actor_loss(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """Line 20: raise E over a_i ~ pi_i of Q_1(s, a_i, a_-i), the others' actions as logged."""
        mask = transition_mask(batch).flatten()  # (R,)
        state = batch["state"][:, NOW].flatten(0, 1)  # (R, S)
        logged = self.policies.logged(batch, NOW)  # (R, N, A)
        outputs = self.outputs(self.mac, batch, NOW)  # (R, N, A)
        alternatives = self.policies.alternatives(outputs, batch, NOW)  # (R, K, N, A)
        first = self.critic.single_replacements(state, logged, alternatives, members=1)  # (1, R, K, N)
        value = self.policies.expected(first, outputs)[0].mean(-1)  # (R,)
        regulariser, stats = self.policies.regulariser(outputs, batch, NOW)  # (R,)
        stats["q_policy"] = value.detach()
        return masked_mean(regulariser - value, mask), stats


def policies_for(scheme: dict[str, Any]) -> type[ContinuousPolicies] | type[DiscretePolicies]:
    """The kind of policies that the scheme's actions need."""
    return ContinuousPolicies if scheme["actions"]["dtype"].is_floating_point else DiscretePolicies


def deviation(opinions: Tensor) -> Tensor:
    """Standard deviation over the ensemble (n - 1 in the divisor), (E, ...) -> (...).

    In two passes by hand: `Tensor.std` over a leading dimension is twenty times slower on a CPU.
    """
    return ((opinions - opinions.mean(0)).square().sum(0) / (len(opinions) - 1)).sqrt()


def check_config(scheme: dict[str, Any], args: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, where a key is missing, has no meaning here or does not suit the actions."""
    policies = policies_for(scheme)
    config = "spacql" if policies is ContinuousPolicies else "spacql_discrete"
    require(args, (*KEYS, *policies.KEYS), "spacql_learner", config)
    if args.penalty_weights == "density":
        require(args, DENSITY_KEYS, "spacql_learner with penalty_weights=density", config)
    check_choices(args, CHOICES | {"critic_type": tuple(critic_REGISTRY)})
    if args.agent_output_type != policies.OUTPUT_TYPE:
        raise ConfigError(
            f"for these actions spacql_learner needs agent_output_type={policies.OUTPUT_TYPE}, "
            f"not {args.agent_output_type}: use --config={config}"
        )
    check_team_reward(scheme, "spacql_learner")
    if args.ensemble_size < 2 and args.partial_replacement == "adaptive":
        raise ConfigError("partial_replacement=adaptive weighs by disagreement: set ensemble_size to 2 or more")
