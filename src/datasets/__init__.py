"""Offline datasets. `from datasets import from_episodes` writes one from a script's NumPy arrays."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Import what a script takes from this package, when it takes it: commands need only parts of it."""
    if name == "from_episodes":
        from datasets.importers.episodes import from_episodes

        return from_episodes
    raise AttributeError(f"module 'datasets' has no attribute '{name}'")
