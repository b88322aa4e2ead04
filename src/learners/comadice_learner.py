"""ComaDICE (Bui, Mai & Nguyen): stationary-distribution correction with factorised values, offline.

The policies sought have a state-action occupancy rho that earns much and stays near the data's, by D_f(rho || rho^mu)
times alpha. Its Lagrange dual is a problem in values nu alone; at the solution w = rho / rho^mu is known for every
logged pair, and the policies imitate the data weighted by it. nu_i and q_i are the agents' own, mixed into the team's.
"Box" names a box of ComaDICE's poster. Its printed losses do not all hold: docs/learners/comadice.md.
"""

import logging
import math
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Draws, Logger, Stats
from learners.checks import check_choices, check_team_reward, require
from learners.imitation import Imitation
from learners.optimisation import NEXT, NOW, LossSpec, masked_mean, transition_mask
from modules.critics.ensemble_critic import EnsembleCritic
from modules.critics.local_critic import LocalCritic
from modules.divergences import REGISTRY as divergence_REGISTRY
from modules.layers.normaliser import dataset_normaliser
from modules.mixers.hypernet import state_size
from modules.mixers.registry import REGISTRY as mixer_REGISTRY
from modules.mixers.registry import build_mixer, can_leave_out_bias
from utils.errors import ConfigError

_LOG = logging.getLogger(__name__)
EVERY, FIRST = slice(None), slice(None, 1)  # rows of a batch
CHOICES = {
    "value_loss": ("full", "semi_dataset", "official", "poster"),
    "advantage": ("sample", "joint", "mixed"),
    "divergence": tuple(divergence_REGISTRY),
    "mixer": tuple(mixer_REGISTRY),
    "input_norm": ("dataset", "none"),
}
# Keys without defaults, beside the base learner's.
KEYS = (*CHOICES, "alpha", "hidden_dim", "value_memory", "q_lr", "actor_lr")
LARGEST_DISCRETE_WEIGHT = 2.0  # of one agent, in the released code and so in `official`


class ComaDICELearner(BaseLearner):
    """ComaDICE, its values trained by one of four losses (`value_loss`).

    `full` is the dual itself; `semi_dataset` keeps q fixed and takes the dataset's states for the initial ones, which
    regularises actions state by state instead of occupancies; `official` has the released code's gradients, `poster`
    the printed loss, whose values rise without bound: a negative control.

    `advantage` says where `full` has A(s, a) = E[r + gamma nu(s')] - nu(s) from: `sample`, the logged next state (exact
    where the environment is deterministic, too optimistic elsewhere, for f* is convex); `joint`, a network of the state
    and all actions; `mixed`, M[q - nu], the local q_i of the poster, as the other losses have it.
    """

    action_types = frozenset({"continuous", "discrete"})
    EXTRAS = ("init_obs", "init_state")

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_config(scheme, args)
        self.imitation = Imitation(scheme, args, config=config_for(scheme))
        self.discrete = not scheme["actions"]["dtype"].is_floating_point
        if args.value_memory and not getattr(mac.agent, "is_recurrent", True):
            raise ConfigError(f"value_memory=True needs recurrent policies: set agent=rnn_ns, not {args.agent}")
        if args.value_memory and args.value_loss == "full":
            _LOG.warning("value_memory=True with value_loss=full has no solution where a time limit cuts episodes")
        self.value = LocalCritic(scheme, args, with_actions=False, recurrent=args.value_memory)  # nu_i
        self.mixer: Any = build_mixer(args.mixer, args)  # M_theta
        self.normaliser = dataset_normaliser(scheme["state"], args.input_norm, state_size(args))  # the mixer's states
        self.divergence = divergence_REGISTRY[args.divergence]
        self.objective = getattr(self, f"{args.value_loss}_objective")
        self.full = args.value_loss == "full"
        self.advantage_from: str = args.advantage if self.full else "mixed"
        if self.advantage_from == "joint":
            single = SimpleNamespace(**{**vars(args), "ensemble_size": 1, "critic_dtype": "float32"})
            self.joint = EnsembleCritic(scheme, single)  # e(s, a_1..a_N)
        if self.advantage_from == "mixed":
            if not can_leave_out_bias(self.mixer):
                raise ConfigError(
                    f"mixer={args.mixer}: this checkout's {type(self.mixer).__name__} cannot leave out its bias, which "
                    f"value_loss={args.value_loss} with M[q - nu] needs: set mixer=monotone or mixer=vdn"
                )
            self.q = LocalCritic(scheme, args, with_actions=True, recurrent=args.value_memory)  # q_i
        self.LOSSES, self.TARGETS = self.losses(), self.targets()
        self.prepare()

    def losses(self) -> tuple[LossSpec, ...]:
        """The mixer belongs to the values' loss, as in the poster, or to q's, as in the code that the others follow.

        The normaliser has no parameters; it is among the modules to be saved with them.
        """
        by_code = self.args.value_loss in ("semi_dataset", "official")
        modules = ("value", "normaliser")
        value = LossSpec("value", modules if by_code else (*modules, "mixer"), lr="value_lr")
        actor = LossSpec("actor", ("agent",), lr="actor_lr", clip="member")
        if self.advantage_from == "sample":
            return (value, actor)
        if self.advantage_from == "joint":
            return (LossSpec("joint", ("joint",), lr="q_lr"), value, actor)
        return (LossSpec("q", ("q", "mixer") if by_code else ("q",), lr="q_lr"), value, actor)

    def targets(self) -> tuple[str, ...]:
        """None for `full`, whose gradient runs through both values."""
        if self.full:
            return ()
        return ("value", "mixer", "q") if self.args.value_loss == "official" else ("value", "mixer")

    def draws(self, name: str, batch: EpisodeBatch) -> Draws:
        """The losses are deterministic."""
        return {}

    # -- values and advantages ---------------------------------------------------------------------------------------

    def nu(self, batch: EpisodeBatch, rows: slice, prefix: str = "") -> Tensor:
        """nu^tot(s) = M[nu(s)] (box "Value Factorization"), (B, T'); prefix `target_` for the targets'."""
        local = getattr(self, f"{prefix}value")(batch["obs"])[:, rows]  # (B, T', N)
        mixed: Tensor = getattr(self, f"{prefix}mixer")(local, self.normaliser(batch["state"][:, rows]))
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
        return (reward + self.args.gamma * (1 - terminated.to(reward.dtype)) * next_nu).flatten()

    def sampled_advantage(self, batch: EpisodeBatch) -> Tensor:
        """r + gamma nu^tot(s') - nu^tot(s) with the logged s', (R,)."""
        nu = self.nu(batch, EVERY)  # (B, T)
        return self.backup(batch, nu[:, NEXT]) - nu[:, NOW].flatten()

    def gaps(self, batch: EpisodeBatch, prefix: str = "") -> Tensor:
        """q_i(o_i, a_i) - nu_i(o_i) of the logged actions, (B, T-1, N); prefix `target_` for the target of q."""
        critic: LocalCritic = getattr(self, f"{prefix}q")
        gaps: Tensor = critic(batch["obs"][:, NOW], batch["actions_onehot"][:, NOW]) - self.value(batch["obs"][:, NOW])
        return gaps

    def mixed_advantage(self, batch: EpisodeBatch) -> Tensor:
        """A^tot = M[q - nu] (box "Value Factorization"), (R,). The mixer's bias stands in nu^tot alone."""
        states = self.normaliser(batch["state"][:, NOW])  # (B, T-1, S)
        mixed: Tensor = self.mixer(self.gaps(batch), states, with_bias=False)
        return mixed.flatten()

    def advantage(self, batch: EpisodeBatch) -> Tensor:
        """A(s, a), (R,), from where `advantage` says."""
        if self.advantage_from == "sample":
            return self.sampled_advantage(batch)
        if self.advantage_from == "mixed":
            return self.mixed_advantage(batch)
        actions = batch["actions_onehot"][:, NOW].flatten(0, 1)  # (R, N, A), continuous ones as they are
        values: Tensor = self.joint(batch["state"][:, NOW].flatten(0, 1), actions)  # (1, R)
        return values.squeeze(0)

    # -- what q and the joint advantage learn --------------------------------------------------------------------------

    def q_loss(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """Box "MSE Loss for Q-function": (M[q - nu] - (r + gamma M[nu'] - M[nu]))^2, of nu' the targets'.

        In `full`, where nu has no targets, nu' is the values' own.
        """
        with th.no_grad():
            backup = self.backup(batch, self.nu(batch, NEXT, "" if self.full else "target_"))  # (R,)
        error = self.mixed_advantage(batch) + self.nu(batch, NOW).flatten() - backup  # (R,)
        return masked_mean(error.square(), transition_mask(batch).flatten()), {"q_error_abs": error.detach().abs()}

    def joint_loss(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """(e(s, a) - (r + gamma nu' - nu))^2: e becomes the mean over next states."""
        with th.no_grad():
            sampled = self.sampled_advantage(batch)  # (R,)
        error = self.advantage(batch) - sampled
        return masked_mean(error.square(), transition_mask(batch).flatten()), {"joint_error_abs": error.detach().abs()}

    # -- what the values learn ---------------------------------------------------------------------------------------

    def value_loss(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """The objective that `value_loss` names, a mean over valid rows."""
        rows, start = self.objective(batch)  # (R,), (R,)
        return masked_mean(rows, transition_mask(batch).flatten()), {"nu_start": start.detach()}

    def penalty(self, advantage: Tensor) -> Tensor:
        """alpha f*(A / alpha), elementwise."""
        return self.args.alpha * self.divergence.conjugate(advantage / self.args.alpha)

    def full_objective(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """(1 - gamma) nu(s_0) + alpha f*(A / alpha), A = r + gamma nu(s') - nu(s), gradient through both nu.

        Box "Closed-Form Solution" with + before f*, as derived. With a learned advantage e the gradient is
        w*(e / alpha) grad A, for which one next state will do; inside f*, which is convex, it would not.
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

    def semi_dataset_objective(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """nu(s) + alpha f*(M[q - nu] / alpha) at the dataset's states, q and the mixer fixed: E[w | s] = 1."""
        nu = self.nu(batch, NOW).flatten()  # (R,)
        with th.no_grad():
            start, _ = self.start_nu(batch)  # (R,), watched only
        return nu + self.penalty(self.mixed_advantage(batch)), start

    def poster_objective(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """Box "Value Function Loss" as printed: (1 - gamma) M[nu(s_0)] + alpha f*(M[q - nu] / alpha), q fixed."""
        start, _ = self.start_nu(batch)  # (R,)
        return (1 - self.args.gamma) * start + self.penalty(self.mixed_advantage(batch)), start

    def official_objective(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """The released code's without its multiplier: mean over agents of w e - alpha f(w), f(w) and the outer e fixed.

        e_i = W_i(s) (q_i - nu_i), w_i = w*(e_i / alpha): its gradient in e_i is x w*'(x), x = e_i / alpha, not w.
        The first term is the plain mean of nu_i(s_0).
        """
        start, local_start = self.start_nu(batch)  # (R,), (R, N)
        local = self.local_advantages(self.gaps(batch), batch, self.mixer)  # (R, N)
        weight = self.weight(local)
        rows = weight * local.detach() - self.args.alpha * self.divergence.f(weight).detach()  # (R, N)
        return (1 - self.args.gamma) * local_start.mean(-1) + rows.mean(-1), start

    def local_advantages(self, gaps: Tensor, batch: EpisodeBatch, mixer: Any) -> Tensor:
        """e_i = W_i(s) (q_i - nu_i) of `official`, gaps (B, T-1, N) -> (R, N)."""
        weights: Tensor = mixer.weights(self.normaliser(batch["state"][:, NOW]))  # (B, T-1, N)
        return (weights * gaps).flatten(0, 1)

    # -- what the policies learn -------------------------------------------------------------------------------------

    def weight(self, advantage: Tensor) -> Tensor:
        """w* = max(0, (f')^-1(A / alpha)) (box "Optimal w"), elementwise."""
        return self.divergence.weight(advantage / self.args.alpha)

    @th.no_grad()
    def policy_weight(self, batch: EpisodeBatch) -> Tensor:
        """w^tot, the same for all agents, (R,); in `official` the sum of theirs, from the targets of q and mixer."""
        if self.args.value_loss != "official":
            return self.weight(self.advantage(batch))
        local = self.weight(self.local_advantages(self.gaps(batch, "target_"), batch, self.target_mixer))  # (R, N)
        return (local.clamp_max(LARGEST_DISCRETE_WEIGHT) if self.discrete else local).sum(-1)

    def actor_loss(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """Box "Policy Loss", to be minimised: -w^tot log pi_i(a_i | o_i), averaged over agents."""
        weight = self.policy_weight(batch)  # (R,)
        cost = self.imitation(self.unroll(self.mac, batch, NOW), batch).mean(-1)  # (R,)
        # (sum w)^2 / (n sum w^2) of the two means is the share of the data that the policies effectively learn from.
        stats = {"weight": weight, "weight_square": weight.square(), "policy_cost": cost.detach()}
        return masked_mean(weight * cost, transition_mask(batch).flatten()), stats


def config_for(scheme: dict[str, Any]) -> str:
    """The algorithm file for these actions where nothing resolves `stochastic`, as in stock EPyMARL."""
    return "comadice" if scheme["actions"]["dtype"].is_floating_point else "comadice_discrete"


def check_config(scheme: dict[str, Any], args: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, where a key is missing, has no meaning here or does not suit another."""
    require(args, KEYS, "comadice_learner", config_for(scheme))
    check_choices(args, CHOICES)
    if not 0 < args.alpha < math.inf:
        raise ConfigError(f"alpha={args.alpha}: the divergence's weight must be a number above 0")
    if args.advantage == "joint" and args.value_loss != "full":
        raise ConfigError(f"advantage=joint belongs to value_loss=full: value_loss={args.value_loss} has M[q - nu]")
    if args.value_memory and args.value_loss == "full" and getattr(args, "window", None) is not None:
        raise ConfigError("value_memory=True with value_loss=full needs whole episodes: set window=None")
    if args.value_loss == "official" and (args.mixer != "monotone" or args.mixer_layers != 1):
        raise ConfigError("value_loss=official has one weight an agent: set mixer=monotone mixer_layers=1")
    if args.gamma >= 1:
        raise ConfigError(f"gamma={args.gamma}: occupancies are discounted, choose a number below 1")
    check_team_reward(scheme, "comadice_learner")
