"""Mixers of the agents' values by the key `mixer`."""

from types import SimpleNamespace

from torch import nn

from modules.mixers.build import build_from
from modules.mixers.free import FreeMixer
from modules.mixers.monotone import MonotoneMixer
from modules.mixers.qmix import QMixer
from modules.mixers.vdn import VDNMixer

# The team's value rises with every agent's.
REGISTRY: dict[str, type[nn.Module]] = {
    "qmix": QMixer,
    "vdn": VDNMixer,
    "monotone": MonotoneMixer,
}
# It need not: for learners that say so.
NOT_MONOTONE: dict[str, type[nn.Module]] = {"free": FreeMixer}


def build_mixer(name: str | None, args: SimpleNamespace) -> nn.Module | None:
    """Build the mixer `name`; None gives None. Raises ConfigError for an unknown name."""
    return build_from({**REGISTRY, **NOT_MONOTONE}, name, args)
