from types import SimpleNamespace

import torch as th
from torch import Tensor

from modules.policies.base_policy import BoxPolicy, Noise, sum_over_own

SATURATED = 0.95  # |tanh| from which on an action counts as one at its bound


class DeterministicPolicy(BoxPolicy):
    """One action for each observation: the outputs, squashed by tanh into the bounds.

    Its samples are that action plus Gaussian noise, clipped to the bounds. noise_std: the noise's standard deviation,
    noise_clip: its largest size (None: unlimited), both in half action ranges.
    """

    def __init__(self, args: SimpleNamespace, noise_std: float = 0.0, noise_clip: float | None = None) -> None:
        super().__init__(args)
        self.noise_std, self.noise_clip = noise_std, noise_clip

    def spread(self) -> float | Tensor:
        """The noise's standard deviation, in half action ranges: one number, or (N, A)."""
        return self.noise_std

    def mode(self, outputs: Tensor, available: Tensor) -> Tensor:
        return self.squash(outputs) * available

    def sample(self, outputs: Tensor, available: Tensor, noise: Tensor) -> Tensor:
        shift = noise * self.spread()
        if self.noise_clip is not None:
            shift = shift.clamp(-self.noise_clip, self.noise_clip)
        return self.clip(self.squash(outputs) + shift * (0.5 * (self.high - self.low)), available)

    def log_prob(self, outputs: Tensor, actions: Tensor, available: Tensor) -> Tensor:
        """Minus the squared error in half action ranges: a Gaussian of variance 1/2, without its constant."""
        error = (self.squash(outputs) - actions) / self.half_range()  # (..., A)
        return -sum_over_own(error.square(), available)

    def entropy(self, outputs: Tensor, available: Tensor) -> Tensor:
        """0: the observation leaves nothing open."""
        return th.zeros_like(outputs[..., 0])

    def support(self, outputs: Tensor, available: Tensor) -> Tensor:
        return self.mode(outputs, available).unsqueeze(1)  # (R, 1, N, A)

    def expected(self, values: Tensor, outputs: Tensor) -> Tensor:
        return values.squeeze(2)

    def divergence(self, log_mu: Tensor, outputs: Tensor) -> Tensor:
        """-log mu of the policy's action."""
        return -log_mu.squeeze(1)

    def regulariser(self, outputs: Tensor, available: Tensor, action_l2: float, pre_tanh_l2: float) -> Tensor:
        """Means over own dimensions: padding to the widest agent would weaken the penalty of the others."""
        outputs = outputs * available
        by_agent = th.tanh(outputs).square().sum(-1) / self.dimensions(available)  # (R, N), in units of the bounds
        reach = outputs.square().sum((-2, -1)) / all_dimensions(available)  # (R,), how far into tanh's flat ends
        return action_l2 * by_agent.sum(-1) + pre_tanh_l2 * reach

    def statistics(self, outputs: Tensor, available: Tensor) -> Noise:
        """The share of action entries at their bounds."""
        unit = th.tanh((outputs * available).detach())  # (R, N, A)
        saturated = (unit.abs() > SATURATED).to(unit.dtype).sum((-2, -1))  # (R,)
        return {"actor_saturation": saturated / all_dimensions(available)}


def all_dimensions(available: Tensor) -> Tensor:
    """How many action dimensions a row's agents have together, at least 1: (R, N, A) -> (R,)."""
    return available.sum((-2, -1)).clamp_min(1)
