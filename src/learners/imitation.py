"""Likelihood of logged actions, for every kind of policy: behaviour cloning, and weighted, ComaDICE's policies."""

from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from components.episode_buffer import EpisodeBatch
from learners.optimisation import NOW, available
from modules.layers.gaussian import gaussian_policy, tanh_gaussian_log_prob
from modules.layers.masks import FORBIDDEN
from modules.layers.squash import action_bounds, half_range, squash
from utils.errors import ConfigError

SMALLEST_PROBABILITY = 1e-10  # a logged action that the masks forbid costs much, not infinitely much

OUTPUT_TYPES = {True: ("pi_logits", "q"), False: ("mean", "gaussian", "tanh_gaussian")}  # by whether they are discrete


class Imitation(nn.Module):
    """-log pi_i(a_i | o_i) of logged actions, up to constants, a mean over an agent's action dimensions.

    `agent_output_type` names the policy. Discrete actions: `pi_logits`, or `q`, whose outputs are taken for logits (so
    that the configurations of value-based algorithms can be swapped in). Continuous: `mean`, the squared error in units
    of half the action range (a Gaussian of fixed deviation), `gaussian`, whose deviations are learned too, or
    `tanh_gaussian`, a Gaussian before tanh. Raises ConfigError, one sentence, where it does not suit the actions.
    """

    low: Tensor
    high: Tensor

    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace, config: str) -> None:
        super().__init__()
        kind, discrete = args.agent_output_type, not scheme["actions"]["dtype"].is_floating_point
        if kind not in OUTPUT_TYPES[discrete]:
            raise ConfigError(
                f"for {'discrete' if discrete else 'continuous'} actions {args.learner} needs agent_output_type="
                f"{' or '.join(OUTPUT_TYPES[discrete])}, not {kind}: use --config={config}"
            )
        low, high = action_bounds(args)  # (A,)
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)
        self.cost = {
            "pi_logits": self.cross_entropy,
            "q": self.softmax_cross_entropy,
            "mean": self.squared_error,
            "gaussian": self.gaussian_cost,
            "tanh_gaussian": self.tanh_gaussian_cost,
        }[kind]

    def forward(self, outputs: Tensor, batch: EpisodeBatch) -> Tensor:
        """The cost of the actions logged at the time steps NOW; outputs (B, T', N, A or 2A) -> (R, N)."""
        logged = batch["actions"][:, NOW].flatten(0, 1)  # (R, N, A) or (R, N, 1)
        return self.cost(outputs.flatten(0, 1), logged, available(batch, NOW))

    def cross_entropy(self, probabilities: Tensor, logged: Tensor, avail_actions: Tensor) -> Tensor:
        """-log of the logged action's probability. (R, N, A), (R, N, 1) -> (R, N)."""
        return -probabilities.gather(-1, logged).squeeze(-1).clamp_min(SMALLEST_PROBABILITY).log()

    def softmax_cross_entropy(self, logits: Tensor, logged: Tensor, avail_actions: Tensor) -> Tensor:
        """The same of the softmax over available actions. (R, N, A), (R, N, 1) -> (R, N)."""
        probabilities = logits.masked_fill(avail_actions == 0, FORBIDDEN).softmax(-1)  # (R, N, A)
        return self.cross_entropy(probabilities, logged, avail_actions)

    def squared_error(self, raw: Tensor, logged: Tensor, avail_actions: Tensor) -> Tensor:
        """Mean over action dimensions of the squared error in half ranges. (R, N, A) twice -> (R, N)."""
        error = (squash(raw, self.low, self.high) - logged) / half_range(self.low, self.high)
        return mean_over_own(error.square(), avail_actions)

    def gaussian_cost(self, outputs: Tensor, logged: Tensor, avail_actions: Tensor) -> Tensor:
        """-log density in half ranges, mean over action dimensions, without log(2 pi) / 2. (R, N, 2A) -> (R, N)."""
        mean, log_std = gaussian_policy(outputs, self.low, self.high)  # (R, N, A) each
        error = (mean - logged) / half_range(self.low, self.high)
        return mean_over_own(0.5 * (error * (-log_std).exp()).square() + log_std, avail_actions)

    def tanh_gaussian_cost(self, outputs: Tensor, logged: Tensor, avail_actions: Tensor) -> Tensor:
        """-log density in half ranges, mean over action dimensions. (R, N, 2A), (R, N, A) -> (R, N)."""
        return -mean_over_own(tanh_gaussian_log_prob(outputs, logged, self.low, self.high), avail_actions)


def mean_over_own(cost: Tensor, avail_actions: Tensor) -> Tensor:
    """Mean over the action dimensions that an agent has, padding left out. (R, N, A) twice -> (R, N)."""
    return (cost * avail_actions).sum(-1) / avail_actions.sum(-1).clamp_min(1)
