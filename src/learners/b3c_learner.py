"""B3C (Kim & Sycara 2026): cloning beside a mixed value whose targets are clipped by the best return in the data."""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import Context, Logger, Noise, Stats
from learners.local_values import LocalValuesLearner
from learners.losses import NEXT, NOW, available, masked_mean, rows_of, transition_mask
from learners.target_clip import ClippedTargets
from modules.critics.keys import ENSEMBLE_SIZE
from modules.mixers import NOT_MONOTONE
from modules.mixers import REGISTRY as mixer_REGISTRY
from modules.policies import build_policy
from utils.keys import WEIGHT, Key

NEXT_NOISE = "standard deviation of the noise on the policies' next actions in the target, in half action ranges"


class B3CLearner(ClippedTargets, LocalValuesLearner):
    """Q = M[q] of the agents' q_i(o_i, a_i), M a mixer that need not be monotone; policies climb Q and clone.

    All agents' actions in Q are the policies' at once (FACMAC, Peng et al. 2021). MA-TD3+BC replaces one at a time.
    """

    action_types = frozenset({"continuous"})
    KEYS = {
        "ensemble_size": ENSEMBLE_SIZE,
        "mixer": Key("mixer of the agents' values", (*mixer_REGISTRY, *NOT_MONOTONE)),
        "q_weight": Key("weight of the normalised value in the policies' loss", WEIGHT),
        "bc_weight": Key("weight of cloning in the policies' loss", WEIGHT),
        "target_noise": Key(NEXT_NOISE, WEIGHT),
        "target_noise_clip": Key("largest such noise, in half action ranges", WEIGHT),
    }
    CONFIGS = ("b3c", "b3c")
    ALIASES = {"lr": "q_lr"}
    TARGETS = ("q", "mixer")
    MEMBERS = "ensemble_size"
    STATE_VALUES = False

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        noise = {"noise_std": args.target_noise, "noise_clip": args.target_noise_clip}
        self.policy = build_policy(args, self.continuous, kinds=("mean",), **noise)
        self.LOSSES = (self.q_spec, self.ACTOR_SPEC)
        self.prepare()

    def noise(self, name: str, batch: EpisodeBatch) -> Noise:
        """The noise on the policies' next actions, standard normal (B, T-1, N, A)."""
        if name != "q":
            return {}
        lead = (batch.batch_size, batch.max_seq_length - 1, self.args.n_agents)
        return {"target": self.policy.make_noise(lead, self.generator, self.args.device)}

    def batch_context(self, name: str, batch: EpisodeBatch) -> Context:
        """mean |Q| over the batch: a chunk's own mean would weigh its rows otherwise."""
        if name != "actor":
            return super().batch_context(name, batch)
        value = self.policy_value(self.unroll(self.mac, batch, NOW).flatten(0, 1), batch)  # (R,)
        return {"scale": masked_mean(value.abs(), transition_mask(batch).flatten())}

    # -- the critics -------------------------------------------------------------------------------------------------

    def next_value(self, batch: EpisodeBatch, noise: Noise) -> Tensor:
        """min_j Q'_j(s', pi(o') + clipped noise) of the targets, before it is clipped, (R,)."""
        outputs = self.unroll(self.mac, batch, NEXT).flatten(0, 1)  # (R, N, A)
        actions = self.policy.sample(outputs, available(batch, NEXT), noise["target"].flatten(0, 1))  # (R, N, A)
        local = self.target_q.taken(rows_of(batch, "obs", NEXT), actions)  # (E, R, N)
        return self.mixed(local, batch, NEXT, "target_").amin(0).squeeze(-1)  # (E, R, 1) -> (R,)

    def q_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """Eq. 5 of B3C: sum_j (y - Q_j(s, a))^2 with y = r + gamma (1 - terminated) min(Q'(s', pi(o')), M R*)."""
        with th.no_grad():
            free = self.next_value(batch, noise)  # (R,)
            clipped = self.clipped(free)  # (R,)
            target = self.backup(batch, clipped.unsqueeze(-1))  # (R, 1)
        rows, stats = self.q_error(batch, target, context)
        goes_on = rows_of(batch, "terminated", NOW).flatten() == 0  # (R,): after a terminal nothing is bootstrapped
        return self.mean(rows, batch), stats | {"clipped": ((clipped < free) & goes_on).to(rows.dtype)}

    # -- the policies ------------------------------------------------------------------------------------------------

    def policy_value(self, outputs: Tensor, batch: EpisodeBatch) -> Tensor:
        """Q_1(s, pi_1(o_1)..pi_N(o_N)) of the policies' outputs (R, N, A): (R,)."""
        actions = self.policy.mode(outputs, available(batch, NOW))  # (R, N, A)
        local = self.q.taken(rows_of(batch, "obs", NOW), actions)[:1]  # (1, R, N)
        return self.mixed(local, batch, NOW).flatten()

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """Eq. 6 of B3C: -q_weight Q_1(s, pi(o)) / mean|Q_1| + bc_weight mean_i |pi_i(o_i) - a_i|^2."""
        outputs = self.unroll(self.mac, batch, NOW)  # (B, T-1, N, A)
        value, cost = self.policy_value(outputs.flatten(0, 1), batch), self.imitation(outputs, batch).mean(-1)  # (R,)
        rows = self.args.bc_weight * cost - self.args.q_weight * value / context["scale"].clamp_min(1e-6)  # (R,)
        return self.mean(rows, batch), {"q_policy": value.detach(), "bc": cost.detach()}
