"""Mixers by name, here and in a stock checkout, whose `modules.mixers` has classes and no registry."""

import inspect
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from modules.mixers.monotone import MonotoneMixer
from modules.mixers.qmix import QMixer
from modules.mixers.vdn import VDNMixer
from utils.errors import ConfigError


class SumMixer(VDNMixer):
    """VDN under the interface of the others: stock's class takes no `with_bias`, and there is no bias to leave out."""

    def forward(self, agent_qs: Tensor, states: Tensor, with_bias: bool = True) -> Tensor:
        total: Tensor = super().forward(agent_qs, states)
        return total


# Constructors differ: VDN takes no arguments.
REGISTRY: dict[str, type[nn.Module]] = {
    "qmix": QMixer,
    "vdn": SumMixer,
    "monotone": MonotoneMixer,
}

# default.yaml's values, for configurations that have no keys of mixers; the first three are stock's.
DEFAULTS: dict[str, Any] = {
    "mixing_embed_dim": 32,
    "hypernet_layers": 2,
    "hypernet_embed": 64,
    "mixer_layers": 2,
    "mixer_nonneg": "abs",
    "mixer_activation": "elu",
    "mixer_elu_alpha": 1.0,
}


def build_mixer(name: str | None, args: SimpleNamespace) -> nn.Module | None:
    """The mixer called `name`, None for None. Raises ConfigError for an unknown name."""
    if name is None:
        return None
    if name not in REGISTRY:
        raise ConfigError(f"mixer={name}: there is no such mixer; choose {', '.join(REGISTRY)}, or None")
    return SumMixer() if name == "vdn" else REGISTRY[name](SimpleNamespace(**{**DEFAULTS, **vars(args)}))


def can_leave_out_bias(mixer: Any) -> bool:
    """Whether the mixer's forward takes `with_bias`; stock's QMixer does not."""
    return "with_bias" in inspect.signature(mixer.forward).parameters
