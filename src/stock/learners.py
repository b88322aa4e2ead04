"""Our learners as a stock EPyMARL checkout needs them: `plug_into.py` registers these classes there.

Stock's constructor takes a controller, a scheme, a logger and `args`, and nothing else. What our learners get in this
repository beside that, each adapter finds for itself.
"""

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from components.episode_buffer import EpisodeBatch
from learners.alberdice_learner import AlberDICELearner
from learners.base_learner import BaseLearner, Logger
from learners.bc_learner import BCLearner
from learners.bcq_learner import BCQLearner
from learners.comadice_learner import ComaDICELearner
from learners.icq_learner import ICQLearner
from learners.implicit_q_learner import ImplicitQLearner
from learners.losses import NEXT
from learners.omiga_learner import OMIGALearner
from learners.optdice_learner import OptDICELearner
from learners.spacql_learner import SPaCQLLearner
from modules.layers.normaliser import fill_normalisers
from utils.checkpoint import check_checkpoint
from utils.errors import ConfigError
from utils.manifest import write_manifest

# Keys that every run of this repository has. Stock's default.yaml lacks them, and so may a user's algorithm file.
DEFAULTS: dict[str, Any] = {"window": None, "burn_in": 0, "loss_chunk": None, "compile": False, "svn": False}


class InStock(BaseLearner):
    """A learner under stock's constructor; the first base class of every adapter."""

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, SimpleNamespace(**{**DEFAULTS, **vars(args)}))
        statistics = statistics_in(scheme)
        if statistics and self.args.input_norm == "dataset":
            fill_normalisers(self, statistics)

    def save_models(self, path: str) -> None:
        """Write the model files, and the manifest by which damage to them is noticed."""
        super().save_models(path)
        write_manifest(Path(path))

    def load_models(self, path: str) -> None:
        """Read the model files after they were checked. Raises CheckpointError where they are damaged."""
        check_checkpoint(Path(path))
        super().load_models(path)


class BCInStock(InStock, BCLearner):
    """Behaviour cloning."""


class AlberDICEInStock(InStock, AlberDICELearner):
    """AlberDICE; episodes are whole, so that an episode's first state is the batch's first."""


class BCQInStock(InStock, BCQLearner):
    """BCQ, whose agents `bcq_ns` hold all of its networks."""


class ImplicitQInStock(InStock, ImplicitQLearner):
    """Implicit Q-learning."""


class OMIGAInStock(InStock, OMIGALearner):
    """OMIGA."""


class OptDICEInStock(InStock, OptDICELearner):
    """OptDICE; episodes are whole, as for AlberDICE."""


class UnknownActions:
    """Batches without `next_action_valid`, for which stock's scheme has no key; a base class before the learner."""

    def next_action_valid(self, batch: EpisodeBatch) -> Tensor:
        """Whether row t+1 stores an action of the behaviour, (R,) bool: an all-zero one-hot row means that it does not.

        The offline runner leaves such a row where the dataset has no last action.
        """
        encoded = batch["actions_onehot"][:, NEXT] > 0  # (B, T-1, N, A)
        return encoded.flatten(2).any(-1).flatten()


class SPaCQLInStock(UnknownActions, InStock, SPaCQLLearner):
    """SPaCQL, which replaces all agents where no next action was logged."""


class ICQInStock(UnknownActions, InStock, ICQLearner):
    """ICQ, whose steps without a logged next action have no target."""


class ComaDICEInStock(InStock, ComaDICELearner):
    """ComaDICE, which refuses a mixer that cannot leave out its bias where M[q - nu] needs that."""

    def __init__(self, mac: Any, scheme: dict[str, Any], logger: Logger, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_bias(self.mixer, self.args)


def check_bias(mixer: Any, args: SimpleNamespace) -> None:
    """Raise ConfigError, one sentence, where ComaDICE mixes q - nu with a mixer that takes no `with_bias`."""
    mixes_gaps = args.value_loss != "full" or args.advantage == "mixed"
    if mixes_gaps and "with_bias" not in inspect.signature(mixer.forward).parameters:
        raise ConfigError(
            f"mixer={args.mixer}: this checkout's {type(mixer).__name__} cannot leave out its bias, which "
            f"value_loss={args.value_loss} with M[q - nu] needs: set mixer=monotone or mixer=vdn"
        )


def statistics_in(scheme: dict[str, Any]) -> dict[str, tuple[Tensor, Tensor]]:
    """Means and standard deviations of `obs`, (N, O), and `state`, (S,), that the offline runner left in the scheme.

    Empty where it left none: online, and where a checkpoint is only evaluated.
    """
    return {key: (scheme[key]["mean"], scheme[key]["std"]) for key in ("obs", "state") if "mean" in scheme[key]}
