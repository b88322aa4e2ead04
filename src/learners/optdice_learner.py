"""OptDICE: stationary-distribution correction with one joint value nu(s), without factorisation, offline.

It is OptiDICE (Lee et al. 2021) for a team whose agents clone the joint actions by one weight: ComaDICE's problem and
its dual (`dice_values.py`) with a value of the state in the mixture's place.
"""

from types import SimpleNamespace
from typing import Any

from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.base_learner import Logger
from learners.dice_values import DICELearner
from learners.losses import after_first
from learners.optimisation import LossSpec
from modules.critics.ensemble_critic import EnsembleCritic
from modules.critics.state_critic import StateCritic


class OptDICELearner(DICELearner):
    """max E_rho[r] - alpha D_f(rho || rho^mu), solved by its dual in nu(s); w = rho / rho^mu weighs the cloning."""

    EXTRAS = ("init_state",)
    CONFIGS = ("optdice", "optdice")
    CRITICS = "central"
    VALUE = LossSpec("value", ("value",), lr="value_lr")

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        self.value = StateCritic(scheme, args)  # nu
        self.LOSSES = (self.VALUE, self.ACTOR)
        if args.advantage == "joint":
            self.joint = EnsembleCritic(scheme, args, members=1)  # e(s, a_1..a_N)
            self.LOSSES = (self.JOINT, *self.LOSSES)
        self.prepare()

    def nu(self, batch: EpisodeBatch, steps: slice) -> Tensor:
        """nu(s), (B, T')."""
        return self.of_states(batch["state"][:, steps])

    def nu_after_start(self, batch: EpisodeBatch) -> Tensor:
        """nu(s) on every step, after nu(s_0) of the rows' episodes, (B, 1+T); (B, T) of whole episodes."""
        return self.of_states(after_first(batch, "state"))

    def of_states(self, states: Tensor) -> Tensor:
        """nu of states, (B, T', S) -> (B, T')."""
        values: Tensor = self.value(states.flatten(0, 1))  # (1, B*T')
        return values.view(states.shape[:2])
