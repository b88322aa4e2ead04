from types import SimpleNamespace
from typing import Any

from torch import nn

from modules.mixers.qmix import QMixer
from modules.mixers.vdn import VDNMixer
from utils.errors import ConfigError

# Stock has no registry here and its learners import the classes; constructors differ (VDN takes no arguments).
REGISTRY = {
    "qmix": QMixer,
    "vdn": VDNMixer,
}

# Stock's values, for configurations that were not written for a mixer.
DEFAULTS: dict[str, Any] = {"mixing_embed_dim": 32, "hypernet_layers": 2, "hypernet_embed": 64}


def build_mixer(name: str | None, args: SimpleNamespace) -> nn.Module | None:
    """The mixer called `name`, None for None. Raises ConfigError for an unknown name."""
    if name is None:
        return None
    if name not in REGISTRY:
        raise ConfigError(f"mixer={name}: there is no such mixer; choose {', '.join(REGISTRY)}, or None")
    return VDNMixer() if name == "vdn" else REGISTRY[name](SimpleNamespace(**{**DEFAULTS, **vars(args)}))
