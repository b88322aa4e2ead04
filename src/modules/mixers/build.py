from collections.abc import Mapping
from types import SimpleNamespace

from torch import nn

from utils.errors import ConfigError


def build_from(registry: Mapping[str, type[nn.Module]], name: str | None, args: SimpleNamespace) -> nn.Module | None:
    """Build the mixer `name` of a registry; None gives None. Raises ConfigError for an unknown name."""
    if name is None:
        return None
    if name not in registry:
        raise ConfigError(f"mixer={name}: there is no such mixer; choose {', '.join(registry)}, or None")
    return registry[name]() if name == "vdn" else registry[name](args)  # EPyMARL's VDN mixer takes no arguments
