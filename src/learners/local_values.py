"""What implicit Q-learning, OMIGA, ICQ and B3C share: critics of single agents, and cloning by weights."""

from types import SimpleNamespace
from typing import Any

from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import Logger
from learners.imitation import Imitation
from learners.losses import rows_of
from learners.mixed_values import MixedValuesLearner
from learners.optimisation import LossSpec
from modules.critics.local_ensemble import LOCAL_KEYS, LocalEnsemble
from utils.errors import ConfigError
from utils.keys import Key

# Of methods whose mixer is a sum with one weight per agent; `check_linear_mixer` sees to its layers.
LINEAR_KEYS = {"mixer": Key("mixer of the agents' values", ("monotone",))}


class LocalValuesLearner(MixedValuesLearner):
    """q_i(o_i, a_i) of logged actions, v_i(o_i), and policies that clone the logged actions with weights.

    MEMBERS: the key that says how many critics q there are, None for one. STATE_VALUES: whether there are v_i.
    """

    KEYS = LOCAL_KEYS
    MEMBERS: str | None = None
    STATE_VALUES = True
    ACTOR_SPEC = LossSpec("actor", ("agent",), lr="actor_lr", clip="member")
    value: LocalEnsemble
    target_q: LocalEnsemble

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        self.imitation = Imitation(scheme, args)
        members: int = 1 if self.MEMBERS is None else getattr(args, self.MEMBERS)
        self.q = LocalEnsemble(scheme, args, members, with_actions=True, shared=args.shared_critics)
        if self.STATE_VALUES:
            self.value = LocalEnsemble(scheme, args, 1, with_actions=False, shared=args.shared_critics)
        self.build_team_value(scheme)

    def local_q(self, batch: EpisodeBatch, steps: slice, prefix: str = "") -> Tensor:
        """q_i(o_i, a_i) of logged actions, (E, R, N); prefix `target_` for the targets'."""
        q: LocalEnsemble = getattr(self, f"{prefix}q")
        return q.taken(rows_of(batch, "obs", steps), rows_of(batch, "actions_onehot", steps))

    def local_v(self, batch: EpisodeBatch, steps: slice, prefix: str = "") -> Tensor:
        """v_i(o_i), (1, R, N)."""
        values: Tensor = getattr(self, f"{prefix}value")(rows_of(batch, "obs", steps))
        return values

    def cloning(self, outputs: Tensor, batch: EpisodeBatch, weight: Tensor) -> Tensor:
        """-w log pi_i(a_i | o_i) of the logged actions, a mean over agents.

        outputs: the policies', (B, T-1, N, P); weights (R, M or N) -> (R,).
        """
        cost: Tensor = self.imitation(outputs, batch)  # (R, N)
        return (weight * cost).mean(-1)


def check_linear_mixer(args: SimpleNamespace, learner: str) -> None:
    """Raise ConfigError unless the monotone mixer is a sum of the agents' values with one weight k_i(s) each."""
    if args.mixer_layers != 1:
        raise ConfigError(f"mixer_layers={args.mixer_layers}: {learner} needs one weight per agent; set mixer_layers=1")
