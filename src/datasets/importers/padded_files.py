"""Files of arrays (E, T, ...) whose rows are read by blocks of episodes: `.h5`, `.npz`, or a folder of `.h5` parts."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from datasets.declared import FORMAT, check_expansion, parse_card, plain_attribute
from datasets.faults import input_error
from datasets.importers.archive import is_npz, open_npz
from datasets.importers.foreign_hdf5 import check_sizes, is_hdf5, member, numbers, open_hdf5
from utils.errors import DatasetError, printable

CARD = "epymarl_offline_card"  # attribute of a file that `exporters.pymarl` wrote
KNOWN = "last_action_known"  # attribute of its `actions`
STATED = ("environment", "action_space", "n_actions", "action_low", "action_high", "behaviour", "quality", "reward",
          "reference", "obs_mask")  # fmt: skip
_BLOCK = 1 << 25  # bytes read at once, where chunks allow it
_LARGEST_BLOCK = 1 << 28


class Column(Protocol):
    """An array that is read by ascending ranges of episodes."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, rows: slice) -> np.ndarray: ...


class _Stored:
    """An array of an HDF5 file; booleans are numbers."""

    def __init__(self, entry: h5py.Dataset) -> None:
        self.entry, self.shape = entry, tuple(int(size) for size in entry.shape)
        self.dtype = np.dtype(np.uint8) if entry.dtype == np.bool_ else entry.dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        return numbers(self.entry[rows])


@dataclass(frozen=True)
class PaddedFile:
    """An open file's arrays by their names, and what our exporter noted in it. others: names of what is no array."""

    arrays: Mapping[str, Column]
    card: Any = None
    known: np.ndarray | None = field(default=None)
    others: tuple[str, ...] = ()

    def last_action_known(self, episode: int, n_episodes: int) -> bool | None:
        """What the exporter noted of an episode's final action; None where the file is another's."""
        if self.known is None or self.known.shape != (n_episodes,):
            return None
        return bool(self.known[episode])


def open_parts(path: Path) -> list[Path]:
    """The files that make up the data at `path`, in order: itself, or a folder's `.h5` files; none where it is neither.

    Raises DatasetError where the operating system refuses to look.
    """
    try:
        if path.is_dir():
            files = [file for file in path.iterdir() if file.suffix in (".h5", ".hdf5") and file.is_file()]
            return sorted(files, key=lambda file: natural(file.name))
        return [path] if is_npz(path) or is_hdf5(path) or path.suffix in (".h5", ".hdf5", ".npz") else []
    except OSError as error:
        raise input_error(path, error) from error


def is_ours(path: Path) -> bool:
    """Whether a file is a dataset of this project. Raises DatasetError for a damaged HDF5 file."""
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return _says_so(file)


def _says_so(file: h5py.File) -> bool:
    return bool(plain_attribute(file, "format") == FORMAT)


@contextmanager
def open_padded(path: Path) -> Iterator[PaddedFile | None]:
    """Yield the arrays of numbers in a file, not read yet; None where it is neither HDF5 nor an npz archive, or ours.

    Raises DatasetError for a file that is truncated, declares more than it holds, or leads out of itself.
    """
    if path.suffix == ".npz":
        with open_npz(path) as arrays:
            yield PaddedFile(arrays)
        return
    with open_hdf5(path) as file:
        if _says_so(file):
            yield None
            return
        entries = {name: member(file, name, path) for name in file if isinstance(name, str)}
        found = {name: entry for name, entry in entries.items() if isinstance(entry, h5py.Dataset) and entry.shape}
        total, held = check_sizes(file, found.values(), path)
        check_expansion(path, total, held)
        known = found["actions"].attrs.get(KNOWN) if "actions" in found else None
        card = plain_attribute(file, CARD)
        yield PaddedFile(
            {printable(name): _Stored(entry) for name, entry in found.items()},
            card,
            known if isinstance(known, np.ndarray) and known.dtype.kind in "biu" else None,
            tuple(printable(name) for name in entries if name not in found),
        )


def exported_card(file: PaddedFile) -> dict[str, Any]:
    """The card's stated entries that our exporter put into the file; none where the file is another's."""
    if file.card is None:
        return {}
    try:
        card = parse_card(file.card)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"the attribute '{CARD}' is no dataset card ({printable(str(error))[:100]})") from error
    return {key: card[key] for key in STATED if key in card}


def card_text(card: Mapping[str, Any]) -> str:
    """What `exported_card` reads: the stated entries of a card."""
    return json.dumps({key: card[key] for key in STATED if key in card}, allow_nan=False)


def blocks(file: PaddedFile, keys: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Ranges of episodes to read at once: whole chunks, of about 32 MB in all."""
    arrays = [file.arrays[key] for key in keys]
    per_episode = sum(int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize for array in arrays)
    chunks = [array.entry.chunks[0] for array in arrays if isinstance(array, _Stored) and array.entry.chunks]
    step = max(1, _BLOCK // max(1, per_episode))
    largest = max(chunks, default=1)
    if largest * per_episode <= _LARGEST_BLOCK:
        step = -(-step // largest) * largest
    n_episodes = arrays[0].shape[0]
    for start in range(0, n_episodes, step):
        yield start, min(start + step, n_episodes)


def natural(name: str) -> list[Any]:
    """A key that sorts part_10 behind part_2."""
    return [int(text) if text.isdecimal() else text for text in re.split(r"(\d+)", name)]
