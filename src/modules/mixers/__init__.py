from types import SimpleNamespace

from torch import nn

from modules.mixers.build import build_from
from modules.mixers.monotone import MonotoneMixer
from modules.mixers.qmix import QMixer
from modules.mixers.vdn import VDNMixer

REGISTRY: dict[str, type[nn.Module]] = {
    "qmix": QMixer,
    "vdn": VDNMixer,
    "monotone": MonotoneMixer,
}


def build_mixer(name: str | None, args: SimpleNamespace) -> nn.Module | None:
    """Build the mixer `name`; None gives None. Raises ConfigError for an unknown name."""
    return build_from(REGISTRY, name, args)
