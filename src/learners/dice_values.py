"""What OptDICE and ComaDICE share: the dual of a regularised problem, its weights, and cloning by them.

Let rho be the state-action occupancy of the policies and rho^mu the data's. The problem is max E_rho[r] - alpha
D_f(rho || rho^mu). Its Lagrange dual has one unknown, the values nu. At the solution the weight w = rho / rho^mu is
known for every logged pair, and the policies imitate the data with these weights. "Box" names a box of ComaDICE's
poster; the learned advantage is OptiDICE's (Lee et al. 2021).
"""

import logging
import math
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from components.statistics import DataStatistics
from learners.base_learner import BaseLearner, Context, Logger, Noise, Stats
from learners.checks import check_team_reward
from learners.imitation import Imitation
from learners.losses import EVERY, FIRST, NEXT, NOW, masked_mean, of_each_row, rows_of, td_target, transition_mask
from learners.optimisation import LossSpec, of_every_run, rate
from modules.critics.ensemble_critic import EnsembleCritic
from modules.divergences import REGISTRY as divergence_REGISTRY
from utils.errors import ConfigError
from utils.histogram import WEIGHT_EDGES
from utils.keys import POSITIVE, Key

_LOG = logging.getLogger(__name__)


class DICELearner(BaseLearner):
    """min over nu of (1 - gamma) E[nu(s_0)] + E[alpha f*(A / alpha)], A(s, a) = E[r + gamma nu(s')] - nu(s).

    `advantage` says where A comes from. `sample`: the logged next state, exact where the environment is deterministic,
    too optimistic elsewhere, for f* is convex. `joint`: a network e(s, a) of the state and all actions.

    A subclass has `nu` and `nu_after_start`, and the network `joint` where the key asks for it.
    """

    action_types = frozenset({"continuous", "discrete"})
    KEYS = {
        **of_every_run("gamma", "hidden_dim"),
        "advantage": Key("advantage that actions are weighed by", ("sample", "joint")),
        "divergence": Key("divergence f", tuple(divergence_REGISTRY)),
        "alpha": Key("weight of the divergence, in units of the reward's value", POSITIVE),
        "value_lr": rate("the values"),
        "q_lr": rate("the joint advantage", where={"advantage": ("joint",)}),
        "actor_lr": rate("the policies"),
    }
    ALIASES = {"lr": "value_lr"}
    JOINT = LossSpec("joint", ("joint",), lr="q_lr")
    ACTOR = LossSpec("actor", ("agent",), lr="actor_lr", clip="member")
    joint: EnsembleCritic
    starts_pulled = True  # whether the values' loss pulls the first states' values down

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_dice(scheme, args)
        self.imitation = Imitation(scheme, args)
        self.divergence = divergence_REGISTRY[args.divergence]
        self.advantage_from: str = args.advantage

    def use_statistics(self, statistics: DataStatistics) -> None:
        """Take over the statistics; warn where clipping may let the values of first states fall."""
        super().use_statistics(statistics)
        limit, window, size = self.args.grad_norm_clip, self.args.window, self.args.batch_size
        if limit is None or not self.starts_pulled or window is None:  # None: whole episodes
            return
        windows = max(statistics.mean_length - window + 1, 1.0)  # of an episode; one of them holds its first transition
        if size < math.log(2) * windows:  # more than half of the batches hold none: (1 - 1/windows)^size > 1/2
            _LOG.warning(
                f"grad_norm_clip={limit}: episodes have {statistics.mean_length:.0f} steps on average, so most batches "
                f"of {size} windows hold no first transition. With clipped gradients the values of first states "
                "(nu_start) may then fall without bound; grad_norm_clip=None does not clip"
            )

    # -- values ------------------------------------------------------------------------------------------------------

    def nu(self, batch: EpisodeBatch, steps: slice) -> Tensor:
        """nu(s) on the time steps `steps`, (B, T')."""
        raise NotImplementedError

    def nu_after_start(self, batch: EpisodeBatch) -> Tensor:
        """nu(s) on every step, after nu(s_0) of the rows' episodes, (B, 1+T); (B, T) of whole episodes.

        One pass costs less than two. The steps are those of `after_first`.
        """
        raise NotImplementedError

    def backup(self, batch: EpisodeBatch, next_nu: Tensor) -> Tensor:
        """r + gamma nu(s'), nu(s') = 0 after a terminal, of nu(s') (B, T-1): (R,)."""
        reward, terminated = batch["reward"][:, NOW].squeeze(-1), batch["terminated"][:, NOW].squeeze(-1)  # (B, T-1)
        return td_target(reward, terminated, next_nu, self.args.gamma).flatten()

    # -- what the values learn: box "Closed-Form Solution" -----------------------------------------------------------

    def value_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """The mean of `objective` over valid rows."""
        rows, start = self.objective(batch)  # (R,) each
        return masked_mean(rows, transition_mask(batch).flatten()), {"nu_start": start.detach()}

    def objective(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """The dual, (1 - gamma) nu(s_0) + alpha f*(A / alpha), gradient through both nu of A; and nu(s_0): (R,) each.

        The box has - before f*; the derivation has +. With a learned advantage e the gradient is w*(e / alpha) grad A.
        One sampled next state is an unbiased estimate of grad A. It is not one of f*(A / alpha), for f* is convex.
        """
        nu = self.nu_after_start(batch)  # (B, 1+T) or (B, T)
        start = of_each_row(nu[:, FIRST], batch)  # (R,)
        sampled = self.td_error(batch, nu[:, -batch.max_seq_length :])  # (R,)
        if self.advantage_from == "sample":
            penalty = self.penalty(sampled)  # (R,)
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

    # -- advantages, and what the joint one learns -------------------------------------------------------------------

    def advantage(self, batch: EpisodeBatch) -> Tensor:
        """A(s, a), (R,), as the key `advantage` says."""
        if self.advantage_from == "sample":
            return self.sampled_advantage(batch)
        actions = rows_of(batch, "actions_onehot", NOW)  # (R, N, A), continuous ones as they are
        values: Tensor = self.joint(rows_of(batch, "state", NOW), actions)  # (1, R)
        return values.squeeze(0)

    def sampled_advantage(self, batch: EpisodeBatch) -> Tensor:
        """r + gamma nu(s') - nu(s) with the logged s', (R,)."""
        return self.td_error(batch, self.nu(batch, EVERY))

    def td_error(self, batch: EpisodeBatch, nu: Tensor) -> Tensor:
        """r + gamma nu(s') - nu(s), of nu(s) on every step (B, T): (R,)."""
        return self.backup(batch, nu[:, NEXT]) - nu[:, NOW].flatten()

    def joint_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """(e(s, a) - (r + gamma nu(s') - nu(s)))^2: its minimum e is the mean over next states."""
        with th.no_grad():
            sampled = self.sampled_advantage(batch)  # (R,)
        error = self.advantage(batch) - sampled
        return masked_mean(error.square(), transition_mask(batch).flatten()), {"joint_error_abs": error.detach().abs()}

    # -- what the policies learn: "Optimal w" and box "Policy Loss" --------------------------------------------------

    def weight(self, advantage: Tensor) -> Tensor:
        """w* = max(0, (f')^-1(A / alpha)) (the poster's "Optimal w"), elementwise."""
        return self.divergence.weight(advantage / self.args.alpha)

    @th.no_grad()
    def policy_weight(self, batch: EpisodeBatch) -> Tensor:
        """w*(s, a) of the logged actions, the same for all agents, (R,)."""
        return self.weight(self.advantage(batch))

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """Box "Policy Loss", to be minimised: -w* log pi_i(a_i | o_i), averaged over agents."""
        weight = self.policy_weight(batch)  # (R,)
        cost = self.imitation(self.unroll(self.mac, batch, NOW), batch).mean(-1)  # (R,)
        # (sum w)^2 / (n sum w^2) of the two means is the share of the data that the policies effectively learn from.
        shares = share_by_bin(weight, WEIGHT_EDGES)  # (R, M), 1 for the row's bin: their means are a histogram of w*
        stats = {"weight": weight, "weight_square": weight.square(), "weight_bin": shares, "policy_cost": cost.detach()}
        return masked_mean(weight * cost, transition_mask(batch).flatten()), stats


def share_by_bin(values: Tensor, edges: tuple[float, ...]) -> Tensor:
    """Which bin each of the values (R,) is in, one-hot (R, M): bin k holds edges[k-1] < value <= edges[k]."""
    bins = th.bucketize(values, values.new_tensor(edges))  # (R,), how many edges lie below
    return (bins.unsqueeze(-1) == th.arange(len(edges) + 1, device=values.device)).to(values.dtype)


def check_dice(scheme: dict[str, Any], args: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, where the dual has no meaning."""
    if not args.alpha < math.inf:
        raise ConfigError(f"alpha={args.alpha}: the divergence's weight must be a finite number")
    if args.gamma >= 1:
        raise ConfigError(f"gamma={args.gamma}: occupancies are discounted, choose a number below 1")
    check_team_reward(scheme, args.learner)
