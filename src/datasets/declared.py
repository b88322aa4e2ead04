"""What a file declares, checked before any array is read: card, names, types, and sizes that the file can hold."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from datasets.faults import NoDamageError, convertible
from datasets.heap import check_heaps
from utils.errors import DatasetError, printable
from utils.memory import size_text

FORMAT = "epymarl-offline"
FORMAT_VERSION = 1
# Types of the arrays as they are stored; numbers are little-endian.
_TYPES: dict[str, tuple[str, ...]] = {
    "obs": ("<f4",), "actions": ("<f4", "<i8"), "reward": ("<f4",), "terminated": ("|u1",), "state": ("<f4",),
    "avail_actions": ("|u1",), "episode_offsets": ("<i8",), "last_action_known": ("|u1",),
}  # fmt: skip
for _key in ("obs", "state"):
    _TYPES |= {f"{_key}_columns": ("<f4",), f"{_key}_episode_values": ("<f4",), f"{_key}_coefficients": ("|i1",)}
_NAMES = {"<f4": "float32", "<i8": "int64", "|u1": "uint8", "|i1": "int8"}

MOST_CARD = 1 << 24  # characters of a card
MOST_LEVELS = 100  # of a card's lists and mappings within each other
_MOST_BRACKETS = 100_000  # lists and mappings of a card
_MOST_DIGITS = 300  # of a number, which a float then holds
_MOST_EMPTY_ROWS = 1 << 20  # of an array without values
# A file may be smaller than its arrays by compression and by columns that are left out. The largest share is far below
# gzip's 1000; arrays below the free size may be as regular as they like.
_MOST_EXPANSION = 100
_FREE_SIZE = 1 << 28


def read_card(file: h5py.File, path: Path) -> dict[str, Any]:
    """The dataset card of an open file. Raises DatasetError for a file of another format or version."""
    check_heaps(path)
    if plain_attribute(file, "format") != FORMAT:
        raise NoDamageError(f"{path} is an HDF5 file but not a dataset of this project; {convertible(path)}")
    version = plain_attribute(file, "format_version")
    if version != FORMAT_VERSION or isinstance(version, str):
        raise NoDamageError(
            f"{path} has dataset format version {printable(str(version))[:40]}, this release reads version "
            f"{FORMAT_VERSION}; update epymarl-offline or convert the file"
        )
    text = plain_attribute(file, "card")
    try:
        card = parse_card(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"the dataset card of {path} is missing or not valid JSON ({printable(str(error))[:100]}); fetch or "
            "collect it anew"
        ) from error
    if card.get("format_version") != FORMAT_VERSION:
        raise DatasetError(
            f"the dataset card of {path} does not state format version {FORMAT_VERSION}; collect the file anew"
        )
    return card


def parse_card(text: Any) -> dict[str, Any]:
    """The mapping that JSON text holds. Raises ValueError or RecursionError where a card cannot be so."""
    if not isinstance(text, str):
        raise ValueError("it is no text")
    if len(text) > MOST_CARD or text.count("[") + text.count("{") > _MOST_BRACKETS:
        raise ValueError(f"it has {len(text)} characters, more than a card can have")
    card = json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_whole, object_pairs_hook=_distinct)
    if not isinstance(card, dict):
        raise ValueError("it is no mapping")
    if levels(card) > MOST_LEVELS:
        raise ValueError(f"its lists and mappings are more than {MOST_LEVELS} deep")
    return card


def levels(value: Any) -> int:
    """How deep lists and mappings lie within each other, at most one more than is allowed."""
    count, level = 0, [value]
    while count <= MOST_LEVELS:
        level = [part for part in level if isinstance(part, list | dict)]
        if not level:
            return count
        level = [inner for part in level for inner in (part.values() if isinstance(part, dict) else part)]
        count += 1
    return count


def check_writable_card(card: Mapping[str, Any]) -> None:
    """Raise DatasetError where a card is larger or deeper than a reader takes."""
    try:
        parse_card(json.dumps(card, allow_nan=False))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"the dataset card cannot be written: {error}; state less in made_by") from error


def declared_arrays(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """The arrays of an open file, none of them read yet.

    Raises DatasetError for an entry that is no array of numbers, has an unknown name or another type than the format's,
    and for sizes that the file cannot hold.
    """
    entries = {}
    for name in file:  # the first unknown name ends it, so that a million of them cost nothing
        entries[name] = _plain_array(file, name if isinstance(name, str) else repr(name), path)
    held = check_stored(file, entries, path)
    check_expansion(path, sum(size_in_memory(entry) for entry in entries.values()) + _decoded_size(entries), held)
    return entries


def check_expansion(path: Path, total: int, held: int) -> None:
    """Raise DatasetError where arrays of `total` bytes are too much for the `held` bytes that a file has for them."""
    if total > max(_FREE_SIZE, _MOST_EXPANSION * held):
        raise DatasetError(
            f"{path} declares arrays of {size_text(total)} and holds {size_text(held)}, over {_MOST_EXPANSION} times "
            "less, which is refused as a small file could fill the memory; fetch it anew, or write fewer episodes or "
            "with compression=0"
        )


def _plain_array(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """The array `name` of the file. Raises DatasetError for objects, links and data stored in other files."""
    try:
        entry = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
        if not isinstance(entry, h5py.Dataset) or not _is_plain(entry):
            entry = None
    except (TypeError, ValueError):  # types of data, of links or of names that h5py lacks
        entry = None
    if entry is None:
        raise DatasetError(
            f"'{printable(name)[:40]}' in {path} is not a plain array of numbers; fetch or collect the file anew"
        )
    if name not in _TYPES:
        raise DatasetError(
            f"'{printable(name)[:40]}' is not an array of a dataset, but is in {path}; fetch or collect the file anew"
        )
    try:
        kind = entry.dtype.str
    except (TypeError, ValueError):  # numbers of a width that NumPy does not have
        kind = "unknown"
    if kind not in _TYPES[name]:
        wanted = " or ".join(_NAMES[choice] for choice in _TYPES[name])
        raise DatasetError(f"{name} in {path} is of type {kind}; it must be {wanted}, little-endian")
    return entry


def _is_plain(entry: h5py.Dataset) -> bool:
    """Whether this is an array, of integers or floats, that lies in this file."""
    numbers = (h5py.h5t.INTEGER, h5py.h5t.FLOAT)
    simple = entry.id.get_space().get_simple_extent_type() == h5py.h5s.SIMPLE
    here = not entry.external and not entry.is_virtual
    return bool(simple and entry.shape and here and entry.id.get_type().get_class() in numbers)


def check_stored(file: h5py.File, entries: Mapping[str, h5py.Dataset], path: Path) -> int:
    """Bytes that the file holds for its arrays. Raises DatasetError where one lacks part of what it declares."""
    held = 0
    for name, entry in entries.items():
        stored = entry.id.get_storage_size()
        whole = stored >= size_in_memory(entry)
        if 0 in entry.shape:
            whole = entry.shape[0] <= _MOST_EMPTY_ROWS
        elif entry.chunks is not None:
            whole = entry.id.get_num_chunks() == _n_chunks(entry)
        if not whole:
            raise DatasetError(
                f"{name} in {path} declares shape {entry.shape} and the file holds {size_text(stored)} of it; it is "
                "truncated, damaged or made to mislead: fetch or collect it anew"
            )
        held += stored
    return min(held, int(file.id.get_filesize()))


def _n_chunks(entry: h5py.Dataset) -> int:
    """The number of chunks of the whole array."""
    return math.prod(-(-size // chunk) for size, chunk in zip(entry.shape, entry.chunks, strict=True))


def size_in_memory(entry: h5py.Dataset) -> int:
    """Bytes of an array in memory; chunks are read whole, so they count whole."""
    size: int = math.prod(entry.shape) * entry.dtype.itemsize  # of Python's integers, which do not overflow
    if entry.chunks is None or size == 0:
        return size
    whole: int = _n_chunks(entry) * math.prod(entry.chunks) * entry.dtype.itemsize
    return max(size, whole)


def _decoded_size(entries: Mapping[str, h5py.Dataset]) -> int:
    """Bytes of observations and states that are stored as columns, once they are decoded."""
    total = 0
    for key in ("obs", "state"):
        columns, coefficients = entries.get(f"{key}_columns"), entries.get(f"{key}_coefficients")
        if columns is not None and coefficients is not None:
            total += 4 * columns.shape[-1] * coefficients.shape[0]
    return total


def plain_attribute(file: h5py.File, name: str) -> Any:
    """A text or a whole number; None for an attribute that is missing, of another kind, or too large."""
    if name not in file.attrs:
        return None
    attribute = file.attrs.get_id(name)
    kinds = (h5py.h5t.STRING, h5py.h5t.INTEGER)
    scalar = attribute.get_space().get_simple_extent_type() == h5py.h5s.SCALAR
    if not scalar or attribute.get_type().get_class() not in kinds or attribute.get_storage_size() > 4 * MOST_CARD:
        return None
    try:
        value = file.attrs[name]
        value = value.decode() if isinstance(value, bytes) else value
        if isinstance(value, str):
            value.encode()  # fails where the bytes are no UTF-8, which h5py lets pass
        return value
    except (UnicodeError, TypeError):
        return None


def _finite(text: str) -> float:
    """A number of the card. Raises ValueError for NaN and infinity, which Python's JSON reader would accept."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not finite")
    return value


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of a card. Raises ValueError for a key that occurs twice, of which JSON readers take either."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        for name, _ in reversed(pairs):  # the first that is gone already occurs twice
            if mapping.pop(name, mapping) is mapping:
                raise ValueError(f"'{name[:40]}' occurs twice")
    return mapping
