"""Behaviour cloning: each policy imitates its own agent's logged actions; the control of every offline method."""

from types import SimpleNamespace
from typing import Any

from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Draws, Logger, Stats
from learners.gradients import NOW, LossSpec, available, masked_mean, transition_mask
from modules.layers.gaussian import gaussian_policy
from modules.layers.masks import FORBIDDEN
from modules.layers.squash import action_bounds, half_range, squash
from utils.errors import ConfigError

SMALLEST_PROBABILITY = 1e-10  # a logged action that the masks forbid costs much, not infinitely much

OUTPUT_TYPES = {True: ("pi_logits", "q"), False: ("mean", "gaussian")}  # by whether actions are discrete


class BCLearner(BaseLearner):
    """Maximum likelihood of the logged actions, agent by agent, up to constants.

    `agent_output_type` names the policy. Discrete actions: `pi_logits`, or `q`, whose outputs are taken for logits (so
    that the configurations of value-based algorithms can be swapped in). Continuous: `mean`, the squared error in units
    of half the action range (a Gaussian of fixed deviation), or `gaussian`, whose deviations are learned too.
    """

    action_types = frozenset({"discrete", "continuous"})
    LOSSES = (LossSpec("bc", modules=("agent",), lr="lr", clip="member"),)
    low: Tensor
    high: Tensor

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        self.discrete = not scheme["actions"]["dtype"].is_floating_point
        check_output_type(self.discrete, args)
        low, high = action_bounds(args)  # (A,)
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)
        costs = {"pi_logits": self.cross_entropy, "q": self.softmax_cross_entropy, "mean": self.squared_error}
        self.cost = costs.get(args.agent_output_type, self.gaussian_cost)
        self.prepare()

    def draws(self, name: str, batch: EpisodeBatch) -> Draws:
        """The loss is deterministic."""
        return {}

    def bc_loss(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """-log pi_i(a_i | o_i), up to constants, averaged over agents and transitions."""
        mask = transition_mask(batch).flatten()  # (R,)
        outputs = self.unroll(self.mac, batch, NOW).flatten(0, 1)  # (R, N, A)
        logged = batch["actions"][:, NOW].flatten(0, 1)  # (R, N, A) or (R, N, 1)
        cost = self.cost(outputs, logged, available(batch, NOW))  # (R, N)
        return masked_mean(cost.mean(-1), mask), {}

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


def mean_over_own(cost: Tensor, avail_actions: Tensor) -> Tensor:
    """Mean over the action dimensions that an agent has, padding left out. (R, N, A) twice -> (R, N)."""
    return (cost * avail_actions).sum(-1) / avail_actions.sum(-1).clamp_min(1)


def check_output_type(discrete: bool, args: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, where the policies' outputs do not suit the actions."""
    if args.agent_output_type not in OUTPUT_TYPES[discrete]:
        raise ConfigError(
            f"for {'discrete' if discrete else 'continuous'} actions bc_learner needs agent_output_type="
            f"{' or '.join(OUTPUT_TYPES[discrete])}, not {args.agent_output_type}: use --config=bc"
        )
