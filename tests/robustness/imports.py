"""Inputs for the importers of foreign datasets: the npz layout, PyMARL's h5, Minari's folders and OMAR's npy files."""

from __future__ import annotations

import functools
import io
import json
import random
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from datasets.dataset import read_dataset, write_dataset
from datasets.exporters import export_dataset
from tests.datasets.samples import continuous_arrays, continuous_card
from tests.robustness.damage import BYTES, PickledCanary, edited
from tests.robustness.harness import Call, Generator, Target

STEPS = 5
LAYOUTS = {"numpy": (), "pymarl": (), "minari": (), "omar": ("--length", str(STEPS))}  # and options of their import
ODD = (np.nan, np.inf, -1, 2, 9, 1e30, 2.0**62, 0.5)
TYPES = ("f2", "f8", ">f4", "i1", ">i8", "u8", "?", "c8", "S3", "V4")
SIZES = (0, 1, 10**6, 10**9, 2**40, 2**62, -1)


@functools.cache
def sound(layout: str) -> dict[str, bytes]:
    """The files of a sound set, by their paths below the folder that holds it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if layout == "numpy":
            np.savez(folder / "set.npz", **npz_arrays())
            return {"set.npz": (folder / "set.npz").read_bytes()}
        arrays, offsets = continuous_arrays([STEPS] * 4, n_agents=2, obs_size=6)
        arrays["actions"] = np.repeat(arrays["actions"], 2, axis=2)[..., :3].copy()
        arrays["state"] = np.random.default_rng(0).normal(size=(len(arrays["obs"]), 17)).astype(np.float32)
        card = continuous_card() | {"action_low": [-1.0] * 3, "action_high": [1.0] * 3}
        card["environment"] = {"env": "mamujoco", "env_args": {"key": "HalfCheetah-2x3"}}
        write_dataset(folder / "set.h5", arrays, offsets, card, last_action_known=True)
        out = folder / ("set.hdf5" if layout == "pymarl" else "set-v0")
        export_dataset(layout, read_dataset(folder / "set.h5"), out)
        files = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def npz_arrays() -> dict[str, np.ndarray]:
    """Episodes of two agents of unequal sizes in the npz layout."""
    rng, lengths = np.random.default_rng(0), np.array([3, 5, 2])
    rows, steps = int((lengths + 1).sum()), int(lengths.sum())
    return {
        "lengths": lengths,
        "terminated": np.array([True, False, True]),
        "obs_0": rng.normal(size=(rows, 4)).astype(np.float32),
        "obs_1": rng.normal(size=(rows, 3)).astype(np.float32),
        "actions_0": rng.integers(3, size=(steps, 1)),
        "actions_1": rng.integers(2, size=(steps, 1)),
        "reward": rng.normal(size=steps).astype(np.float32),
        "n_actions": np.array([3, 2]),
    }


def put(layout: str, folder: Path) -> list[Path]:
    """Write a sound set's files under `folder`; return them."""
    paths = []
    for name, data in sound(layout).items():
        path = folder / layout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        paths.append(path)
    return paths


def imported(layout: str, folder: Path) -> list[Call]:
    first = folder / layout / Path(next(iter(sound(layout)))).parts[0]
    out = folder / f"{layout}.h5"
    words = ("import", layout, str(first), "-o", str(out), *LAYOUTS[layout])
    return [
        Call("dataset", words, writes=(out.name,)),
        Call("dataset", ("verify", str(out)), if_accepted=True),
    ]


def some_layout(change: Callable[[random.Random, str, Path], None]) -> Generator:
    """Inputs of any of the layouts, with one of their files changed."""

    def generate(rng: random.Random, folder: Path) -> list[Call]:
        layout = rng.choice(sorted(LAYOUTS))
        change(rng, layout, rng.choice(put(layout, folder)))
        return imported(layout, folder)

    return generate


def of_layout(layout: str, change: Callable[[random.Random, Path], None]) -> Generator:
    def generate(rng: random.Random, folder: Path) -> list[Call]:
        change(rng, rng.choice(put(layout, folder)))
        return imported(layout, folder)

    return generate


def bytes_changed(change: Callable[[random.Random, bytes], bytes]) -> Generator:
    return some_layout(lambda rng, layout, path: put_bytes(path, change(rng, path.read_bytes())))


def put_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def other_array(rng: random.Random, array: np.ndarray) -> np.ndarray:
    """An array of another type or shape, or with another value."""
    changed = array.copy()
    with np.errstate(all="ignore"):
        if array.size and array.dtype.kind in "biuf":
            changed.flat[rng.randrange(array.size)] = np.asarray(rng.choice(ODD)).astype(array.dtype)
        ways: list[Callable[[], np.ndarray]] = [
            lambda: changed, lambda: array[:0], lambda: array[..., None], lambda: array.reshape(-1), lambda: array[:-1],
            lambda: np.repeat(array, 2, 0), lambda: np.zeros(array.shape, rng.choice(TYPES)),
        ]  # fmt: skip
        return rng.choice(ways)()


def npz_values(rng: random.Random, path: Path) -> None:
    arrays = npz_arrays()
    key = rng.choice(sorted(arrays))
    if rng.random() < 0.2:
        del arrays[key]
    else:
        arrays[key] = other_array(rng, arrays[key])
    np.savez(path, **arrays)


def npz_sizes(rng: random.Random, path: Path) -> None:
    """An archive with a member whose header lies, that is a pickle, or that unpacks to much."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    lies = (lambda: lying_header(rng, members[name]), lambda: PickledCanary, lambda: members[name] + bytes(10**8))
    members[name] = rng.choice(lies)()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)


def lying_header(rng: random.Random, data: bytes) -> bytes:
    """A file of NumPy's format whose header states another shape or type."""
    array = np.load(io.BytesIO(data))
    shape = [*array.shape] or [1]
    shape[rng.randrange(len(shape))] = rng.choice(SIZES)
    fields = {"descr": rng.choice((array.dtype.str, "|O", "<f9")), "fortran_order": rng.random() < 0.3}
    head = repr(fields | {"shape": tuple(shape)}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + array.tobytes()


def omar_values(rng: random.Random, path: Path) -> None:
    if rng.random() < 0.1:
        path.unlink()
    else:
        np.save(path, other_array(rng, np.load(path)))


def hdf5_values(rng: random.Random, path: Path) -> None:
    """Arrays of an HDF5 file that are missing, links, or of other values, types and shapes; JSON of other values."""
    if path.suffix == ".json":
        document = json.loads(path.read_text())
        edited(rng, document)
        path.write_text(json.dumps(document))
        return
    with h5py.File(path, "r+") as file:
        name = rng.choice(arrays_of(file))
        array = file[name][()]
        del file[name]
        way = rng.random()
        if way < 0.1:
            file[name] = h5py.ExternalLink("/etc/hostname", "/x")
        elif way < 0.9:
            file[name] = other_array(rng, np.atleast_1d(array))


def hdf5_sizes(rng: random.Random, path: Path) -> None:
    """Arrays that declare far more than the file holds, and attributes that count wrong."""
    if path.suffix == ".json":
        hdf5_values(rng, path)
        return
    with h5py.File(path, "r+") as file:
        name = rng.choice(arrays_of(file))
        if rng.random() < 0.5:
            array = file[name]
            shape, dtype = [*array.shape] or [1], array.dtype
            shape[rng.randrange(len(shape))] = rng.choice((10**6, 10**9, 2**40))
            del file[name]
            file.create_dataset(name, shape, dtype, chunks=(1,) * len(shape))
            return
        there: list[Any] = [file[name], file[name].parent, file]
        owner = rng.choice([each for each in there if len(each.attrs)] or [file])
        key = rng.choice(sorted(owner.attrs) or ["total_episodes"])
        owner.attrs[key] = rng.choice((0, 10**9, 2**62, -1, "x", 1.5, np.zeros(3)))


def arrays_of(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, entry: found.append(name) if isinstance(entry, h5py.Dataset) else None)
    return sorted(found)


IMPORTS = Target(
    "import",
    {
        **{name: bytes_changed(BYTES[name]) for name in ("truncation", "bit flips", "overwritten")},
        "npz values": of_layout("numpy", npz_values),
        "npz sizes": of_layout("numpy", npz_sizes),
        "omar values": of_layout("omar", omar_values),
        "omar sizes": of_layout("omar", lambda rng, path: put_bytes(path, lying_header(rng, path.read_bytes()))),
        **{f"{layout} values": of_layout(layout, hdf5_values) for layout in ("pymarl", "minari")},
        **{f"{layout} sizes": of_layout(layout, hdf5_sizes) for layout in ("pymarl", "minari")},
    },
)


def sound_imports(rng: random.Random, folder: Path) -> list[Call]:
    for layout in LAYOUTS:
        put(layout, folder)
    return [call for layout in LAYOUTS for call in imported(layout, folder)]
