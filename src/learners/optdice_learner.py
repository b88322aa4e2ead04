"""OptDICE: stationary-distribution correction with one joint value nu(s), without factorisation, offline.

It is ComaDICE's problem and its dual (`comadice_learner.py`) with a value of the state in the mixture's place: OptiDICE
(Lee et al. 2021) for a team whose agents clone the joint actions by one weight.
"""

import math
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Context, Logger, Noise, Stats
from learners.checks import check_team_reward
from learners.imitation import Imitation
from learners.losses import EVERY, FIRST, NEXT, NOW, masked_mean, rows_of, td_target, transition_mask
from learners.optimisation import LossSpec, of_every_run, rate
from modules.critics.ensemble_critic import EnsembleCritic
from modules.critics.state_critic import StateCritic
from modules.divergences import REGISTRY as divergence_REGISTRY
from utils.errors import ConfigError
from utils.keys import POSITIVE, Key


class OptDICELearner(BaseLearner):
    """max E_rho[r] - alpha D_f(rho || rho^mu), solved by its dual in nu(s); w = rho / rho^mu weighs the cloning.

    `advantage` says where A(s, a) = E[r + gamma nu(s')] - nu(s) comes from. `sample`: the logged next state, exact
    where the environment is deterministic, too optimistic elsewhere, for f* is convex. `joint`: a network e(s, a).
    """

    action_types = frozenset({"continuous", "discrete"})
    EXTRAS = ("init_state",)
    KEYS = {
        **of_every_run("gamma", "hidden_dim"),
        "advantage": Key("advantage that actions are weighed by", ("sample", "joint")),
        "divergence": Key("divergence f", tuple(divergence_REGISTRY)),
        "alpha": Key("weight of the divergence, in units of the reward's value", POSITIVE),
        "value_lr": rate("the values"),
        "q_lr": rate("the joint advantage", where={"advantage": ("joint",)}),
        "actor_lr": rate("the policies"),
    }
    CONFIGS = ("optdice", "optdice")
    CRITICS = "central"
    ALIASES = {"lr": "value_lr"}
    VALUE = LossSpec("value", ("value",), lr="value_lr")
    ACTOR = LossSpec("actor", ("agent",), lr="actor_lr", clip="member")

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_config(scheme, args)
        self.imitation = Imitation(scheme, args)
        self.value = StateCritic(scheme, args)  # nu
        self.divergence = divergence_REGISTRY[args.divergence]
        self.LOSSES = (self.VALUE, self.ACTOR)
        if args.advantage == "joint":
            self.joint = EnsembleCritic(scheme, args, members=1)  # e(s, a_1..a_N)
            self.LOSSES = (LossSpec("joint", ("joint",), lr="q_lr"), *self.LOSSES)
        self.prepare()

    # -- values ------------------------------------------------------------------------------------------------------

    def nu(self, states: Tensor) -> Tensor:
        """nu(s), (B, T', S) -> (B, T')."""
        values: Tensor = self.value(states.flatten(0, 1))  # (1, B*T')
        return values.view(states.shape[:2])

    def start_nu(self, batch: EpisodeBatch) -> Tensor:
        """nu(s_0) of the rows' episodes, (R,): s_0 comes with windows (`init_state`), whole episodes begin with it."""
        windows = "init_state" in batch.scheme
        states = batch["init_state"].unsqueeze(1) if windows else batch["state"][:, FIRST]  # (B, 1, S)
        return self.nu(states).expand(-1, batch.max_seq_length - 1).flatten()

    def sampled_advantage(self, batch: EpisodeBatch) -> Tensor:
        """r + gamma nu(s') - nu(s) with the logged s', nu(s') = 0 after a terminal, (R,)."""
        nu = self.nu(batch["state"][:, EVERY])  # (B, T)
        reward, terminated = batch["reward"][:, NOW].squeeze(-1), batch["terminated"][:, NOW].squeeze(-1)  # (B, T-1)
        return (td_target(reward, terminated, nu[:, NEXT], self.args.gamma) - nu[:, NOW]).flatten()

    def advantage(self, batch: EpisodeBatch) -> Tensor:
        """A(s, a), (R,): sampled or of the joint network, as the key `advantage` says."""
        if self.args.advantage == "sample":
            return self.sampled_advantage(batch)
        actions = rows_of(batch, "actions_onehot", NOW)  # (R, N, A), continuous ones as they are
        values: Tensor = self.joint(rows_of(batch, "state", NOW), actions)  # (1, R)
        return values.squeeze(0)

    # -- losses ------------------------------------------------------------------------------------------------------

    def value_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """The dual, (1 - gamma) nu(s_0) + alpha f*(A / alpha), gradient through both nu of A.

        With a learned advantage e the gradient is w*(e / alpha) grad A: one next state is an unbiased estimate of
        grad A, and not of f*(A / alpha).
        """
        start, sampled = self.start_nu(batch), self.sampled_advantage(batch)  # (R,) each
        penalty = self.penalty(sampled)  # (R,)
        if self.args.advantage == "joint":
            with th.no_grad():
                learned = self.advantage(batch)  # (R,)
                value, slope = self.penalty(learned), self.weight(learned)
            penalty = value + slope * (sampled - sampled.detach())
        rows = (1 - self.args.gamma) * start + penalty
        return masked_mean(rows, transition_mask(batch).flatten()), {"nu_start": start.detach()}

    def penalty(self, advantage: Tensor) -> Tensor:
        """alpha f*(A / alpha), elementwise."""
        alpha: float = self.args.alpha
        return alpha * self.divergence.conjugate(advantage / alpha)

    def joint_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """(e(s, a) - (r + gamma nu(s') - nu(s)))^2: its minimum e is the mean over next states."""
        with th.no_grad():
            sampled = self.sampled_advantage(batch)  # (R,)
        error = self.advantage(batch) - sampled
        return masked_mean(error.square(), transition_mask(batch).flatten()), {"joint_error_abs": error.detach().abs()}

    def weight(self, advantage: Tensor) -> Tensor:
        """w* = max(0, (f')^-1(A / alpha)), elementwise."""
        return self.divergence.weight(advantage / self.args.alpha)

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """-w*(s, a) log pi_i(a_i | o_i), a mean over agents: one weight for all of them."""
        with th.no_grad():
            weight = self.weight(self.advantage(batch))  # (R,)
        cost = self.imitation(self.unroll(self.mac, batch, NOW), batch).mean(-1)  # (R,)
        # (sum w)^2 / (n sum w^2) of the two means is the share of the data that the policies effectively learn from.
        stats = {"weight": weight, "weight_square": weight.square(), "policy_cost": cost.detach()}
        return masked_mean(weight * cost, transition_mask(batch).flatten()), stats


def check_config(scheme: dict[str, Any], args: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, where a key has no meaning here."""
    if not args.alpha < math.inf:
        raise ConfigError(f"alpha={args.alpha}: the divergence's weight must be a finite number")
    if args.gamma >= 1:
        raise ConfigError(f"gamma={args.gamma}: occupancies are discounted, choose a number below 1")
    check_team_reward(scheme, "optdice_learner")
