"""From a stream of episodes to a dataset, in little memory: rows wait in unnamed files on the target's disk."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from datasets.card import add_statistics, start_card
from datasets.convert import convert_arrays
from datasets.dataset import drop_derivable, write_dataset
from datasets.hdf5 import BLOCK_BYTES, write_container
from datasets.importers.source import Episode, Source
from datasets.output import check_target
from datasets.rounding import Rounding
from datasets.spill import SpilledArray
from datasets.validate import check_arrays, check_layout, check_values
from utils import signals
from utils.errors import DatasetError, OutputError
from utils.memory import free_memory

IN_MEMORY = 1 << 28  # bytes up to which a set is loaded, so that columns which follow from others can be left out
_COPIES = 6  # of a set, that the search for such columns takes


def write_source(
    out: Path,
    source: Source,
    command: str = "",
    *,
    compression: int = 4,
    replace: bool = True,
    in_memory: int = IN_MEMORY,
) -> dict[str, Any]:
    """Write a source's episodes to `out` and return the dataset card; its `made_by` has the command and the notes.

    Episodes are checked while they arrive. Sets of more than `in_memory` bytes, and those that would take most of the
    free memory, never are in memory as a whole, and all their columns are stored. compression, replace: as for
    `datasets.dataset.write_dataset`. Raises DatasetError, naming the episode and the row, where an episode is not sound
    or differs in kind from the first, and where there is none; OutputError where the disk refuses. Nothing is left or
    replaced then.
    """
    check_target(out, replace)  # before the work
    with ExitStack() as stack:
        rows = _Rows(_existing(out.parent), source.card, stack)
        for episode in source.episodes:
            rows.add(episode)
        rows.flush()
        source.notes.extend(rows.rounding.note())
        if not rows.lengths:
            raise DatasetError("the source holds no episode; nothing is written")
        card = dict(source.card)
        card["made_by"] = {"command": command, **dict(card.get("made_by") or {})}
        if source.notes:
            card["made_by"]["notes"] = list(source.notes)
        size = sum(array.nbytes for array in rows.arrays.values())
        if size > in_memory or _COPIES * size > free_memory():
            return _write_large(out, rows, card, compression, replace)
        arrays = {key: array[:] for key, array in rows.arrays.items()}
    return write_dataset(
        out, arrays, rows.offsets(), card, last_action_known=rows.known_array(), compress_columns=not source.exact,
        compression=compression,
        replace=replace,
    )  # fmt: skip


class _Rows:
    """Checked rows on disk, and the newest episodes, which wait until they make a block."""

    def __init__(self, folder: Path, card: Mapping[str, Any], stack: ExitStack) -> None:
        self.arrays: dict[str, SpilledArray] = {}
        self.lengths: list[int] = []  # in rows
        self.known: list[bool] = []
        self.rounding = Rounding()
        self._folder, self._stated, self._stack = folder, card, stack
        self._card: dict[str, Any] | None = None
        self._kind: dict[str, tuple[int, ...]] = {}
        self._waiting: list[Episode] = []
        self._bytes = 0

    def offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(np.asarray(self.lengths, np.int64))])  # (E + 1,)

    def known_array(self) -> np.ndarray:
        return np.asarray(self.known, bool)  # (E,)

    def add(self, episode: Episode) -> None:
        """Take one more episode. Raises DatasetError where it is of another kind than the first."""
        kind = {key: np.shape(array)[1:] for key, array in episode.arrays.items()}
        n_rows = {key: (np.shape(array) or (0,))[0] for key, array in episode.arrays.items()}
        number = len(self.lengths)
        if not self._kind:
            self._kind = kind
        if kind != self._kind:
            raise DatasetError(
                f"{_name(episode, number)} holds rows of {_kinds(kind)}, the first episode {_kinds(self._kind)}; all "
                "must be alike"
            )
        if len(set(n_rows.values())) > 1:
            counts = ", ".join(f"{key} {count}" for key, count in n_rows.items())
            raise DatasetError(f"{_name(episode, number)} has arrays of different numbers of rows: {counts}")
        self._waiting.append(episode)
        self._bytes += sum(np.asarray(array).nbytes for array in episode.arrays.values())
        self.lengths.append(next(iter(n_rows.values()), 0))
        self.known.append(episode.last_action_known)
        if self._bytes >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Check the waiting episodes and write their rows to disk."""
        signals.check("between two blocks of a dataset; what was not complete is not kept")
        if not self._waiting:
            return
        self.card()  # a wrong entry is no episode's fault
        try:
            block = self._checked(self._waiting, self.rounding)
        except DatasetError:
            first = len(self.lengths) - len(self._waiting)
            for number, episode in enumerate(self._waiting, first):
                self._blame(episode, number)
            raise
        self._waiting, self._bytes = [], 0
        for key, rows in block.items():
            if key not in self.arrays:
                self.arrays[key] = SpilledArray(self._folder, rows.shape[1:], rows.dtype)
                self._stack.callback(self.arrays[key].close)
            self.arrays[key].append(rows)

    def card(self) -> dict[str, Any]:
        """The card's entries that the source states, checked."""
        if self._card is None:
            first = self._waiting[0]
            try:
                plain = convert_arrays(first.arrays)
                check_arrays(plain)
            except DatasetError as error:
                raise DatasetError(f"{_name(first, 0)}: {error}") from error
            self._card = start_card(self._stated, *plain["actions"].shape[1:])
        return self._card

    def _checked(self, episodes: Iterable[Episode], rounding: Rounding | None = None) -> dict[str, np.ndarray]:
        """The episodes' rows, joined, in the format's types. Raises DatasetError where they are not sound.

        rounding: gets the rows that are sound.
        """
        waiting = list(episodes)
        keys = waiting[0].arrays
        given = {key: np.concatenate([episode.arrays[key] for episode in waiting]) for key in keys}
        plain = convert_arrays(given)
        lengths = [len(next(iter(episode.arrays.values()), ())) for episode in waiting]
        offsets = np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))])
        known = np.asarray([episode.last_action_known for episode in waiting], bool)
        check_layout(plain, offsets, known)
        check_values(plain, offsets, known, self.card())
        if rounding is not None:
            rounding.add(given, plain)
        return plain

    def _blame(self, episode: Episode, number: int) -> None:
        """Raise DatasetError, naming the episode, where it is the one that is not sound."""
        try:
            self._checked([episode])
        except DatasetError as error:
            raise DatasetError(f"{_name(episode, number)}: {error}") from error


def _write_large(out: Path, rows: _Rows, stated: Mapping[str, Any], compression: int, replace: bool) -> dict[str, Any]:
    """Write rows that lie on disk to `out`, block by block; they have been checked."""
    kept = drop_derivable(rows.arrays)
    card = start_card(stated, *rows.arrays["actions"].shape[1:])
    add_statistics(card, kept, rows.offsets())
    episodes = {"episode_offsets": rows.offsets(), "last_action_known": rows.known_array().astype(np.uint8)}
    write_container(out, {**episodes, **kept}, card, compression, replace)
    return card


def _existing(folder: Path) -> Path:
    """The nearest folder that exists; a target's own folder is made when the set is complete."""
    absolute = folder.absolute()
    for each in (absolute, *absolute.parents):
        if each.is_dir():
            return each
    raise OutputError(f"cannot write to {folder}, as no folder on its path exists; choose another place")


def _name(episode: Episode, number: int) -> str:
    return episode.origin or f"episode {number} of the source"


def _kinds(kind: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{key} {shape}" for key, shape in kind.items())
