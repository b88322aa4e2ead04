"""Behaviour cloning: each policy imitates its own agent's logged actions; the control of every offline method."""

from types import SimpleNamespace
from typing import Any

from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Draws, Logger, Stats
from learners.imitation import Imitation
from learners.optimisation import NOW, LossSpec, masked_mean, transition_mask


class BCLearner(BaseLearner):
    """Maximum likelihood of the logged actions, agent by agent, up to constants; `Imitation` knows the policies."""

    action_types = frozenset({"discrete", "continuous"})
    LOSSES = (LossSpec("bc", modules=("agent",), lr="actor_lr", clip="member"),)

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        self.imitation = Imitation(scheme, args, config="bc")
        self.prepare()

    def draws(self, name: str, batch: EpisodeBatch) -> Draws:
        """The loss is deterministic."""
        return {}

    def bc_loss(self, batch: EpisodeBatch, draws: Draws) -> tuple[Tensor, Stats]:
        """-log pi_i(a_i | o_i), up to constants, averaged over agents and transitions."""
        mask = transition_mask(batch).flatten()  # (R,)
        cost = self.imitation(self.unroll(self.mac, batch, NOW), batch)  # (R, N)
        return masked_mean(cost.mean(-1), mask), {}
