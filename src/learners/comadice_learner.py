"""ComaDICE (Bui, Mai & Nguyen): stationary-distribution correction with factorised values, offline.

Let rho be the state-action occupancy of the policies and rho^mu the data's. The problem is max E_rho[r] - alpha
D_f(rho || rho^mu). Its Lagrange dual has one unknown, the values nu. At the solution the weight w = rho / rho^mu is
known for every logged pair, and the policies imitate the data with these weights. Each agent has its own nu_i and q_i;
a mixer makes the team's of them. "Box" names a box of ComaDICE's poster. Its printed losses do not all hold
(docs/learners/comadice.md); losses that are not the default are in comadice_variants.py.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Context, Logger, Noise, Stats
from learners.checks import check_team_reward
from learners.comadice_variants import VARIANTS, Variant
from learners.imitation import Imitation
from learners.losses import EVERY, FIRST, NEXT, NOW, masked_mean, rows_of, td_target, transition_mask
from learners.optimisation import MIXER_KEYS, TARGET_KEYS, LossSpec, of_every_run, rate
from learners.svn import normalised, spread
from modules.critics.ensemble_critic import EnsembleCritic
from modules.critics.local_critic import LocalCritic
from modules.divergences import REGISTRY as divergence_REGISTRY
from modules.layers.normaliser import Normaliser
from modules.mixers import REGISTRY as mixer_REGISTRY
from modules.mixers import build_mixer
from modules.mixers.hypernet import state_size
from utils.errors import ConfigError
from utils.histogram import WEIGHT_EDGES
from utils.keys import POSITIVE, Key

_LOG = logging.getLogger(__name__)
WITH_TARGETS = {"value_loss": tuple(VARIANTS)}


class ComaDICELearner(BaseLearner):
    """ComaDICE, its values trained on the dual itself (`value_loss: full`) or on one of `VARIANTS`.

    `advantage` says where the dual has A(s, a) = E[r + gamma nu(s')] - nu(s) from. `sample`: the logged next state,
    exact where the environment is deterministic, too optimistic elsewhere, for f* is convex. `joint`: a network of the
    state and all actions. `mixed`: M[q - nu] with the local q_i of the poster, as the variants have it.
    """

    action_types = frozenset({"continuous", "discrete"})
    EXTRAS = ("init_obs", "init_state")
    KEYS = {
        **of_every_run("gamma", "hidden_dim"),
        **{name: replace(TARGET_KEYS[name], where=WITH_TARGETS) for name in ("target_update_interval", "tau")},
        **MIXER_KEYS,
        "value_loss": Key("loss of the values", ("full", *VARIANTS)),
        "value_memory": Key("give nu_i and q_i a GRU, as in recurrent policies", bool),
        "advantage": Key("advantage that `full` weighs actions by", ("sample", "joint", "mixed")),
        "divergence": Key("divergence f", tuple(divergence_REGISTRY)),
        "alpha": Key("weight of the divergence, in units of the reward's value", POSITIVE),
        "mixer": Key("mixer of the local values", tuple(mixer_REGISTRY)),
        "value_lr": rate("the values"),
        "q_lr": rate("q and of the joint advantage", where={**WITH_TARGETS, "advantage": ("joint", "mixed")}),
        "actor_lr": rate("the policies"),
    }
    CONFIGS = ("comadice", "comadice_discrete")
    CRITICS = "per agent, mixed"
    ALIASES = {"lr": "value_lr"}

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_config(scheme, mac, args)
        self.imitation = Imitation(scheme, args)
        self.value = LocalCritic(scheme, args, with_actions=False, recurrent=args.value_memory)  # nu_i
        self.mixer: Any = build_mixer(args.mixer, args)  # M_theta
        self.normaliser = Normaliser(state_size(args), field="state")  # of the mixer's states
        self.divergence = divergence_REGISTRY[args.divergence]
        self.variant: Variant | None = VARIANTS.get(args.value_loss)
        self.advantage_from: str = args.advantage if self.variant is None else "mixed"
        if self.advantage_from == "joint":
            self.joint = EnsembleCritic(scheme, args, members=1)  # e(s, a_1..a_N)
        if self.advantage_from == "mixed":
            self.q = LocalCritic(scheme, args, with_actions=True, recurrent=args.value_memory)  # q_i
        self.LOSSES = self.losses()
        self.TARGETS = () if self.variant is None else self.variant.targets  # the dual's gradient runs through both nu
        self.prepare()

    @classmethod
    def critics(cls, config: Mapping[str, Any]) -> str:
        return "central" if config["advantage"] == "joint" else cls.CRITICS

    def losses(self) -> tuple[LossSpec, ...]:
        """Who moves what. The mixer belongs to the values' loss, as in the poster, or, in some variants, to q's.

        The normaliser has no parameters; it is among the modules to be saved with them.
        """
        with_q = self.variant is not None and self.variant.mixer_follows_q
        value = LossSpec("value", ("value", "normaliser", *(() if with_q else ("mixer",))), lr="value_lr")
        actor = LossSpec("actor", ("agent",), lr="actor_lr", clip="member")
        if self.advantage_from == "sample":
            return (value, actor)
        if self.advantage_from == "joint":
            return (LossSpec("joint", ("joint",), lr="q_lr"), value, actor)
        return (LossSpec("q", ("q", "mixer") if with_q else ("q",), lr="q_lr"), value, actor)

    # -- values: box "Value Factorization" ---------------------------------------------------------------------------

    def nu(self, batch: EpisodeBatch, steps: slice, prefix: str = "") -> Tensor:
        """nu^tot(s) = M[nu(s)], (B, T'); prefix `target_` for the targets'."""
        local = getattr(self, f"{prefix}value")(batch["obs"])[:, steps]  # (B, T', N)
        mixed: Tensor = getattr(self, f"{prefix}mixer")(local, self.normaliser(batch["state"][:, steps]))
        return mixed.squeeze(-1)

    def start_nu(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """nu^tot(s_0) of the rows' episodes, (R,), and nu_i(s_0), (R, N).

        s_0 comes with windows (`init_obs`, `init_state`); whole episodes begin with it. A window is as likely as its
        episode is long, so long episodes count for more here.
        """
        if "init_obs" in batch.scheme:
            obs, state = batch["init_obs"].unsqueeze(1), batch["init_state"].unsqueeze(1)  # (B, 1, N, O), (B, 1, S)
        else:
            obs, state = batch["obs"][:, FIRST], batch["state"][:, FIRST]
        local = self.value(obs)  # (B, 1, N)
        total = self.mixer(local, self.normaliser(state)).squeeze(-1)  # (B, 1)
        steps = batch.max_seq_length - 1
        return total.expand(-1, steps).flatten(), local.expand(-1, steps, -1).flatten(0, 1)

    def backup(self, batch: EpisodeBatch, next_nu: Tensor) -> Tensor:
        """r + gamma nu^tot(s'), 0 after a terminal, of nu^tot(s') (B, T-1): (R,)."""
        reward, terminated = batch["reward"][:, NOW].squeeze(-1), batch["terminated"][:, NOW].squeeze(-1)  # (B, T-1)
        return td_target(reward, terminated, next_nu, self.args.gamma).flatten()

    # -- what the values learn: box "Closed-Form Solution" -----------------------------------------------------------

    def value_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """The dual, or the variant that `value_loss` names, a mean over valid rows."""
        rows, start = self.dual(batch) if self.variant is None else self.variant.objective(self, batch)  # (R,), (R,)
        return masked_mean(rows, transition_mask(batch).flatten()), {"nu_start": start.detach()}

    def dual(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """(1 - gamma) nu(s_0) + alpha f*(A / alpha), A = r + gamma nu(s') - nu(s), gradient through both nu.

        The box has - before f*; the derivation has +. With a learned advantage e the gradient is w*(e / alpha) grad A.
        One sampled next state is an unbiased estimate of grad A. It is not one of f*(A / alpha), for f* is convex.
        """
        start, _ = self.start_nu(batch)  # (R,)
        sampled = self.sampled_advantage(batch)  # (R,)
        if self.advantage_from == "sample":
            penalty = self.penalty(sampled)
        else:
            with th.no_grad():
                learned = self.advantage(batch)  # (R,)
                value, slope = self.penalty(learned), self.weight(learned)
            penalty = value + slope * (sampled - sampled.detach())
        return (1 - self.args.gamma) * start + penalty, start

    def penalty(self, advantage: Tensor) -> Tensor:
        """alpha f*(A / alpha), elementwise."""
        alpha: float = self.args.alpha
        return alpha * self.divergence.conjugate(advantage / alpha)

    # -- advantages, and what q and the joint advantage learn --------------------------------------------------------

    def advantage(self, batch: EpisodeBatch) -> Tensor:
        """A(s, a), (R,): sampled, of the joint network, or mixed, as the key `advantage` says."""
        if self.advantage_from == "sample":
            return self.sampled_advantage(batch)
        if self.advantage_from == "mixed":
            return self.mixed_advantage(batch)
        actions = rows_of(batch, "actions_onehot", NOW)  # (R, N, A), continuous ones as they are
        values: Tensor = self.joint(rows_of(batch, "state", NOW), actions)  # (1, R)
        return values.squeeze(0)

    def sampled_advantage(self, batch: EpisodeBatch) -> Tensor:
        """r + gamma nu^tot(s') - nu^tot(s) with the logged s', (R,)."""
        nu = self.nu(batch, EVERY)  # (B, T)
        return self.backup(batch, nu[:, NEXT]) - nu[:, NOW].flatten()

    def mixed_advantage(self, batch: EpisodeBatch) -> Tensor:
        """A^tot = M[q - nu] (box "Value Factorization"), (R,). The mixer's bias stands in nu^tot alone."""
        states = self.normaliser(batch["state"][:, NOW])  # (B, T-1, S)
        mixed: Tensor = self.mixer(self.gaps(batch), states, with_bias=False)
        return mixed.flatten()

    def gaps(self, batch: EpisodeBatch, prefix: str = "") -> Tensor:
        """q_i(o_i, a_i) - nu_i(o_i) of the logged actions, (B, T-1, N); prefix `target_` for the target of q."""
        critic: LocalCritic = getattr(self, f"{prefix}q")
        gaps: Tensor = critic(batch["obs"][:, NOW], batch["actions_onehot"][:, NOW]) - self.value(batch["obs"][:, NOW])
        return gaps

    def batch_context(self, name: str, batch: EpisodeBatch) -> Context:
        """What `svn` divides the TD errors of q's loss by, ()."""
        if name != "q" or not self.args.svn:
            return {}
        return {"spread": spread(self.mixed_q(batch), transition_mask(batch).flatten())}

    def mixed_q(self, batch: EpisodeBatch) -> Tensor:
        """Q^tot = M[q - nu] + M[nu] of the logged actions, (R,)."""
        return self.mixed_advantage(batch) + self.nu(batch, NOW).flatten()

    def q_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """Box "MSE Loss for Q-function": (M[q - nu] - (r + gamma M[nu'] - M[nu]))^2, of nu' the targets'.

        In the dual, where nu has no targets, nu' is the values' own.
        """
        with th.no_grad():
            next_nu = self.nu(batch, NEXT, "" if self.variant is None else "target_")  # (B, T-1)
        error = self.mixed_q(batch) - self.backup(batch, next_nu)  # (R,)
        loss = masked_mean(normalised(error, context).square(), transition_mask(batch).flatten())
        return loss, {"q_error_abs": error.detach().abs()}

    def joint_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """(e(s, a) - (r + gamma nu' - nu))^2: its minimum e is the mean of the sampled advantage over next states."""
        with th.no_grad():
            sampled = self.sampled_advantage(batch)  # (R,)
        error = self.advantage(batch) - sampled
        return masked_mean(error.square(), transition_mask(batch).flatten()), {"joint_error_abs": error.detach().abs()}

    # -- what the policies learn: "Optimal w" and box "Policy Loss" ------------------------------------------------

    def weight(self, advantage: Tensor) -> Tensor:
        """w* = max(0, (f')^-1(A / alpha)) (the poster's "Optimal w"), elementwise."""
        return self.divergence.weight(advantage / self.args.alpha)

    @th.no_grad()
    def policy_weight(self, batch: EpisodeBatch) -> Tensor:
        """w^tot, the same for all agents, (R,)."""
        if self.variant is not None and self.variant.policy_weight is not None:
            return self.variant.policy_weight(self, batch)
        return self.weight(self.advantage(batch))

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """Box "Policy Loss", to be minimised: -w^tot log pi_i(a_i | o_i), averaged over agents."""
        weight = self.policy_weight(batch)  # (R,)
        cost = self.imitation(self.unroll(self.mac, batch, NOW), batch).mean(-1)  # (R,)
        # (sum w)^2 / (n sum w^2) of the two means is the share of the data that the policies effectively learn from.
        shares = share_by_bin(weight, WEIGHT_EDGES)  # (R, M), 1 for the row's bin: their means are a histogram of w*
        stats = {"weight": weight, "weight_square": weight.square(), "weight_bin": shares, "policy_cost": cost.detach()}
        return masked_mean(weight * cost, transition_mask(batch).flatten()), stats


def share_by_bin(values: Tensor, edges: tuple[float, ...]) -> Tensor:
    """Which bin each of the values (R,) is in, one-hot (R, M): bin k holds edges[k-1] < value <= edges[k]."""
    bins = th.stack([values > edge for edge in edges]).sum(0)  # (R,), how many edges lie below
    return (bins.unsqueeze(-1) == th.arange(len(edges) + 1, device=values.device)).to(values.dtype)


def check_config(scheme: dict[str, Any], mac: Any, args: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, where a key has no meaning here or does not suit another."""
    if not args.alpha < math.inf:
        raise ConfigError(f"alpha={args.alpha}: the divergence's weight must be a finite number")
    if args.advantage == "joint" and args.value_loss != "full":
        raise ConfigError(f"advantage=joint belongs to value_loss=full: value_loss={args.value_loss} has M[q - nu]")
    if args.value_loss == "official" and (args.mixer != "monotone" or args.mixer_layers != 1):
        raise ConfigError("value_loss=official has one weight per agent: set mixer=monotone mixer_layers=1")
    if args.gamma >= 1:
        raise ConfigError(f"gamma={args.gamma}: occupancies are discounted, choose a number below 1")
    if args.svn and args.value_loss == "full" and args.advantage != "mixed":
        raise ConfigError(f"svn=True needs the TD error of M[q - nu]: set advantage=mixed, not {args.advantage}")
    check_team_reward(scheme, "comadice_learner")
    if args.value_memory:
        check_memory(mac, args)


def check_memory(mac: Any, args: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, where the values cannot have a memory; warn where it has no solution."""
    if not getattr(mac.agent, "is_recurrent", True):
        raise ConfigError(f"value_memory=True needs recurrent policies: set agent=rnn_ns, not {args.agent}")
    if args.value_loss == "full":
        if args.window is not None:
            raise ConfigError("value_memory=True with value_loss=full needs whole episodes: set window=None")
        _LOG.warning("value_memory=True with value_loss=full has no solution where a time limit cuts episodes")
