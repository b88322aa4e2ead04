"""Inputs for the readers of dataset files: damaged bytes, odd places, arrays of other kinds and sizes."""

from __future__ import annotations

import functools
import json
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from datasets.dataset import write_dataset
from datasets.hdf5 import checksum
from tests.datasets.samples import continuous_arrays, continuous_card, discrete_arrays, particle_world
from tests.robustness.damage import BYTES, misplaced, text
from tests.robustness.harness import Call, Generator, Target

TYPES = ("f2", "f4", "f8", ">f4", "g", "i1", "i2", "i4", "i8", ">i8", "u1", "u2", "u8", "?", "c8", "S3", "V5")


@functools.cache
def sound(kind: int) -> bytes:
    """A small dataset of one of four kinds: continuous, discrete with a state, left-out columns, many episodes."""
    if kind == 0:
        arrays, offsets, card = *continuous_arrays([3, 5, 1]), continuous_card()
    elif kind == 1:
        arrays, offsets, card = discrete_arrays([4, 2, 6])
    elif kind == 2:
        arrays, offsets, card = *particle_world(3, 12), continuous_card()
    else:
        arrays, offsets, card = *continuous_arrays([1 + each % 7 for each in range(60)]), continuous_card()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.h5"
        write_dataset(path, arrays, offsets, card)
        return path.read_bytes()


def put_sound(rng: random.Random, folder: Path) -> Path:
    path = folder / "data" / "set.h5"
    path.parent.mkdir()
    path.write_bytes(sound(rng.randrange(4)))
    return path


def uses(rng: random.Random, path: Path, **limits: Any) -> list[Call]:
    """Checked, reported, mapped or cut, and trained on."""
    name = str(path)
    calls = [Call("dataset", ("verify", name), **limits), Call("dataset", ("inspect", name), report=True, **limits)]
    if rng.random() < 0.3:
        calls.append(mapped(path, **limits))
    if rng.random() < 0.3:
        words = ("slice", name, "--episodes", "1", "-o", str(path.with_name("part.h5")))
        calls.append(Call("dataset", words, writes=("data/part.h5",), **limits))
    results = str(path.parents[1] / "results")
    calls.append(Call("train", (name, results), writes=("results",), keeps=("results/",), if_accepted=True, **limits))
    return calls


def mapped(path: Path, **limits: Any) -> Call:
    """Read through a cache, in whose folder a lock stays."""
    cache = f"data/{path.name}.cache"
    return Call("map", (str(path),), writes=(cache,), keeps=(cache, f"{cache}/lock"), **limits)


def damaged(change: Callable[[random.Random, bytes], bytes]) -> Generator:
    def generate(rng: random.Random, folder: Path) -> list[Call]:
        path = put_sound(rng, folder)
        path.write_bytes(change(rng, path.read_bytes()))
        return uses(rng, path)

    return generate


def elsewhere(rng: random.Random, folder: Path) -> list[Call]:
    path = put_sound(rng, folder)
    return uses(rng, path, unprivileged=misplaced(rng, path))


def full_disk(rng: random.Random, folder: Path) -> list[Call]:
    """Room for a part of what is written: a cache, another dataset."""
    path = put_sound(rng, folder)
    room = rng.choice((0, 1, 512, 2048, 4096, rng.randrange(20_000)))
    words = ("merge", str(path), str(path), "-o", str(path.with_name("both.h5")))
    return [mapped(path, largest_file=room), Call("dataset", words, writes=("data/both.h5",), largest_file=room)]


# -- arrays ------------------------------------------------------------------------------------------------------------


def structure(rng: random.Random, folder: Path) -> list[Call]:
    """One or two edits of what the file holds, half of them with a checksum that fits."""
    path = put_sound(rng, folder)
    with h5py.File(path, "r+") as file:
        for _ in range(rng.choice((1, 1, 2))):
            names = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
            if names:
                rng.choice(EDITS)(rng, file, rng.choice(names))
        if rng.random() < 0.6:
            stamp(file)
    return uses(rng, path)


def stamp(file: h5py.File, card: dict[str, Any] | None = None) -> None:
    """Write the card with a checksum that fits, where one can be computed at all."""
    try:
        card = json.loads(file.attrs["card"]) if card is None else card
        stored = {name: file[name] for name in file}
        if all(isinstance(entry, h5py.Dataset) and entry.size < 10**6 for entry in stored.values()):
            file.attrs["card"] = json.dumps(card | {"checksum": checksum(stored, card)}, allow_nan=True)
    except (KeyError, TypeError, ValueError, OSError, RuntimeError, AttributeError, IndexError):
        pass  # there is nothing to stamp: the file stays as the edits left it


def replace(file: h5py.File, name: str, **arguments: Any) -> None:
    if name in file or file.get(name, getlink=True) is not None:
        del file[name]
    file.create_dataset(name, **arguments)


def plain_entry(file: h5py.File, name: str) -> np.ndarray | None:
    entry = file[name]
    return entry[()] if isinstance(entry, h5py.Dataset) and entry.shape and entry.size < 10**6 else None


def other_type(rng: random.Random, file: h5py.File, name: str) -> None:
    array = plain_entry(file, name)
    if array is None or array.dtype.kind not in "fiu":
        return
    dtype = rng.choice(TYPES)
    with np.errstate(all="ignore"):
        cast = array.astype("S3" if dtype == "S3" else dtype) if dtype != "V5" else np.zeros(array.shape, "V5")
    replace(file, name, data=cast)


def odd_type(rng: random.Random, file: h5py.File, name: str) -> None:
    """Types that only HDF5 has: texts of any length, references, records, enumerations, lists of any length."""
    shape = file[name].shape if isinstance(file[name], h5py.Dataset) and file[name].size else (2,)
    kinds = (h5py.string_dtype(), h5py.ref_dtype, h5py.regionref_dtype, np.dtype([("a", "f4"), ("b", "i8")]),
             h5py.enum_dtype({"A": 0, "B": 1}, "i8"), h5py.vlen_dtype(np.dtype("f4")),
             np.dtype(("f4", (2,))), np.dtype([("x", "f4", (3,))]))  # fmt: skip
    replace(file, name, shape=shape or (2,), dtype=rng.choice(kinds))


def other_shape(rng: random.Random, file: h5py.File, name: str) -> None:
    array = plain_entry(file, name)
    if array is None:
        return
    axis = rng.randrange(array.ndim)
    shapes: list[Callable[[], np.ndarray]] = [
        lambda: array[..., None], lambda: array[None], lambda: array.reshape(-1), lambda: array.T,
        lambda: array.take(range(array.shape[axis] - 1), axis), lambda: array[:0], lambda: array[array.ndim * (0,)],
        lambda: np.repeat(array, 2, axis), lambda: np.concatenate([array, array.take([-1], axis)], axis),
        lambda: array.reshape(array.shape + (1,) * 20),
    ]  # fmt: skip
    replace(file, name, data=rng.choice(shapes)())


def other_values(rng: random.Random, file: h5py.File, name: str) -> None:
    array = plain_entry(file, name)
    if array is None or not array.size or array.dtype.kind not in "fiu":
        return
    odd = rng.choice((np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-30, 0, -1, 1, 2, 255, 2**62, -(2**62), rng.random()))
    flat = array.reshape(-1).copy()
    with np.errstate(all="ignore"):
        made = np.asarray([odd], np.float64).astype(array.dtype)[0]
    some = slice(None) if rng.random() < 0.2 else rng.randrange(flat.size)
    flat[some] = made
    replace(file, name, data=flat.reshape(array.shape))


def lie(rng: random.Random, file: h5py.File, name: str) -> None:
    """Declare far more than is stored: chunks that nobody wrote take no room."""
    entry = file[name]
    shape = list(entry.shape or (2,)) if isinstance(entry, h5py.Dataset) else [2]
    shape[rng.randrange(len(shape))] = rng.choice((10**6, 10**8, 2**31, 2**40, 2**62 // 64))
    dtype = entry.dtype if isinstance(entry, h5py.Dataset) and entry.dtype.kind in "fiu" else "f4"
    chunks = tuple(min(max(size, 1), 8) for size in shape)
    options: dict[str, Any] = {"compression": "gzip"} if rng.random() < 0.5 else {}
    if rng.random() < 0.3:
        options["fillvalue"] = 1
    replace(file, name, shape=tuple(max(size, 1) for size in shape), dtype=dtype, chunks=chunks, **options)


def links(rng: random.Random, file: h5py.File, name: str) -> None:
    """Names that lead elsewhere: inside the file, in circles, to other files."""
    kind = rng.randrange(7)
    if kind == 0:
        file.move(name, "aside")
        file[name] = h5py.SoftLink("/aside")
    elif kind == 1:
        del file[name]
        file[name] = h5py.SoftLink(rng.choice(("/nowhere", f"/{name}", ".", "/")))
    elif kind == 2:
        del file[name]
        file[name] = h5py.ExternalLink(rng.choice(("other.h5", "/etc/passwd", "set.h5", "/dev/zero")), f"/{name}")
    elif kind == 3:
        file["again"] = file[name]
    elif kind == 4 and isinstance(file[name], h5py.Dataset):
        shape = file[name].shape or (2,)
        layout = h5py.VirtualLayout(shape, "f4")
        layout[...] = h5py.VirtualSource(rng.choice((".", "other.h5")), "aside", shape)
        file.move(name, "aside")
        file.create_virtual_dataset(name, layout)
    elif kind == 5:
        shape = tuple(size for size in (file[name].shape or (2,)) if size) or (2,)
        size = int(np.prod(shape)) * 4
        external = [(rng.choice(("/etc/passwd", "raw.bin", "/dev/zero")), 0, size)]
        replace(file, name, shape=shape, dtype="f4", external=external)
    else:
        file.create_group("loop")["back"] = file["/"]


def others(rng: random.Random, file: h5py.File, name: str) -> None:
    """Missing, renamed, additional and misnamed entries."""
    kind = rng.randrange(6)
    if kind == 0:
        del file[name]
    elif kind == 1:
        file.move(name, rng.choice(("obs ", "Obs", "a" * 3000, "äß", "a\x1b[31m", "obs_columns", "state")))
    elif kind == 2:
        replace(file, rng.choice(("extra", "avail_actions", "state", "obs\x1b[2J", "a\nb")), data=np.zeros(3, "f4"))
    elif kind == 3:
        del file[name]
        file.create_group(name)
    elif kind == 4:
        del file[name]
        file[name] = np.dtype("f4")  # a named type
    else:
        replace(file, name, data=h5py.Empty("f4"))


def attributes(rng: random.Random, file: h5py.File, name: str) -> None:
    key = rng.choice(("format", "format_version", "card", "card"))
    values = (1, 1.0, -1, 10**18, True, b"\xff\xfe", "", "epymarl-offline", "{}", "[]", "null", "x" * 100_000,
              np.array([1]), np.array(["a", "b"], h5py.string_dtype()), np.zeros((2, 2)), h5py.Empty("f4"),
              np.zeros(1, [("a", "f4")]), file.ref, np.bytes_(b"card"), text(rng).replace("\0", ""))  # fmt: skip
    kind = rng.randrange(4)
    if kind == 0:
        del file.attrs[key]
    elif kind == 1:
        file.attrs[text(rng).replace("\0", "") or "empty"] = rng.choice(values)
    else:
        file.attrs[key] = rng.choice(values)


EDITS = (other_type, other_type, odd_type, other_shape, other_shape, other_values, other_values, lie, lie, links,
         others, attributes)  # fmt: skip


def named_oddly(rng: random.Random, folder: Path) -> list[Call]:
    """Names that lead nowhere, or that no file can have."""
    name = rng.choice((text(rng), f"{text(rng)}.h5", "a" * 5000 + ".h5", "~nosuchuser/x.h5", "", ".", "/"))
    name = name.replace("\0", "")  # no command line can hold one
    os.makedirs(folder / "data")
    verb = rng.choice(("verify", "inspect"))
    if name.startswith("-"):
        name = f"./{name}"
    return [Call("dataset", (verb, name), report=True)]


FILES = Target(
    "dataset file",
    {**{name: damaged(change) for name, change in BYTES.items()}, "places": elsewhere, "arrays": structure,
     "full disk": full_disk, "names": named_oddly},
)  # fmt: skip
