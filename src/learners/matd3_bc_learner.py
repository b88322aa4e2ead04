"""MA-TD3+BC: MATD3 on a dataset, its policies held to the data by cloning (Fujimoto & Gu 2021)."""

import math
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from components.statistics import DataStatistics
from learners.base_learner import Context, Logger, Noise, Stats
from learners.imitation import Imitation
from learners.losses import NOW, clip_target, masked_mean, transition_mask
from learners.matd3_learner import MATD3Learner
from learners.optimisation import of_every_run
from utils.keys import POSITIVE, WEIGHT, Key


class MATD3BCLearner(MATD3Learner):
    """MATD3's critics; policies climb the normalised value and clone, with a weight for each term."""

    KEYS = {
        "q_weight": Key("weight of the normalised value in the policies' loss", WEIGHT),
        "bc_weight": Key("weight of cloning in the policies' loss", WEIGHT),
        "target_clip": Key("what bounds bootstrapped values", ("none", "max_return", "max_return_to_go")),
        "target_clip_multiple": Key("the bound, in multiples of that return", POSITIVE),
        **of_every_run("input_norm"),
    }
    CONFIGS = ("matd3_bc", "matd3_bc")
    bound: Tensor

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        self.imitation = Imitation(scheme, args)
        unset = math.inf if args.target_clip == "none" else math.nan  # a bound that nobody sets stops training
        self.register_buffer("bound", th.tensor(unset, device=args.device), persistent=False)

    def use_statistics(self, statistics: DataStatistics) -> None:
        super().use_statistics(statistics)
        if self.args.target_clip != "none":
            largest = getattr(statistics, self.args.target_clip)  # of rewards before `reward_scale`
            self.bound.fill_(self.args.reward_scale * self.args.target_clip_multiple * largest)

    def next_value(self, batch: EpisodeBatch, noise: Noise) -> Tensor:
        return clip_target(super().next_value(batch, noise), self.bound)

    def batch_context(self, name: str, batch: EpisodeBatch) -> Context:
        """mean |Q_1| over the batch: a chunk's own mean would weigh its rows otherwise."""
        if name != "actor":
            return {}
        value = self.own_value(self.unroll(self.mac, batch, NOW).flatten(0, 1), batch)  # (R,)
        return {"scale": masked_mean(value.abs(), transition_mask(batch).flatten())}

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """-q_weight Q_1(s, pi_i(o_i), a_-i) / mean|Q_1| + bc_weight |pi_i(o_i) - a_i|^2."""
        outputs = self.unroll(self.mac, batch, NOW)  # (B, T-1, N, A)
        value, cost = self.own_value(outputs.flatten(0, 1), batch), self.imitation(outputs, batch).mean(-1)  # (R,) each
        rows = self.args.bc_weight * cost - self.args.q_weight * value / context["scale"].clamp_min(1e-6)
        return masked_mean(rows, transition_mask(batch).flatten()), {"q_policy": value.detach(), "bc": cost.detach()}
