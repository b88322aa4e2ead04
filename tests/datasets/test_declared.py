"""What a file declares is checked before anything is read: names, types, and sizes that the file cannot hold."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dataset import main
from datasets.dataset import read_dataset, write_dataset
from datasets.report import inspect_file
from tests.datasets.samples import continuous_arrays, continuous_card, forge, particle_world
from utils.errors import DatasetError

READERS = {"verify": read_dataset, "inspect": inspect_file}
HUGE = 1 << 40
ARRAYS = {"obs": ((3, 4), "f4"), "reward": ((3,), "f4"), "terminated": ((), "u1"), "episode_offsets": ((), "i8")}


def replace(path: Path, name: str, **how: Any) -> None:
    """An array in the place of another, past the writer; the checksum does not fit, which must not be looked at."""
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(name, **how)


def refused_at_once(path: Path, message: str) -> None:
    for read in READERS.values():
        started = time.monotonic()
        with pytest.raises(DatasetError, match=message):
            read(path)
        assert time.monotonic() - started < 1


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("how", [{"chunks": True}, {"chunks": True, "compression": "gzip"}, {}])
def test_rows_that_are_not_in_the_file_are_never_read(name: str, how: dict[str, Any], written: Any) -> None:
    path, *_ = written
    shape, kind = ARRAYS[name]
    replace(path, name, shape=(HUGE, *shape), dtype=kind, **how)
    refused_at_once(path, f"{name} in .* declares shape .* and the file holds 0 bytes of it")


def test_a_small_file_cannot_fill_the_memory(written: Any) -> None:
    path, *_ = written
    zeros = np.zeros((1 << 22, 3), np.float32)
    with h5py.File(path, "r+") as file:
        del file["reward"]
        array = file.create_dataset("reward", (1 << 25, 3), "f4", chunks=(1 << 22, 3), compression="gzip")
        array[: 1 << 22] = zeros
        filters, stored = array.id.read_direct_chunk((0, 0))
        for start in range(1 << 22, 1 << 25, 1 << 22):  # the same compressed zeros again, without compressing
            array.id.write_direct_chunk((start, 0), stored, filters)
    assert path.stat().st_size < 1e6
    refused_at_once(path, "declares arrays of 4.. MB and holds .* over 100 times")


def test_a_chunk_counts_whole_however_little_of_it_is_used(written: Any) -> None:
    path, *_ = written
    with h5py.File(path, "r+") as file:
        del file["reward"]
        array = file.create_dataset("reward", (12, 3), "f4", maxshape=(None, 3), chunks=(1 << 25, 3), compression=1)
        array.id.write_direct_chunk((0, 0), b"not compressed at all")
    refused_at_once(path, "declares arrays of 403 MB")


def test_what_readers_refuse_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.declared._FREE_SIZE", 1 << 20)
    arrays, offsets = continuous_arrays([1 << 14], n_agents=1, obs_size=20)
    constant = {key: np.zeros_like(array) for key, array in arrays.items()}
    with pytest.raises(DatasetError, match="write fewer episodes or with compression=0"):
        write_dataset(tmp_path / "d.h5", constant, offsets, continuous_card(), compress_columns=False, compression=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name, kind",
    [("obs", ">f4"), ("obs", "f2"), ("reward", "f8"), ("reward", "c8"), ("actions", "i4"), ("terminated", "bool"),
     ("terminated", h5py.enum_dtype({"a": 0, "b": 1}, "u1")), ("obs", np.dtype([("a", "f4")])), ("reward", "S4"),
     ("episode_offsets", "u8"), ("last_action_known", "i8"), ("reward", h5py.vlen_dtype(np.float32)),
     ("reward", h5py.ref_dtype), ("reward", np.dtype(("f4", (3,))))],
)  # fmt: skip
def test_types_of_other_kinds_are_refused(name: str, kind: Any, written: Any) -> None:
    path, *_ = written
    replace(path, name, shape=(12,), dtype=kind)
    refused_at_once(path, f"'?{name}'? in .* (is of type|is not a plain array of numbers)")


@pytest.mark.parametrize("value", [np.array(["epymarl-offline"] * 2, "S20"), np.bytes_(b"\xff\xfe"), 1.5, 1 + 2j, None,
                                   h5py.Empty("f4"), np.void(b"abc"), np.zeros(0), "x" * 100_000])  # fmt: skip
@pytest.mark.parametrize("name", ["format", "format_version", "card"])
def test_attributes_of_other_kinds_are_refused(name: str, value: Any, written: Any) -> None:
    path, *_ = written
    with h5py.File(path, "r+") as file:
        if value is None:
            file.attrs[name] = file.ref
        else:
            file.attrs[name] = value
    refused_at_once(path, "not a dataset of this project|format version|not valid JSON")


def test_named_types_empty_arrays_and_other_names_are_refused(written: Any) -> None:
    path, *_ = written
    content = path.read_bytes()
    for change, message in (
        (lambda file: file.__setitem__("kind", np.dtype("f4")), "'kind' in .* is not a plain array"),
        (lambda file: file.create_dataset("state", (1 << 40, 0), "f4"), "state in .* declares shape"),
        (lambda file: file.create_dataset("x" * 5000, data=[1.0]), "'x{40}' is not an array of a dataset"),
        (lambda file: file.create_dataset(b"\xff\x1b[31m", data=[1.0]), "is not a plain array"),
    ):
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            change(file)
        refused_at_once(path, message)


def test_a_damaged_heap_of_texts_is_refused_before_hdf5_loops_in_it(
    written: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path, *_ = written
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    for size in (0, 8, (1 << 64) - 16, 1 << 40):  # of the heap's first object, and of its free space
        for index in (0, 1):
            damaged = bytearray(content)
            damaged[heap + 16 : heap + 18] = index.to_bytes(2, "little")
            damaged[heap + 24 : heap + 32] = size.to_bytes(8, "little")
            path.write_bytes(damaged)
            if index == 1 and size in (0, 8):
                continue  # an object that is too short leads on
            assert main(["verify", str(path)]) == 1
            assert "a text in it has no end" in capsys.readouterr().err
    for block in (heap + 2, heap + 5):  # wherever a block of reading ends
        path.write_bytes(content)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("datasets.heap._BLOCK", block)
            read_dataset(path)
            damaged = bytearray(content)
            damaged[heap + 16 : heap + 32] = bytes(16)
            path.write_bytes(damaged)
            with pytest.raises(DatasetError, match="a text in it has no end"):
                read_dataset(path)


def test_coded_columns_beyond_what_the_writer_makes_are_refused(tmp_path: Path) -> None:
    arrays, offsets = particle_world(20)
    path = tmp_path / "d.h5"
    write_dataset(path, arrays, offsets, continuous_card())
    with h5py.File(path) as file:
        coefficients = file["obs_coefficients"][()]
    forge(path, {}, {"obs_coefficients": np.repeat(coefficients, 12, axis=0)})
    refused_at_once(path, "the parts of 'obs' do not fit together")


def test_inspecting_needs_memory_for_the_arrays(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, *_ = written
    monkeypatch.setattr("utils.memory.free_memory", lambda swap=False: 100)
    assert main(["inspect", str(path)]) == 1


def test_memory_that_runs_out_while_reading_is_one_sentence(
    written: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, *_ = written

    def fail(*_: Any) -> None:
        raise MemoryError("Unable to allocate 7.28 TiB")

    monkeypatch.setattr("datasets.dataset.decode_rows", fail)
    assert main(["verify", str(path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "memory" in error and error.count("\n") == 1


@pytest.mark.parametrize("command", ["generate-xor AB,BA", "generate-bridge mix"])
@pytest.mark.parametrize("episodes", [10**9 * 2, 10**30])
def test_a_number_of_episodes_that_cannot_fit_is_refused_beforehand(
    command: str, episodes: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "--episodes", str(episodes), "-o", str(tmp_path / "x.h5")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: --episodes={episodes} needs at least ") and "are free" in error
    assert list(tmp_path.iterdir()) == []
