"""B3C's clipped targets (Kim & Sycara 2026): no bootstrapped value above a multiple of the best return in the data."""

import math
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from components.statistics import DataStatistics
from learners.base_learner import BaseLearner, Logger
from learners.losses import clip_target
from utils.keys import WEIGHT, Key


class ClippedTargets(BaseLearner):
    """A learner whose targets hold min(V(s'), M R*); `target_clip` names the rule for R*.

    none: no bound, as with M = infinity. max_return: the largest return of an episode. max_return_to_go: the largest
    discounted sum of rewards from a step to its episode's end.
    """

    KEYS = {
        "target_clip": Key("what bounds bootstrapped values", ("none", "max_return", "max_return_to_go")),
        "target_clip_multiple": Key(
            "the bound, in multiples of that return", WEIGHT, where={"target_clip": ("max_return", "max_return_to_go")}
        ),
    }
    bound: Tensor

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace, **parts: Any) -> None:
        super().__init__(mac, scheme, logger, args, **parts)
        unset = math.inf if args.target_clip == "none" else math.nan  # without a dataset there is none: training stops
        self.register_buffer("bound", th.tensor(unset, device=args.device), persistent=False)

    def use_statistics(self, statistics: DataStatistics) -> None:
        super().use_statistics(statistics)
        if self.args.target_clip != "none":
            largest = getattr(statistics, self.args.target_clip)  # of rewards before `reward_scale`
            scale = getattr(self.args, "reward_scale", 1.0)
            self.bound.fill_(scale * self.args.target_clip_multiple * largest)

    def clipped(self, next_value: Tensor) -> Tensor:
        """min(V(s'), M R*), elementwise."""
        return clip_target(next_value, self.bound)
