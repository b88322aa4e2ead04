"""Headers of npy files that lie about what follows them."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from dataset import main
from datasets.importers.npy import NpyFile
from utils.errors import DatasetError

HEADER = "{'descr': %r, 'fortran_order': %s, 'shape': %s, }"


def npy(text: str, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """A file with this header, whatever it says."""
    header = text.encode("latin1")
    size = len(header).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + header + content


@pytest.mark.parametrize("kind", ["<f4", ">f4", "f2", "i8", "u1", "?"])
def test_what_numpy_saves_is_read_as_numpy_reads_it(kind: str, tmp_path: Path) -> None:
    for shape in ((2, 3, 4), (5,), (0, 4)):
        array = np.asarray(np.arange(np.prod(shape)).reshape(shape), kind)
        np.save(tmp_path / "a.npy", array)
        found = NpyFile(tmp_path / "a.npy")
        assert np.array_equal(found[:], array) and found.dtype == array.dtype and np.array_equal(found[1:], array[1:])
    with open(tmp_path / "b.npy", "wb") as file:
        np.lib.format.write_array(file, array, version=(2, 0))
    assert NpyFile(tmp_path / "b.npy").shape == (0, 4)


@pytest.mark.parametrize("array", [np.zeros(()), np.asfortranarray(np.zeros((2, 3)))])
def test_arrays_whose_rows_do_not_follow_one_another_are_refused(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DatasetError, match="a.npy has shape .* its rows must lie one after another"):
        NpyFile(tmp_path / "a.npy")


LIES = {
    "huge": npy(HEADER % ("<f4", False, (1 << 40, 1 << 40)), b"1234"),
    "huge in Fortran order": npy(HEADER % ("<f4", True, (1 << 45,)), b"1234"),
    "a little more than there is": npy(HEADER % ("<f8", False, (3,)), bytes(23)),
    "a little less than there is": npy(HEADER % ("<f8", False, (3,)), bytes(25)),
    "a truth value as size": npy(HEADER % ("<f4", False, (True, 2)), bytes(8)),
    "nothing of many": npy(HEADER % ("<f4", False, (0, 1 << 40, 1 << 40))),
    "negative": npy(HEADER % ("<f4", False, (-1,)), b"1234"),
    "objects": npy(HEADER % ("|O", False, (1,)), pickle.dumps([print])),
    "records": npy(HEADER % ([("a", "<f4")], False, (1,)), b"1234"),
    "text": npy(HEADER % ("<U4", False, (1,)), bytes(16)),
    "complex": npy(HEADER % ("<c8", False, (1,)), bytes(8)),
    "no type": npy(HEADER % ("what", False, (1,)), bytes(8)),
    "no mapping": npy("[1, 2]"),
    "nested": npy("(" * 5000 + ")" * 5000),
    "no Python": npy("{'descr': "),
    "too long": npy("{" + " " * 60_000 + "}"),
    "of a later format": npy("x" * 10, version=b"\x03\x00"),
    "cut": b"\x93NUMPY\x01\x00\xff\xff{",
    "empty": b"",
    "zip": b"PK\x03\x04" + bytes(100),
    "a pickle": pickle.dumps(np.zeros(3)),
}


@pytest.mark.parametrize("name", LIES)
def test_headers_that_lie_are_refused_without_taking_memory(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "obs.npy").write_bytes(LIES[name])
    tracemalloc.start()
    with pytest.raises(DatasetError, match="obs.npy is no array of numbers"):
        NpyFile(tmp_path / "obs.npy")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert main(["import-alberdice", str(tmp_path), "-o", str(tmp_path / "x.h5")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "obs.npy is no array of numbers" in error


def test_a_named_pipe_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "obs.npy")
    assert main(["import-alberdice", str(tmp_path), "-o", str(tmp_path / "x.h5")]) == 1
    assert "obs.npy does not exist" in capsys.readouterr().err
