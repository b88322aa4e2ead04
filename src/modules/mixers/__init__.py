from types import SimpleNamespace

from torch import nn

from modules.mixers.monotone import MonotoneMixer
from modules.mixers.qmix import QMixer
from modules.mixers.vdn import VDNMixer
from utils.errors import ConfigError

REGISTRY: dict[str, type[nn.Module]] = {
    "qmix": QMixer,
    "vdn": VDNMixer,
    "monotone": MonotoneMixer,
}


def build_mixer(name: str | None, args: SimpleNamespace) -> nn.Module | None:
    """Build the mixer `name`; None gives None. Raises ConfigError for an unknown name."""
    if name is None:
        return None
    if name not in REGISTRY:
        raise ConfigError(f"mixer={name}: there is no such mixer; choose {', '.join(REGISTRY)}, or None")
    return VDNMixer() if name == "vdn" else REGISTRY[name](args)  # EPyMARL's VDN mixer takes no arguments
