import math
from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor, nn

from modules.behaviour.base_density import BaseDensity
from modules.layers.squash import action_bounds, half_range

N_COMPONENTS = 5
# Bounds of the standard deviations, in half action ranges. A behaviour that clips puts probability mass on single
# points. Without the lower bound the density would concentrate there and be almost 0 for all other actions.
SMALLEST_STD, LARGEST_STD = 0.1, 2.0


class Mixtures(nn.Module):
    """Mixtures of diagonal Gaussians over continuous actions, in units of half the action range.

    Their parameters are networks' outputs. Padded dimensions (availability 0) do not count. agents: whose actions they
    are, in order; None: all agents'.
    """

    centre: Tensor
    half_range: Tensor

    def __init__(self, args: SimpleNamespace, agents: list[int] | None = None) -> None:
        super().__init__()
        self.n_actions = int(args.n_actions)
        self.n_outputs = N_COMPONENTS * (1 + 2 * self.n_actions)
        low, high = action_bounds(args)  # (A,) or (N, A)
        if agents is not None and low.dim() > 1:
            low, high = low[agents], high[agents]
        self.register_buffer("centre", 0.5 * (low + high), persistent=False)
        self.register_buffer("half_range", half_range(low, high), persistent=False)

    def spread_means(self, bias: Tensor) -> None:
        """Draw the initial means in the last layer's bias: components with equal initial means would stay equal."""
        means = slice(N_COMPONENTS, N_COMPONENTS * (1 + self.n_actions))
        nn.init.uniform_(bias.data[..., means], -1.0, 1.0)

    def unit(self, actions: Tensor) -> Tensor:
        """Actions (..., N, A) in half action ranges from the middle."""
        return (actions - self.centre) / self.half_range

    def log_prob(self, outputs: Tensor, actions: Tensor, avail_actions: Tensor) -> Tensor:
        """Log-density of K actions per agent. outputs (R, N, `n_outputs`), actions (R, K, N, A) -> (R, K, N)."""
        sizes = [N_COMPONENTS, N_COMPONENTS * self.n_actions, N_COMPONENTS * self.n_actions]
        logits, means, widths = outputs.unsqueeze(1).split(sizes, dim=-1)  # (R, 1, N, M...)
        means = means.unflatten(-1, (N_COMPONENTS, self.n_actions))  # (R, 1, N, M, A)
        share = th.sigmoid(widths).unflatten(-1, (N_COMPONENTS, self.n_actions))
        log_std = math.log(SMALLEST_STD) + math.log(LARGEST_STD / SMALLEST_STD) * share  # (R, 1, N, M, A)
        unit = self.unit(actions).unsqueeze(-2)  # (R, K, N, 1, A)
        log_density = -0.5 * ((unit - means) / log_std.exp()).square() - log_std - 0.5 * math.log(2 * math.pi)
        own = (log_density * avail_actions[:, None, :, None]).sum(-1)  # (R, K, N, M)
        return th.logsumexp(th.log_softmax(logits, dim=-1) + own, dim=-1)  # (R, K, N)


class MixtureDensity(BaseDensity):
    """`Mixtures` of every agent's actions, given its own observation."""

    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace) -> None:
        mixtures = Mixtures(args)
        super().__init__(scheme, args, n_outputs=mixtures.n_outputs)
        self.mixtures = mixtures
        self.mixtures.spread_means(self.fc3.bias)

    def log_prob(self, obs: Tensor, actions: Tensor, avail_actions: Tensor) -> Tensor:
        return self.mixtures.log_prob(self.outputs(obs), actions, avail_actions)
