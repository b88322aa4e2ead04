import math
from types import SimpleNamespace

import torch as th
from torch import Tensor

from modules.layers.masks import FORBIDDEN
from modules.policies.base_policy import Noise, Policy

SMALLEST_PROBABILITY = 1e-10  # of what expectations and entropies still count
# Of a logged action. One that the masks forbid costs 69, not infinitely much. What lies below has no gradient and would
# never be learned again; the gradient, a weight over the probability, stays far below float32's largest number.
SMALLEST_LOGGED = 1e-30


class CategoricalPolicy(Policy):
    """Discrete actions; outputs are their probabilities, 0 for unavailable ones (EPyMARL's `pi_logits`)."""

    continuous = False

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__()
        self.n_actions = int(args.n_actions)

    def read(self, outputs: Tensor, available: Tensor) -> Tensor:
        """Probabilities that sum to 1 over the available actions, (..., A); zeros where there are none."""
        possible = outputs * (available > 0)
        return possible / possible.sum(-1, keepdim=True).clamp_min(SMALLEST_PROBABILITY)

    def mode(self, outputs: Tensor, available: Tensor) -> Tensor:
        return one_hot(outputs.masked_fill(available == 0, FORBIDDEN).argmax(-1, keepdim=True), outputs)

    def make_noise(self, lead: tuple[int, ...], generator: th.Generator | None, device: str | th.device) -> Tensor:
        """Exponential of rate 1."""
        return th.empty((*lead, self.n_actions), device=device).exponential_(generator=generator)

    def sample(self, outputs: Tensor, available: Tensor, noise: Tensor) -> Tensor:
        """The action with the largest p_a / e_a: a race of exponential clocks, which a wins with probability p_a."""
        clocks = noise.clamp_min(th.finfo(outputs.dtype).tiny)
        speed = (outputs / clocks).masked_fill(available == 0, -1.0)  # below those whose probability rounds to 0
        return one_hot(speed.argmax(-1, keepdim=True), outputs)

    def log_prob(self, outputs: Tensor, actions: Tensor, available: Tensor) -> Tensor:
        return (outputs * actions).sum(-1).clamp_min(SMALLEST_LOGGED).log()

    def entropy(self, outputs: Tensor, available: Tensor) -> Tensor:
        return -(outputs * outputs.clamp_min(SMALLEST_PROBABILITY).log()).sum(-1)

    def dimensions(self, available: Tensor) -> Tensor:
        return th.ones_like(available[..., 0])

    def support(self, outputs: Tensor, available: Tensor) -> Tensor:
        """Every action, one-hot, a view."""
        return self.every_action(outputs)  # (R, A, N, A)

    def every_action(self, like: Tensor) -> Tensor:
        """Every action of every agent, one-hot; like (R, N, A) -> (R, A, N, A), a view."""
        n_rows, n_agents, n_actions = like.shape
        every = th.eye(n_actions, dtype=like.dtype, device=like.device)
        return every[None, :, None].expand(n_rows, -1, n_agents, -1)

    def expected(self, values: Tensor, outputs: Tensor) -> Tensor:
        """The exact expectation."""
        return (values * outputs.transpose(1, 2)).sum(2)

    def cover_noise(self, lead: tuple[int, ...], n_samples: int, generator: th.Generator) -> Noise:
        """None: every action is tried."""
        return {}

    def cover(self, actions: Tensor, available: Tensor, noise: Noise) -> Tensor:
        return self.every_action(actions)  # (R, A, N, A)

    def forbidden(self, available: Tensor) -> Tensor | None:
        return available.transpose(1, 2) == 0  # (R, A, N)

    def divergence(self, log_mu: Tensor, outputs: Tensor) -> Tensor:
        """KL(pi || mu), exactly."""
        lowest = math.log(SMALLEST_PROBABILITY)
        gap = outputs.clamp_min(SMALLEST_PROBABILITY).log() - log_mu.transpose(1, 2).clamp_min(lowest)  # (R, N, A)
        return (outputs * gap).sum(-1)

    def regulariser(self, outputs: Tensor, available: Tensor, action_l2: float, pre_tanh_l2: float) -> Tensor:
        """Zeros: probabilities have no bounds to run into."""
        return th.zeros_like(outputs[:, 0, 0])

    def statistics(self, outputs: Tensor, available: Tensor) -> Noise:
        """The entropy, a mean over agents."""
        return {"policy_entropy": self.entropy(outputs.detach(), available).mean(-1)}


class ValuePolicy(CategoricalPolicy):
    """Discrete actions; outputs are values (`q`), read as logits where a probability is asked for."""

    def read(self, outputs: Tensor, available: Tensor) -> Tensor:
        return outputs.masked_fill(available == 0, FORBIDDEN).softmax(-1)

    def sample(self, outputs: Tensor, available: Tensor, noise: Tensor) -> Tensor:
        return super().sample(self.read(outputs, available), available, noise)

    def log_prob(self, outputs: Tensor, actions: Tensor, available: Tensor) -> Tensor:
        return super().log_prob(self.read(outputs, available), actions, available)

    def entropy(self, outputs: Tensor, available: Tensor) -> Tensor:
        return super().entropy(self.read(outputs, available), available)


def one_hot(index: Tensor, like: Tensor) -> Tensor:
    """Indices (..., 1) as one-hot vectors of `like`'s width and type, (..., A)."""
    return (index == th.arange(like.shape[-1], device=like.device)).to(like.dtype)
