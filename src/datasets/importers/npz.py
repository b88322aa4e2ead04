"""Episodes of several agents in one `.npz` file: the layout `numpy`, and a safe reader of such archives."""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from datasets.faults import check_plain_file, input_error, own_words
from datasets.importers.episodes import episodes_source
from datasets.importers.npy import read_header
from datasets.importers.source import Source
from utils.errors import DatasetError, nearest
from utils.memory import size_text

_AGENT = re.compile(r"(obs|actions|reward|avail_actions)_(0|[1-9]\d{0,3})")
_WHOLE = ("lengths", "terminated", "reward", "state")
_BOUNDS = ("action_low", "action_high", "n_actions")
_MOST_MEMBERS = 4096
_MOST_EXPANSION, _FREE_SIZE = 100, 1 << 28  # as for our own files: what a small archive may grow to


class NpzFile:
    """The arrays of an `.npz` archive, read from their beginning on, a number of rows at a time.

    shapes, dtypes: of each array, by its name. Nothing is unpickled or written to disk. Raises DatasetError, naming
    file and array, where it is no such archive, and where it would grow to more than a hundred times its size.
    """

    def __init__(self, path: Path) -> None:
        check_plain_file(path)
        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, np.dtype] = {}
        self._members: dict[str, IO[bytes]] = {}
        try:
            self._archive = zipfile.ZipFile(path)
            self._check_sizes()
            for info in self._archive.infolist():
                self._open(info)
        except OSError as error:
            raise input_error(path, error) from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise self._damage(error) from error

    def take(self, name: str, n_rows: int) -> np.ndarray:
        """The next rows of an array. Raises DatasetError where the archive is damaged or ends before them."""
        shape, dtype = self.shapes[name], self.dtypes[name]
        size = n_rows * math.prod(shape[1:]) * dtype.itemsize
        try:
            content = self._members[name].read(size)
        except OSError as error:
            raise input_error(self.path, error) from error
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise self._damage(error, name) from error
        if len(content) != size:
            raise DatasetError(f"{self.path}: {name} ends before its rows do; fetch or write the file anew")
        return np.frombuffer(content, dtype).reshape(n_rows, *shape[1:])

    def whole(self, name: str) -> np.ndarray:
        """A whole array, which may have no axis."""
        shape = self.shapes[name]
        return self.take(name, shape[0]) if shape else self._single(name)

    def _single(self, name: str) -> np.ndarray:
        self.shapes[name] = (1,)
        return self.take(name, 1).reshape(())

    def _check_sizes(self) -> None:
        members = self._archive.infolist()
        grown, held = sum(info.file_size for info in members), self.path.stat().st_size
        if len(members) > _MOST_MEMBERS or grown > max(_FREE_SIZE, _MOST_EXPANSION * held):
            raise DatasetError(
                f"{self.path} holds {size_text(held)} and would grow to {size_text(grown)} in {len(members)} arrays, "
                "which is refused as a small file could fill the memory; write it with np.savez"
            )

    def _open(self, info: zipfile.ZipInfo) -> None:
        name = info.filename.removesuffix(".npy")
        if name == info.filename or name in self.shapes:
            raise ValueError(f"its part {info.filename} is no array of its own")
        member = self._archive.open(info)
        try:
            shape, fortran, dtype = read_header(member, info.file_size)
        except ValueError as error:
            raise DatasetError(f"{self.path}: {name} is no array of numbers ({error}); no pickle is read") from error
        if fortran and len(shape) > 1:
            raise DatasetError(f"{self.path}: {name} is in Fortran's order; save np.ascontiguousarray of it")
        self.shapes[name], self.dtypes[name], self._members[name] = shape, dtype, member

    def _damage(self, error: Exception, name: str = "") -> DatasetError:
        part = f" ({name})" if name else ""
        return DatasetError(
            f"{self.path} cannot be read as an .npz archive{part}, so it is truncated, damaged or of another kind; "
            f"fetch or write it anew ({own_words(error)})"
        )


class Npz:
    """The importer `numpy`.

    `lengths` (E,) holds each episode's steps, `terminated` (E,) whether a terminal state ended it. The episodes' rows
    follow one another in `obs_0`, `obs_1`, ... (the sum of L + 1 rows), `actions_0`, ... (the sum of L, or of L + 1
    rows), `reward` or `reward_0`, ... (of L), and where they exist `state` and `avail_actions_0`, ... (of L + 1).
    `action_low` and `action_high`, or `n_actions`, are as in `datasets.importers.episodes.from_episodes`.
    """

    def recognise(self, path: Path) -> str | None:
        if path.suffix != ".npz" or not path.is_file():
            return None
        shapes = NpzFile(path).shapes
        if "lengths" not in shapes or "obs_0" not in shapes:
            return None
        agents = sum(name.startswith("obs_") for name in shapes)
        return f"{shapes['lengths'][0] if shapes['lengths'] else 0} episodes of {agents} agents, an array for each"

    def open(self, path: Path, options: Mapping[str, Any]) -> Source:
        """Check names and numbers of rows; the episodes are read one after another."""
        file = NpzFile(path)
        names, n_agents = _checked_names(file)
        lengths = _lengths(file)
        has_next = _check_rows(file, names, lengths)
        bounds = {key: file.whole(key).tolist() for key in _BOUNDS if key in file.shapes}
        ends = zip(lengths.tolist(), file.whole("terminated"), strict=True)
        parts = (_episode(file, names, n_agents, steps, has_next, end) for steps, end in ends)
        stated = {"environment": None, "made_by": {"source": path.name}}
        return episodes_source(parts, stated, **bounds, origin=str(path))


IMPORTER = Npz()


def _checked_names(file: NpzFile) -> tuple[list[str], int]:
    """Names of the arrays with rows, and the number of agents. Raises DatasetError for one that lacks or is unknown."""
    names = []
    agents: dict[str, set[int]] = {}
    for name in file.shapes:
        found = _AGENT.fullmatch(name)
        if found:
            agents.setdefault(found[1], set()).add(int(found[2]))
        elif name not in _WHOLE + _BOUNDS:
            known = [*_WHOLE, *_BOUNDS, "obs_0", "actions_0", "reward_0", "avail_actions_0"]
            raise DatasetError(f"{file.path} holds the array '{name}'; {nearest(name, known)}")
        if name not in ("lengths", "terminated", *_BOUNDS):
            names.append(name)
    n_agents = len(agents.get("obs", ()))
    wanted = [f"{key}_{i}" for key in agents for i in range(max(n_agents, 1))]
    needed = ["lengths", "terminated", "obs_0", "actions_0", *wanted]
    needed += [] if "reward" in agents else ["reward"]
    for name in needed:
        if name not in file.shapes:
            raise DatasetError(f"{file.path} lacks the array '{name}'; it must hold {', '.join(dict.fromkeys(needed))}")
    over = [f"{key}_{i}" for key, numbers in agents.items() for i in sorted(numbers) if i >= n_agents]
    if over or ("reward" in agents and "reward" in file.shapes):
        raise DatasetError(
            f"{file.path} holds '{(over or ['reward'])[0]}' beside obs of {n_agents} agents; leave it out"
        )
    return names, n_agents


def _lengths(file: NpzFile) -> np.ndarray:
    """Each episode's number of steps, (E,)."""
    for name in ("lengths", "terminated"):
        if len(file.shapes[name]) != 1:
            raise DatasetError(f"{file.path}: {name} has shape {file.shapes[name]}; it must be (episodes,)")
    lengths = file.whole("lengths")
    if lengths.dtype.kind not in "iu" or not len(lengths) or lengths.min() < 1:
        raise DatasetError(f"{file.path}: lengths must hold at least one whole number of steps, each at least 1")
    if file.shapes["terminated"][0] != len(lengths):
        raise DatasetError(
            f"{file.path}: terminated has {file.shapes['terminated'][0]} entries, lengths {len(lengths)}"
        )
    return lengths


def _check_rows(file: NpzFile, names: list[str], lengths: np.ndarray) -> bool:
    """Whether actions have a row more than steps. Raises DatasetError where an array has another number of rows."""
    steps = int(lengths.sum(dtype=np.int64))
    rows = steps + len(lengths)
    first = file.shapes["actions_0"][:1]
    has_next = first == (rows,)
    for name in names:
        short = name.startswith("reward") or (name.startswith("actions") and not has_next)
        expected = steps if short else rows
        if file.shapes[name][:1] != (expected,):
            raise DatasetError(
                f"{file.path}: {name} has shape {file.shapes[name]}; by lengths it must have {expected} rows"
            )
    return has_next


def _episode(file: NpzFile, names: list[str], n_agents: int, steps: int, has_next: bool, end: Any) -> dict[str, Any]:
    """The next episode, as a dictionary with one array an agent."""
    episode: dict[str, Any] = {"terminated": end}
    for key in ("obs", "actions", "reward", "avail_actions", "state"):
        n_rows = steps if key == "reward" or (key == "actions" and not has_next) else steps + 1
        if key in names:
            episode[key] = file.take(key, n_rows)
        elif f"{key}_0" in names:
            episode[key] = [file.take(f"{key}_{i}", n_rows) for i in range(n_agents)]
    return episode
