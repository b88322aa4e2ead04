"""ComaDICE (Bui, Mai & Nguyen): stationary-distribution correction with factorised values, offline.

The problem, its dual and the weights are in dice_values.py. Here each agent has its own nu_i and q_i, and a mixer makes
the team's of them. "Box" names a box of ComaDICE's poster. Its printed losses do not all hold
(docs/learners/comadice.md); losses that are not the default are in comadice_variants.py.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import Context, Logger, Noise, Stats
from learners.comadice_variants import VARIANTS, Variant
from learners.dice_values import DICELearner
from learners.losses import NEXT, NOW, after_first, first_of, masked_mean, of_each_row, transition_mask
from learners.optimisation import MIXER_KEYS, TARGET_KEYS, LossSpec, rate
from learners.svn import normalised, spread
from modules.critics.ensemble_critic import EnsembleCritic
from modules.critics.local_critic import LocalCritic
from modules.layers.normaliser import Normaliser
from modules.mixers import REGISTRY as mixer_REGISTRY
from modules.mixers import build_mixer
from modules.mixers.hypernet import state_size
from utils.errors import ConfigError
from utils.keys import Key

_LOG = logging.getLogger(__name__)
WITH_TARGETS = {"value_loss": tuple(VARIANTS)}


class ComaDICELearner(DICELearner):
    """ComaDICE, its values trained on the dual itself (`value_loss: full`) or on one of `VARIANTS`.

    `advantage` has a third value: `mixed` is M[q - nu] with the local q_i of the poster, as the variants have it.
    """

    EXTRAS = ("init_obs", "init_state")
    KEYS = {
        **{name: replace(TARGET_KEYS[name], where=WITH_TARGETS) for name in ("target_update_interval", "tau")},
        **MIXER_KEYS,
        "value_loss": Key("loss of the values", ("full", *VARIANTS)),
        "value_memory": Key("give nu_i and q_i a GRU, as in recurrent policies", bool),
        "advantage": Key("advantage that `full` weighs actions by", ("sample", "joint", "mixed")),
        "mixer": Key("mixer of the local values", tuple(mixer_REGISTRY)),
        "q_lr": rate("q and of the joint advantage", where={**WITH_TARGETS, "advantage": ("joint", "mixed")}),
    }
    CONFIGS = ("comadice", "comadice_discrete")
    CRITICS = "per agent, mixed"

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_config(mac, args)
        self.value = LocalCritic(scheme, args, with_actions=False, recurrent=args.value_memory)  # nu_i
        self.mixer: Any = build_mixer(args.mixer, args)  # M_theta
        self.normaliser = Normaliser(state_size(args), field="state")  # of the mixer's states
        self.variant: Variant | None = VARIANTS.get(args.value_loss)
        self.starts_pulled = args.value_loss in ("full", "official")
        if self.variant is not None:  # the dual needs no targets: its gradient runs through both nu
            self.advantage_from, self.TARGETS = "mixed", self.variant.targets
        if self.advantage_from == "joint":
            self.joint = EnsembleCritic(scheme, args, members=1)  # e(s, a_1..a_N)
        if self.advantage_from == "mixed":
            self.q = LocalCritic(scheme, args, with_actions=True, recurrent=args.value_memory)  # q_i
        self.LOSSES = self.losses()
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
        if self.advantage_from == "sample":
            return (value, self.ACTOR)
        if self.advantage_from == "joint":
            return (self.JOINT, value, self.ACTOR)
        return (LossSpec("q", ("q", "mixer") if with_q else ("q",), lr="q_lr"), value, self.ACTOR)

    # -- values: box "Value Factorization" ---------------------------------------------------------------------------

    def nu(self, batch: EpisodeBatch, steps: slice, prefix: str = "") -> Tensor:
        """nu^tot(s) = M[nu(s)], (B, T'); prefix `target_` for the targets'."""
        return self.mixed_nu(self.local_nu(batch, steps, prefix), batch["state"][:, steps], prefix)

    def local_nu(self, batch: EpisodeBatch, steps: slice, prefix: str = "") -> Tensor:
        """nu_i(o_i), (B, T', N); prefix `target_` for the targets'."""
        critic: LocalCritic = getattr(self, f"{prefix}value")
        if critic.recurrent:  # its memory starts at the batch's first step
            remembered: Tensor = critic(batch["obs"])[:, steps]
            return remembered
        local: Tensor = critic(batch["obs"][:, steps])
        return local

    def mixed_nu(self, local: Tensor, states: Tensor, prefix: str = "") -> Tensor:
        """M[nu], of nu_i (B, T', N) in states (B, T', S): (B, T')."""
        mixed: Tensor = getattr(self, f"{prefix}mixer")(local, self.normaliser(states))
        return mixed.squeeze(-1)

    def nu_after_start(self, batch: EpisodeBatch) -> Tensor:
        """nu^tot(s) on every step, after nu^tot(s_0) of the rows' episodes, (B, 1+T); (B, T) of whole episodes.

        Values with a memory have whole episodes here (`check_memory`).
        """
        return self.mixed_nu(self.value(after_first(batch, "obs")), after_first(batch, "state"))

    def start_nu(self, batch: EpisodeBatch) -> Tensor:
        """nu^tot(s_0) of the rows' episodes, (R,).

        A window is as likely as its episode is long, so long episodes count for more here.
        """
        return of_each_row(self.mixed_nu(self.local_start_nu(batch), first_of(batch, "state")), batch)

    def local_start_nu(self, batch: EpisodeBatch) -> Tensor:
        """nu_i(s_0) of the rows' episodes, (B, 1, N)."""
        local: Tensor = self.value(first_of(batch, "obs"))
        return local

    def mixed_advantage(self, batch: EpisodeBatch, local_nu: Tensor) -> Tensor:
        """A^tot = M[q - nu] (box "Value Factorization"), (R,). The mixer's bias stands in nu^tot alone.

        local_nu: nu_i(o_i) on the time steps NOW, (B, T-1, N).
        """
        states = self.normaliser(batch["state"][:, NOW])  # (B, T-1, S)
        mixed: Tensor = self.mixer(self.gaps(batch, local_nu), states, with_bias=False)
        return mixed.flatten()

    def gaps(self, batch: EpisodeBatch, local_nu: Tensor, prefix: str = "") -> Tensor:
        """q_i(o_i, a_i) - nu_i(o_i) of the logged actions, (B, T-1, N); prefix `target_` for the target of q."""
        critic: LocalCritic = getattr(self, f"{prefix}q")
        gaps: Tensor = critic(batch["obs"][:, NOW], batch["actions_onehot"][:, NOW]) - local_nu
        return gaps

    def batch_context(self, name: str, batch: EpisodeBatch) -> Context:
        """What `svn` divides the TD errors of q's loss by, ()."""
        if name != "q" or not self.args.svn:
            return {}
        return {"spread": spread(self.mixed_q(batch), transition_mask(batch).flatten())}

    def mixed_q(self, batch: EpisodeBatch) -> Tensor:
        """Q^tot = M[q - nu] + M[nu] of the logged actions, (R,)."""
        local = self.local_nu(batch, NOW)  # (B, T-1, N)
        return self.mixed_advantage(batch, local) + self.mixed_nu(local, batch["state"][:, NOW]).flatten()

    def q_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """Box "MSE Loss for Q-function": (M[q - nu] - (r + gamma M[nu'] - M[nu]))^2, of nu' the targets'.

        In the dual, where nu has no targets, nu' is the values' own.
        """
        with th.no_grad():
            next_nu = self.nu(batch, NEXT, "" if self.variant is None else "target_")  # (B, T-1)
        error = self.mixed_q(batch) - self.backup(batch, next_nu)  # (R,)
        loss = masked_mean(normalised(error, context).square(), transition_mask(batch).flatten())
        return loss, {"q_error_abs": error.detach().abs()}

    # -- the dual, or a variant of it --------------------------------------------------------------------------------

    def advantage(self, batch: EpisodeBatch) -> Tensor:
        """A(s, a), (R,): sampled, of the joint network, or mixed, as the key `advantage` says."""
        if self.advantage_from == "mixed":
            return self.mixed_advantage(batch, self.local_nu(batch, NOW))
        return super().advantage(batch)

    def objective(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """What the values minimise, and nu^tot(s_0), (R,) each: the dual, or the variant that `value_loss` names."""
        return super().objective(batch) if self.variant is None else self.variant.objective(self, batch)

    @th.no_grad()
    def policy_weight(self, batch: EpisodeBatch) -> Tensor:
        """w^tot, the same for all agents, (R,): w*, or the variant's own."""
        if self.variant is not None and self.variant.policy_weight is not None:
            return self.variant.policy_weight(self, batch)
        return super().policy_weight(batch)


def check_config(mac: Any, args: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, where a key does not suit another."""
    if args.advantage == "joint" and args.value_loss != "full":
        raise ConfigError(f"advantage=joint belongs to value_loss=full: value_loss={args.value_loss} has M[q - nu]")
    if args.value_loss == "official" and (args.mixer != "monotone" or args.mixer_layers != 1):
        raise ConfigError("value_loss=official has one weight per agent: set mixer=monotone mixer_layers=1")
    if args.svn and args.value_loss == "full" and args.advantage != "mixed":
        raise ConfigError(f"svn=True needs the TD error of M[q - nu]: set advantage=mixed, not {args.advantage}")
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
