"""Behaviour cloning: each policy imitates its own agent's logged actions; the control of every offline method."""

from types import SimpleNamespace
from typing import Any

from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Draws, Logger, Stats
from learners.gradients import LossSpec, masked_mean, transition_mask
from modules.layers.squash import action_bounds, squash
from utils.errors import ConfigError

NOW = slice(None, -1)  # rows t of a batch
SMALLEST_PROBABILITY = 1e-10  # a logged action that the masks forbid costs much, not infinitely much
SMALLEST_HALF_RANGE = 1e-6  # a dimension whose bounds coincide has nothing to imitate


class BCLearner(BaseLearner):
    """Maximum likelihood of the logged actions, agent by agent: discrete policies, or deterministic continuous ones.

    Continuous: the mean squared error in units of half the action range (a Gaussian of fixed deviation). Discrete:
    the cross-entropy of the policy's probabilities (`agent_output_type: pi_logits`).
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
        self.prepare()

    def draws(self, name: str, batch: EpisodeBatch) -> Draws:
        """The loss is deterministic."""
        return {}

    def bc_loss(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """-log pi_i(a_i | o_i), up to constants, averaged over agents and transitions."""
        mask = transition_mask(batch).flatten()  # (R,)
        outputs = self.unroll(self.mac, batch, NOW).flatten(0, 1)  # (R, N, A)
        logged = batch["actions"][:, NOW].flatten(0, 1)  # (R, N, A) or (R, N, 1)
        cost = self.cross_entropy(outputs, logged) if self.discrete else self.squared_error(outputs, logged)  # (R, N)
        return masked_mean(cost.mean(-1), mask), {}

    def cross_entropy(self, probabilities: Tensor, logged: Tensor) -> Tensor:
        """-log of the logged action's probability. (R, N, A), (R, N, 1) -> (R, N)."""
        return -probabilities.gather(-1, logged).squeeze(-1).clamp_min(SMALLEST_PROBABILITY).log()

    def squared_error(self, raw: Tensor, logged: Tensor) -> Tensor:
        """Mean over action dimensions of the squared error in half ranges. (R, N, A) twice -> (R, N)."""
        half_range = (0.5 * (self.high - self.low)).clamp_min(SMALLEST_HALF_RANGE)
        return ((squash(raw, self.low, self.high) - logged) / half_range).square().mean(-1)


def check_output_type(discrete: bool, args: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, where the policies' outputs do not suit the actions."""
    if discrete != (args.agent_output_type == "pi_logits"):
        wanted, config = ("pi_logits", "bc_discrete") if discrete else ("mean", "bc")
        raise ConfigError(f"for these actions bc_learner needs agent_output_type={wanted}: use --config={config}")
