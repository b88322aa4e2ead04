"""A run's resolved configuration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Settings(SimpleNamespace):
    """Configuration keys and values derived from them, as attributes: EPyMARL's `args`, but read-only.

    Raises AttributeError where an attribute is set or deleted.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(_refusal(name))

    def __delattr__(self, name: str) -> None:
        raise AttributeError(_refusal(name))

    def extended(self, **values: Any) -> Settings:
        """Return new settings with these values added or replaced."""
        return Settings(**{**vars(self), **values})


def _refusal(name: str) -> str:
    return (
        f"args.{name} cannot be set: a run's configuration is resolved before its parts are built; keep a derived "
        "value on the part that uses it"
    )
