"""SPaCQL: soft partial conservative Q-learning (Jin & Montana), Algorithm 1, for continuous actions.

Offline, centralised critics, decentralised deterministic policies. The Bellman target mixes, over k = 1..n, targets in
which k randomly chosen agents follow their policies while the others keep their logged next actions; the mixture
leans to the k on which an ensemble of critics agrees.
"""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Draws, Logger, Stats
from learners.gradients import LossSpec, masked_mean, transition_mask
from modules.critics import REGISTRY as critic_REGISTRY
from modules.critics.ensemble_critic import EnsembleCritic
from modules.layers.squash import action_bounds, squash
from utils.errors import ConfigError

NOW, NEXT = slice(None, -1), slice(1, None)  # rows t and t+1 of a batch

# 1/u_k stays finite where the critics agree exactly; values are of the order of the return.
SMALLEST_UNCERTAINTY = 1e-6

CHOICES = {
    "partial_replacement": ("adaptive", "full", "average_single"),
    "cql_penalty": ("policy", "logsumexp"),
    "uncertainty_ensemble": ("online", "target"),
    "input_norm": ("dataset", "none"),
}


class SPaCQLLearner(BaseLearner):
    """SPaCQL, and with `partial_replacement` also its relatives CFCQL (`full`) and ICQL-QS (`average_single`)."""

    action_types = frozenset({"continuous"})
    LOSSES = (
        LossSpec("critic", modules=("critic",), lr="lr"),
        LossSpec("actor", modules=("agent",), lr="actor_lr", interval="actor_update_interval", clip="member"),
    )
    TARGETS = ("agent", "critic")
    critic: EnsembleCritic
    target_critic: EnsembleCritic
    low: Tensor
    high: Tensor

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_config(scheme, args)
        self.critic = critic_REGISTRY[args.critic_type](scheme, args)
        low, high = action_bounds(args)  # (A,)
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)
        self.n_agents: int = args.n_agents
        self.prepare()

    def draws(self, name: str, batch: EpisodeBatch) -> Draws:
        """Fresh randomness for one evaluation of a loss, (B, T-1, ...)."""
        if name != "critic":
            return {}
        args, n, device = self.args, self.n_agents, self.low.device
        lead = (batch.batch_size, batch.max_seq_length - 1)
        draws = {"noise": th.randn(*lead, n, args.n_actions, generator=self.generator, device=device)}
        if args.partial_replacement == "adaptive":
            draws["order"] = th.rand(*lead, n, n, generator=self.generator, device=device).argsort(-1)
        if args.cql_penalty == "logsumexp":
            shape = (*lead, args.n_penalty_samples, n, args.n_actions)
            draws["uniform"] = th.rand(shape, generator=self.generator, device=device)
        return draws

    # -- the critics (Algorithm 1, lines 5-16) -----------------------------------------------------------------------

    def critic_loss(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """Eq. 5: sum_j MSE(Q_j, Y_SP) + alpha sum_j xi_j, each member with its own penalty."""
        mask = transition_mask(batch).flatten()  # (R,)
        state = batch["state"][:, NOW].flatten(0, 1)  # (R, S)
        actions = batch["actions"][:, NOW].flatten(0, 1)  # (R, N, A)
        with th.no_grad():
            target, stats = self.target_value(batch, draws)  # (R,)
            alternatives = self.penalty_actions(batch, draws)  # (R, K, N, A)
        data, single = self.critic.data_and_single_replacements(state, actions, alternatives)  # (E, R), (E, R, K, N)
        error = data - target  # (E, R)
        penalty = self.penalty(data, single)  # (E, R)
        loss = masked_mean(error.square() + self.args.alpha_cql * penalty, mask).sum()
        stats["q_data"] = data.detach().mean(0)
        stats["td_error_abs"] = error.detach().abs().mean(0)
        stats["penalty"] = penalty.detach().mean(0)
        return loss, stats

    def penalty_actions(self, batch: EpisodeBatch, draws: Draws) -> Tensor:
        """Deviating actions of each agent that the penalty pushes down, (R, K, N, A): a_i ~ pi_i, or K uniform ones."""
        if self.args.cql_penalty == "logsumexp":
            return (self.low + draws["uniform"] * (self.high - self.low)).flatten(0, 1)
        raw = self.unroll(self.mac, batch, NOW).flatten(0, 1)  # (R, N, A)
        return squash(raw, self.low, self.high).unsqueeze(1)

    def penalty(self, data: Tensor, single: Tensor) -> Tensor:
        """xi_c of eq. 5 with lambda_i = 1/n, before alpha. data (E, R), single (E, R, K, N) -> (E, R).

        `policy` is the equation as printed (one action of a deterministic policy); `logsumexp` is CFCQL's published
        code, a log-sum-exp over uniform actions without its constants (log-density and -log K).
        """
        if self.args.cql_penalty == "logsumexp":
            return single.logsumexp(2).mean(-1) - data
        return single.squeeze(2).mean(-1) - data

    def target_value(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """Y_SP of eq. 6, (R,), and the weights and uncertainties behind it."""
        state = batch["state"][:, NEXT].flatten(0, 1)  # (R, S)
        logged = batch["actions"][:, NEXT].flatten(0, 1)  # (R, N, A), a'
        policy = self.noisy_target_actions(batch, draws)  # (R, N, A)
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
            replaced = th.arange(1, self.n_agents + 1, device=weights.device, dtype=weights.dtype)
            stats = {"w": weights, "u": uncertainty, "k_eff": (weights * replaced).sum(-1)}
        else:
            value = values.mean(-1).amin(0)  # (R,), average_single: mean over agents inside, then min over critics
        reward = batch["reward"][:, NOW].flatten()  # (R,)
        terminated = batch["terminated"][:, NOW].flatten().to(reward.dtype)
        target = reward + self.args.gamma * (1 - terminated) * value
        stats["target"] = target
        return target, stats

    def noisy_target_actions(self, batch: EpisodeBatch, draws: Draws) -> Tensor:
        """Target policies' next actions plus noise, inside the bounds, (R, N, A) (Algorithm 1, line 8)."""
        raw = self.unroll(self.target_mac, batch, NEXT)  # (B, T-1, N, A)
        noise = draws["noise"] * (self.args.target_noise * 0.5 * (self.high - self.low))
        actions = squash(raw, self.low, self.high) + noise
        return th.clamp(actions, self.low, self.high).flatten(0, 1)

    def next_action_valid(self, batch: EpisodeBatch) -> Tensor:
        """Whether row t+1 stores an action of the behaviour, (R,) bool; true where the batch does not say."""
        if "next_action_valid" in batch.data.transition_data:
            return batch["next_action_valid"][:, NOW].flatten() > 0
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
        """Line 20: raise Q_1(s, pi_i(o_i), a_-i), the others' actions as logged.

        Plus CFCQL's L2 on actions, and one of ours on the outputs before tanh (`pre_tanh_l2`, 0 in the paper).
        """
        mask = transition_mask(batch).flatten()  # (R,)
        state = batch["state"][:, NOW].flatten(0, 1)  # (R, S)
        logged = batch["actions"][:, NOW].flatten(0, 1)  # (R, N, A)
        raw = self.unroll(self.mac, batch, NOW).flatten(0, 1)  # (R, N, A)
        actions = squash(raw, self.low, self.high)
        first = self.critic.single_replacements(state, logged, actions.unsqueeze(1), members=1)  # (1, R, 1, N)
        value = first[0, :, 0].mean(-1)  # (R,)
        unit = th.tanh(raw)  # (R, N, A), the action in units of its bounds
        size = unit.square().mean(-1).sum(-1)  # (R,)
        reach = raw.square().mean((-2, -1))  # (R,), how far into tanh's flat ends
        loss = masked_mean(self.args.action_l2 * size + self.args.pre_tanh_l2 * reach - value, mask)
        saturated = (unit.detach().abs() > 0.95).to(unit.dtype).mean((-2, -1))  # (R,)
        return loss, {"q_policy": value.detach(), "actor_saturation": saturated}


def deviation(opinions: Tensor) -> Tensor:
    """Standard deviation over the ensemble (n - 1 in the divisor), (E, ...) -> (...).

    In two passes by hand: `Tensor.std` over a leading dimension is twenty times slower on a CPU.
    """
    return ((opinions - opinions.mean(0)).square().sum(0) / (len(opinions) - 1)).sqrt()


def check_config(scheme: dict[str, Any], args: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, where a key has no meaning here."""
    for key, choices in CHOICES.items():
        if getattr(args, key) not in choices:
            raise ConfigError(f"{key} must be one of {', '.join(choices)}, not {getattr(args, key)!r}")
    if args.critic_type not in critic_REGISTRY:
        raise ConfigError(f"critic_type must be one of {', '.join(critic_REGISTRY)}, not {args.critic_type!r}")
    if not scheme["actions"].get("dtype", th.float32).is_floating_point:
        raise ConfigError("spacql_learner handles continuous actions only: choose an environment with Box actions")
    if scheme["reward"]["vshape"] not in (1, (1,)):
        raise ConfigError("spacql_learner needs one team reward: set common_reward=True")
    if args.ensemble_size < 2 and args.partial_replacement == "adaptive":
        raise ConfigError("partial_replacement=adaptive weighs by disagreement: set ensemble_size to 2 or more")
