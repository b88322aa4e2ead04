"""Datasets read once, however many runs are checked on them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from datasets.dataset import OfflineDataset
from datasets.loading import check_named, load_dataset
from datasets.names import resolve_dataset
from datasets.outline import Outline, read_outline


class Readings:
    """What was read of datasets. Outlines are small and kept; of the rows those read last, as many may not fit."""

    def __init__(self) -> None:
        self._outlines: dict[Path, Outline] = {}
        self._rows: tuple[tuple[Path, bool], OfflineDataset] | None = None

    def outline(self, name: str) -> Outline:
        """The outline of a dataset by its name or path. Raises DatasetError as `read_outline` does."""
        path = resolve_dataset(name)
        if path not in self._outlines:
            self._outlines[path] = read_outline(path)
        return self._outlines[path]

    def rows(self, args: SimpleNamespace) -> OfflineDataset:
        """The dataset that the key `dataset` names. Raises ConfigError and DatasetError as `load_dataset` does."""
        check_named(args)
        key = resolve_dataset(args.dataset), bool(args.memory_map)
        if self._rows is None or self._rows[0] != key:
            self._rows = None  # before the next ones are in memory
            self._rows = key, load_dataset(args)
        return self._rows[1]
