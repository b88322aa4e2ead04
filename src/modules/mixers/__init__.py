from types import SimpleNamespace
from typing import Any

from torch import nn

from modules.mixers.monotone import MonotoneMixer
from modules.mixers.qmix import QMixer
from modules.mixers.vdn import VDNMixer
from utils.errors import ConfigError

# Stock has no registry here and its learners import the classes; constructors differ (VDN takes no arguments).
REGISTRY: dict[str, type[nn.Module]] = {
    "qmix": QMixer,
    "vdn": VDNMixer,
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
    return VDNMixer() if name == "vdn" else REGISTRY[name](SimpleNamespace(**{**DEFAULTS, **vars(args)}))
