"""Behaviour cloning: each policy imitates its own agent's logged actions; the control of every offline method."""

from types import SimpleNamespace
from typing import Any

from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import BaseLearner, Context, Logger, Noise, Stats
from learners.imitation import Imitation
from learners.losses import NOW, masked_mean, transition_mask
from learners.optimisation import LossSpec, rate


class BCLearner(BaseLearner):
    """Maximum likelihood of the logged actions, agent by agent; `Imitation` knows the policies."""

    action_types = frozenset({"discrete", "continuous"})
    KEYS = {"actor_lr": rate("the policies")}
    CONFIGS = ("bc", "bc")
    ALIASES = {"lr": "actor_lr"}
    LOSSES = (LossSpec("bc", modules=("agent",), lr="actor_lr", clip="member"),)
    NEEDS_DATA = "imitates the actions of a dataset, and online it would imitate its own"

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        self.imitation = Imitation(scheme, args)
        self.prepare()

    def bc_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """-log pi_i(a_i | o_i), averaged over agents and transitions."""
        mask = transition_mask(batch).flatten()  # (R,)
        cost = self.imitation(self.unroll(self.mac, batch, NOW), batch)  # (R, N)
        return masked_mean(cost.mean(-1), mask), {}
