"""MA-TD3+BC: MATD3 on a dataset, its policies held to the data by cloning (Fujimoto & Gu 2021)."""

from types import SimpleNamespace
from typing import Any

from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import Context, Logger, Noise, Stats
from learners.imitation import Imitation
from learners.losses import NOW, available, masked_mean, transition_mask
from learners.matd3_learner import MATD3Learner
from learners.target_clip import ClippedTargets
from utils.keys import WEIGHT, Key


class MATD3BCLearner(ClippedTargets, MATD3Learner):
    """MATD3's critics; policies climb the normalised value and clone, with a weight for each term."""

    KEYS = {
        "q_weight": Key("weight of the normalised value in the policies' loss", WEIGHT),
        "bc_weight": Key("weight of cloning in the policies' loss", WEIGHT),
    }
    CONFIGS = ("matd3_bc", "matd3_bc")

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        self.imitation = Imitation(scheme, args)

    def next_value(self, batch: EpisodeBatch, noise: Noise) -> Tensor:
        return self.clipped(super().next_value(batch, noise))

    def batch_context(self, name: str, batch: EpisodeBatch) -> Context:
        """mean |Q_1| over the batch: a chunk's own mean would weigh its rows otherwise."""
        if name != "actor":
            return {}
        value = self.own_value(self.unroll(self.mac, batch, NOW).flatten(0, 1), batch)  # (R,)
        return {"scale": masked_mean(value.abs(), transition_mask(batch).flatten())}

    def actor_loss(self, batch: EpisodeBatch, noise: Noise, context: Context) -> tuple[Tensor, Stats]:
        """-q_weight Q_1(s, pi_i(o_i), a_-i) / mean|Q_1| + bc_weight |pi_i(o_i) - a_i|^2, and MATD3's penalty."""
        outputs = self.unroll(self.mac, batch, NOW)  # (B, T-1, N, A)
        value, cost = self.own_value(outputs.flatten(0, 1), batch), self.imitation(outputs, batch).mean(-1)  # (R,) each
        rows = self.args.bc_weight * cost - self.args.q_weight * value / context["scale"].clamp_min(1e-6)
        rows = rows + self.policy.regulariser(outputs.flatten(0, 1), available(batch, NOW), 0.0, self.args.pre_tanh_l2)
        return masked_mean(rows, transition_mask(batch).flatten()), {"q_policy": value.detach(), "bc": cost.detach()}
