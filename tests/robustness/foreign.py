"""Inputs for the readers of what others made: AlberDICE's folders of `.npy` files, and records in stock checkouts."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import json
import random
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from envs.bridge import BridgeEnv
from envs.matrix_game import MatrixGameEnv
from stock import plug, plug_into
from tests.compat.ours_in_stock.stand_in import build
from tests.datasets.games import BRIDGE_OPTIMUM, write_buffer
from tests.robustness.damage import BYTES, PickledCanary, edited, misplaced, text
from tests.robustness.harness import Call, Generator, Target

# -- AlberDICE's buffers -----------------------------------------------------------------------------------------------


@functools.cache
def buffers() -> list[dict[str, bytes]]:
    """The files of an XOR buffer and of one of Bridge."""
    xor = MatrixGameEnv(episode_limit=5, reward_scalarisation="mean")
    bridge = BridgeEnv(episode_limit=10, start_adjacent=True, reward_scalarisation="mean")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, env, episodes in (
            ("xor", xor, [[(0, 1)] * 5, [(1, 1), (0, 0)]]),
            ("bridge", bridge, [BRIDGE_OPTIMUM, [(3, 4)] * 10]),
        ):
            written = write_buffer(Path(folder) / name, env, episodes)
            found.append({path.name: path.read_bytes() for path in sorted(written.glob("*.npy"))})
    return found


def put_buffer(rng: random.Random, folder: Path) -> Path:
    """The folder of a sound buffer; returns one of its files."""
    place = folder / "published" / "buffer"
    place.mkdir(parents=True)
    files = rng.choice(buffers())
    for name, data in files.items():
        (place / name).write_bytes(data)
    return place / rng.choice(sorted(files))


def imported(path: Path, **limits: Any) -> list[Call]:
    out = path.parents[2] / "imported.h5"
    words = ("import-alberdice", str(path.parent), "-o", str(out))
    return [
        Call("dataset", words, writes=("imported.h5",), **limits),
        Call("dataset", ("verify", str(out)), if_accepted=True),
    ]


def damaged_buffer(change: Callable[[random.Random, bytes], bytes]) -> Generator:
    def generate(rng: random.Random, folder: Path) -> list[Call]:
        path = put_buffer(rng, folder)
        path.write_bytes(change(rng, path.read_bytes()))
        return imported(path)

    return generate


def buffer_elsewhere(rng: random.Random, folder: Path) -> list[Call]:
    path = put_buffer(rng, folder)
    if rng.random() < 0.2:
        unprivileged = misplaced(rng, path.parent)
        return imported(path, unprivileged=unprivileged)
    return imported(path, unprivileged=misplaced(rng, path))


def buffer_full_disk(rng: random.Random, folder: Path) -> list[Call]:
    return imported(put_buffer(rng, folder), largest_file=rng.choice((0, 1, 1000, 4096, rng.randrange(20_000))))


def buffer_arrays(rng: random.Random, folder: Path) -> list[Call]:
    """Arrays of other types, shapes and values."""
    path = put_buffer(rng, folder)
    array = np.load(path)
    axis = rng.randrange(array.ndim)
    odd = rng.choice((np.nan, np.inf, -1, 0, 1, 2, 9, 1e30, 2**62, 0.5))
    dtypes = ("f2", "f8", ">f4", "i1", "i8", ">i8", "u8", "?", "c8", "S3", "U4", "M8[s]", "V4", [("a", "f4")])
    edits: list[Callable[[], np.ndarray]] = [
        lambda: array.astype(rng.choice(dtypes[:9])), lambda: np.zeros(array.shape, rng.choice(dtypes[9:])),
        lambda: array[..., None], lambda: array.reshape(-1), lambda: array[:0], lambda: np.asarray(array.flat[0]),
        lambda: np.repeat(array, 2, axis), lambda: array.take(range(array.shape[axis] - 1), axis),
        lambda: array.T, lambda: np.full_like(array, odd), lambda: put(array, rng.randrange(array.size), odd),
        lambda: put(array, rng.randrange(array.size), odd), lambda: array.reshape(array.shape + (1,) * 20),
    ]  # fmt: skip
    with np.errstate(all="ignore"):
        np.save(path, rng.choice(edits)())
    return imported(path)


def put(array: np.ndarray, index: int, odd: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[index] = np.asarray(odd, np.float64).astype(array.dtype)
    return changed


def buffer_headers(rng: random.Random, folder: Path) -> list[Call]:
    """Headers that lie about type, shape and length, or hold something else than a header."""
    path = put_buffer(rng, folder)
    array = np.load(path)
    shape = list(array.shape)
    shape[rng.randrange(len(shape))] = rng.choice((10**9, 2**40, 2**62, -1, 0, True, 1.5, None, 10**30))
    headers = (
        {"descr": array.dtype.str, "fortran_order": False, "shape": tuple(shape)},
        {"descr": array.dtype.str, "fortran_order": False, "shape": (10**12,)},
        {"descr": "|O", "fortran_order": False, "shape": array.shape},
        {"descr": rng.choice(("<f8", "<f9", "|S1000000000", "", None, 7, [("a", "<f4")], "O", "<M8[ns]")),
         "fortran_order": False, "shape": array.shape},
        {"descr": array.dtype.str, "fortran_order": rng.choice((True, 1, "x")), "shape": array.shape},
        {"descr": array.dtype.str, "shape": array.shape}, [], "x", {"a": 1},
    )  # fmt: skip
    head = rng.choice((repr(rng.choice(headers)), "(" * 3000, "__import__('os').system('touch canary')", text(rng)))
    encoded = head.encode("utf-8", "replace") + b"\n"
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"))
    length = len(encoded) if rng.random() < 0.8 else rng.choice((0, 1, 2**16 - 1))
    size = struct.pack("<H", length % 2**16) if version[0] == 1 else struct.pack("<I", length)
    body = array.tobytes() if rng.random() < 0.8 else PickledCanary
    path.write_bytes(b"\x93NUMPY" + version + size + encoded + body)
    return imported(path)


def buffer_objects(rng: random.Random, folder: Path) -> list[Call]:
    """Arrays of objects, which would have to be unpickled, and archives of arrays."""
    path = put_buffer(rng, folder)
    array, stream = np.load(path), io.BytesIO()
    kind = rng.randrange(3)
    if kind == 0:
        np.save(path, array.astype(object), allow_pickle=True)
    elif kind == 1:
        np.savez_compressed(stream, array)
        path.write_bytes(stream.getvalue())
    else:
        path.write_bytes(PickledCanary)
    return imported(path)


BUFFERS = Target(
    "foreign buffer",
    {**{name: damaged_buffer(change) for name, change in BYTES.items()}, "places": buffer_elsewhere,
     "full disk": buffer_full_disk, "arrays": buffer_arrays, "headers": buffer_headers, "objects": buffer_objects},
)  # fmt: skip


# -- records in a checkout ---------------------------------------------------------------------------------------------


@functools.cache
def checkout() -> Path:
    """A checkout that is plugged into, and a victim beside it."""
    folder = Path(tempfile.mkdtemp(prefix="robustness-base-"))
    atexit.register(shutil.rmtree, folder)
    run_script(build("stand_in", folder))
    (folder / "victim").mkdir()
    (folder / "victim" / "file.py").write_text("mine = 1\n")
    return folder


def run_script(root: Path, *flags: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        assert plug_into.main([str(root), *flags]) == 0


def put_checkout(folder: Path) -> Path:
    """A copy of both; returns the record."""
    shutil.copytree(checkout(), folder, dirs_exist_ok=True)
    return folder / "stand_in" / "src" / plug.RECORD


def taken_out(rng: random.Random, folder: Path, **limits: Any) -> list[Call]:
    """Plugged in again, taken out, or both; sometimes by force."""
    root = str(folder / "stand_in")
    force = ("--force",) if rng.random() < 0.3 else ()
    ways = (((),), (("--remove",),), ((), ("--remove",)))
    return [Call("plug", (root, *way, *force), writes=("stand_in",), **limits) for way in rng.choice(ways)]


def damaged_record(change: Callable[[random.Random, bytes], bytes]) -> Generator:
    def generate(rng: random.Random, folder: Path) -> list[Call]:
        path = put_checkout(folder)
        path.write_bytes(change(rng, path.read_bytes()))
        return taken_out(rng, folder)

    return generate


def record_values(rng: random.Random, folder: Path) -> list[Call]:
    """Records with other values, and with names that lead elsewhere."""
    path = put_checkout(folder)
    record = json.loads(path.read_text())
    if rng.random() < 0.5:
        edited(rng, record)
    else:
        name = rng.choice(("../../victim/file.py", str(folder / "victim" / "file.py"), "learners/q_learner.py",
                           "learners/../../../victim/file.py", "main.py", "./run.py", text(rng)))  # fmt: skip
        known = plug.digest((folder / "victim" / "file.py").read_bytes())
        block = rng.choice(sorted(record["blocks"].values()))
        rng.choice((
            lambda: record["files"].update({name: known}), lambda: record["blocks"].update({name: block}),
            lambda: record["folders"].append(rng.choice((name, "../../victim"))),
            lambda: record.update(earlier={"files": {name: [known]}, "blocks": {name: [block]}}),
        ))()  # fmt: skip
    path.write_text(json.dumps(record))
    return taken_out(rng, folder)


def checkout_places(rng: random.Random, folder: Path) -> list[Call]:
    """Links, pipes, folders and closed doors at the record, a copied file, a registry or a folder of them."""
    path = put_checkout(folder)
    record = json.loads(path.read_text())
    source = path.parent
    names = (plug.RECORD, rng.choice(sorted(record["files"])), rng.choice(sorted(record["blocks"])))
    place = source / rng.choice((*names, str(Path(names[1]).parent), str(Path(names[2]).parent)))
    return taken_out(rng, folder, unprivileged=misplaced(rng, place))


def checkout_full_disk(rng: random.Random, folder: Path) -> list[Call]:
    """Room for small files only: nothing, or everything, is changed."""
    path = put_checkout(folder)
    if rng.random() < 0.7:
        run_script(path.parents[1], "--remove")
    return taken_out(rng, folder, largest_file=rng.choice((0, 1, 500, 3000, rng.randrange(20_000))))


RECORDS = Target(
    "foreign record",
    {**{name: damaged_record(change) for name, change in BYTES.items()}, "values": record_values,
     "places": checkout_places, "full disk": checkout_full_disk},
)  # fmt: skip
