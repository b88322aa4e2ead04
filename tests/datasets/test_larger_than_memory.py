"""Sets that fit neither in memory nor in the address space: written, checked, inspected and sampled from disk."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch as th

from components.offline_buffer import EXTRAS, OfflineBuffer
from components.scheme import build_scheme
from datasets.dataset import OfflineDataset, read_dataset, write_dataset
from datasets.disk_array import DiskArray
from datasets.doctor.examine import as_json, quick_findings
from datasets.importers.source import Episode, Source
from datasets.report import inspection
from tests.datasets.samples import continuous_arrays, continuous_card, discrete_arrays, forge
from utils.errors import DatasetError
from utils.memory import MemoryShortage

ROOT = Path(__file__).resolve().parents[2]
LENGTHS = [3, 7, 1, 12, 5] * 4


@pytest.fixture
def no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of the process that leaves no room for a mapping, and blocks of few rows."""
    monkeypatch.setattr("datasets.memory_map.free_addresses", lambda: 1000)
    monkeypatch.setattr("datasets.hdf5.BLOCK_BYTES", 500)


def written(path: Path, kind: str) -> OfflineDataset:
    if kind == "discrete":
        arrays, offsets, card = discrete_arrays(LENGTHS)
        card["environment"] = continuous_card()["environment"]  # of which there are reference returns
    else:
        arrays, offsets = continuous_arrays(LENGTHS)
        arrays["actions"][::3] = 1.0
        available = np.ones_like(arrays["actions"], np.uint8)
        available[:, 0, 1], arrays["actions"][:, 0, 1] = 0, 0
        arrays["avail_actions"], card = available, continuous_card()
    write_dataset(path, arrays, offsets, card, last_action_known=True)
    return read_dataset(path)


@pytest.fixture
def numbers(tmp_path: Path) -> Iterator[tuple[DiskArray, np.ndarray, Path]]:
    """An array on disk behind a header of 10 bytes, the same in memory, and its file."""
    array = np.random.default_rng(0).normal(size=(50, 3, 2)).astype(np.float32)
    path = tmp_path / "array"
    path.write_bytes(bytes(10) + array.tobytes())
    yield DiskArray(path, os.open(path, os.O_RDONLY), 10, array.shape, array.dtype), array, path


@pytest.mark.parametrize(
    "key",
    [
        slice(None), slice(7, 20), slice(20, 7), slice(45, 99), slice(-3, None), slice(None, None, 4), 0, 49, -1,
        np.int64(3), np.array([5]), np.array([5, 6, 7, 7, 7, 2, 3, 9, 9]), np.zeros(0, np.int64), np.eye(50)[7] > 0,
        np.random.default_rng(1).integers(50, size=200), (slice(3, 9), 1), (slice(None), 0, 1), (4, 1, 0),
        (np.array([2, 2, 5]), slice(1, 3)),
    ],
)  # fmt: skip
def test_an_array_on_disk_is_read_as_one_in_memory(numbers: tuple[DiskArray, np.ndarray, Path], key: Any) -> None:
    there, array, _ = numbers
    found = there[key]
    assert np.array_equal(found, array[key]) and np.shape(found) == np.shape(array[key])
    assert (there.shape, there.ndim, there.size, there.nbytes, len(there)) == (
        array.shape, array.ndim, array.size, array.nbytes, len(array),
    )  # fmt: skip
    assert np.array_equal(np.asarray(there), array)


def test_rows_that_are_not_there_are_refused(numbers: tuple[DiskArray, np.ndarray, Path]) -> None:
    there, _, path = numbers
    for row in (-1, 50):
        with pytest.raises(IndexError):
            there.take(np.array([3, row]))
    os.truncate(path, 400)
    with pytest.raises(DatasetError, match="ended before its rows did"):
        there[:]


def test_neighbours_are_read_in_one_call(
    numbers: tuple[DiskArray, np.ndarray, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, array, _ = numbers
    calls: list[int] = []
    read = os.preadv
    monkeypatch.setattr("os.preadv", lambda *words: calls.append(words[2]) or read(*words))  # type: ignore[func-returns-value]
    index = np.array([4, 5, 6, 6, 6, 30, 31, 3])
    assert np.array_equal(there.take(index), array[index]) and calls == [10 + 24 * row for row in (4, 30, 3)]


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_a_set_without_room_for_a_mapping_is_read_by_rows(tmp_path: Path, kind: str, no_addresses: None) -> None:
    loaded = written(tmp_path / "d.h5", kind)
    for _ in range(2):  # made, then found
        there = read_dataset(tmp_path / "d.h5", memory_map=True)
        assert {key for key, array in there.arrays.items() if isinstance(array, DiskArray)} == (
            set(loaded.arrays) - {"reward", "terminated"}
        )
        assert all(np.array_equal(there.arrays[key][:], array) for key, array in loaded.arrays.items())


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
@pytest.mark.parametrize("window, burn_in", [(1, 0), (4, 0), (3, 2), (None, 0)])
def test_batches_from_disk_are_those_of_memory(
    tmp_path: Path, kind: str, window: int | None, burn_in: int, no_addresses: None
) -> None:
    loaded = written(tmp_path / "d.h5", kind)
    there = read_dataset(tmp_path / "d.h5", memory_map=True)
    extras = EXTRAS if kind == "discrete" else ("init_obs", "init_state")
    buffers = []
    for dataset in (loaded, there):
        scheme, groups, preprocess = build_scheme(dataset.env_info(), SimpleNamespace(common_reward=True))
        buffers.append(
            OfflineBuffer(
                dataset.arrays, dataset.episode_offsets, dataset.last_action_known, scheme, groups, preprocess,
                window=window, burn_in=burn_in, reward_scalarisation="mean", extras=extras, seed=0,
            )
        )  # fmt: skip
    for _ in range(3):
        expected, found = (buffer.sample(16) for buffer in buffers)
        for name in ("transition_data", "episode_data"):
            one, other = getattr(expected.data, name), getattr(found.data, name)
            assert one.keys() == other.keys()
            for key, value in one.items():
                assert th.equal(value, other[key]) and value.dtype == other[key].dtype, key
    assert buffers[0].to_go_statistics(0.9) == buffers[1].to_go_statistics(0.9)


@pytest.mark.parametrize("key, value, words", [("actions", None, "was not available"), ("obs", np.nan, "not finite")])
def test_a_fault_is_found_in_a_later_block(
    tmp_path: Path, key: str, value: float | None, words: str, no_addresses: None
) -> None:
    path, row = tmp_path / "d.h5", 60
    arrays = {name: array.copy() for name, array in written(path, "discrete").arrays.items()}
    if value is None:
        arrays["avail_actions"][row, 1, arrays["actions"][row, 1]] = 0
        forge(path, {}, {"avail_actions": arrays["avail_actions"]})
    else:
        arrays[key][row, 1, 0] = value
        forge(path, {}, {key: arrays[key]})
    for memory_map in (False, True):
        with pytest.raises(DatasetError, match=f"{key} .*{words}.* on row {row}"):
            read_dataset(path, memory_map=memory_map)


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_a_set_larger_than_memory_is_inspected_with_the_same_report(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.h5"
    written(path, kind)
    expected = inspection(path)
    findings = as_json(quick_findings(expected.dataset))
    monkeypatch.setattr("datasets.memory_map.free_addresses", lambda: 1000)
    monkeypatch.setattr("datasets.memory_map.free_memory", lambda: 1000)
    monkeypatch.setattr("datasets.hdf5.BLOCK_BYTES", 500)
    found = inspection(path)
    assert isinstance(found.dataset.arrays["obs"], DiskArray) and found.sound
    assert (found.head, found.tail, found.values()) == (expected.head, expected.tail, expected.values())
    assert as_json(quick_findings(found.dataset)) == findings


def test_an_altered_set_larger_than_memory_is_refused_by_inspect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.h5"
    card = written(path, "discrete").card
    forge(path, {"behaviour": "another"})
    monkeypatch.setattr("datasets.memory_map.free_memory", lambda: 1000)
    assert inspection(path).sound and card["behaviour"] == "unknown"
    with h5py.File(path, "r+") as file:
        file["reward"][0] += 1
    assert not inspection(path).checksum_matches  # it fits after all: read in memory
    monkeypatch.setattr("utils.memory.free_memory", lambda swap=False: 1000)
    with pytest.raises(MemoryShortage, match="inspecting .* needs at least .* and 1 KB are free"):
        inspection(path)


SPARE = 20_000_000  # bytes beyond what a process has taken with its libraries
N_AGENTS, OBS, STEPS = 4, 250, 50
N_EPISODES = 3 * SPARE // (4 * N_AGENTS * OBS * (STEPS + 1)) + 1
CHILD = """
import resource, sys
from pathlib import Path
from tests.datasets import test_larger_than_memory as this
import datasets.hdf5, datasets.memory_map, datasets.stream
for module in (datasets.hdf5, datasets.memory_map, datasets.stream):
    module.BLOCK_BYTES = 1 << 17
from datasets.dataset import read_dataset
from datasets.doctor.examine import quick_findings
from datasets.report import inspection
from datasets.stream import write_source
from utils.memory import free_addresses
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + this.SPARE, -1))
path = Path(sys.argv[1])
write_source(path, this.large_source(), compression=0)
assert path.stat().st_size > 3 * free_addresses()
found = inspection(path)
assert found.sound and quick_findings(found.dataset)
del found
print(this.digest_of_batches(read_dataset(path)))
"""


def large_source() -> Source:
    """Episodes that are made while they are written."""

    def episodes() -> Iterator[Episode]:
        for number in range(N_EPISODES):
            rng, rows = np.random.default_rng(number), STEPS + 1
            reward = rng.normal(size=(rows, N_AGENTS)).astype(np.float32)
            reward[-1] = 0
            arrays = {
                "obs": rng.random((rows, N_AGENTS, OBS), np.float32),
                "actions": rng.uniform(-1, 1, (rows, N_AGENTS, 2)).astype(np.float32),
                "reward": reward,
                "terminated": np.zeros(rows, np.uint8),
            }
            yield Episode(arrays)

    return Source(continuous_card(), episodes())


def digest_of_batches(dataset: OfflineDataset) -> str:
    """Kind of the observations' array, and a checksum of what a buffer samples."""
    scheme, groups, preprocess = build_scheme(dataset.env_info(), SimpleNamespace(common_reward=True))
    buffer = OfflineBuffer(
        dataset.arrays, dataset.episode_offsets, dataset.last_action_known, scheme, groups, preprocess,
        window=1, reward_scalarisation="mean", seed=0,
    )  # fmt: skip
    digest = hashlib.sha256()
    for _ in range(3):
        batch = buffer.sample(64)
        for key in ("obs", "actions", "reward", "next_action_valid"):
            digest.update(batch[key].contiguous().numpy().data)
    return f"{type(dataset.arrays['obs']).__name__} {digest.hexdigest()}"


@pytest.mark.slow
def test_three_times_the_limit_is_written_inspected_and_sampled(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(path)]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert found.returncode == 0, found.stderr
    kind, digest = found.stdout.split()
    assert (kind, f"ndarray {digest}") == ("DiskArray", digest_of_batches(read_dataset(path)))
