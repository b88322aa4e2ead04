"""A run's resolved configuration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Settings(SimpleNamespace):
    """Configuration keys, and what a run derived from them, as attributes: EPyMARL's `args`, which nobody changes.

    Setting or deleting an attribute raises AttributeError.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(_refusal(name))

    def __delattr__(self, name: str) -> None:
        raise AttributeError(_refusal(name))

    def extended(self, **values: Any) -> Settings:
        """Other settings with these values added or put in the place of those here."""
        return Settings(**{**vars(self), **values})


def _refusal(name: str) -> str:
    return (
        f"args.{name} cannot be set: a run's configuration is resolved before its parts are built; keep what a part "
        "derives from it on the part itself"
    )
