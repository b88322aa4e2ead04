from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from modules.behaviour.base_density import BaseDensity
from modules.layers.masks import FORBIDDEN


class CategoricalDensity(BaseDensity):
    """Categorical distributions over discrete actions; unavailable actions have probability 0."""

    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace) -> None:
        super().__init__(scheme, args, n_outputs=args.n_actions)

    def log_prob(self, obs: Tensor, actions: Tensor, avail_actions: Tensor) -> Tensor:
        logits = self.outputs(obs).masked_fill(avail_actions == 0, FORBIDDEN)  # (R, N, A)
        log_mu = th.log_softmax(logits, dim=-1)  # (R, N, A)
        return (actions * log_mu.unsqueeze(1)).sum(-1)  # (R, K, N)
