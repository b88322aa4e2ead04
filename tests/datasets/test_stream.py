"""The streaming writer: the same file as the writer's for arrays in memory, little memory, nothing left on failure."""

import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets import hdf5, stream
from datasets.dataset import read_dataset, write_dataset
from datasets.importers.source import Episode, Source
from datasets.stream import write_source
from tests.datasets.samples import Arrays, continuous_arrays, continuous_card, discrete_arrays, particle_world
from utils.errors import DatasetError, OutputError


def source_of(arrays: Arrays, offsets: np.ndarray, card: dict[str, Any], known: bool = False) -> Source:
    parts = (
        Episode({key: array[a:b] for key, array in arrays.items()}, known, f"log.npy, rows {a} to {b - 1}")
        for a, b in pairwise(offsets)
    )
    return Source(card | {"made_by": {"seed": 0}}, parts)


def written(tmp_path: Path, arrays: Arrays, offsets: np.ndarray, card: dict[str, Any], **how: Any) -> dict[str, Any]:
    card = card | {"made_by": {"command": "test", "seed": 0}}
    return write_dataset(tmp_path / "whole.h5", arrays, offsets, card, **how)


@pytest.mark.parametrize("in_memory", [0, stream.IN_MEMORY])
def test_the_file_is_the_writers(in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BLOCK_BYTES", 1000)  # several blocks, and episodes that begin in one
    for arrays, offsets, card in (
        discrete_arrays([3, 7, 1, 12, 5]),
        (*particle_world(12), continuous_card()),
    ):
        expected = written(tmp_path, arrays, offsets, card, last_action_known=True, compress_columns=in_memory > 0)
        out = tmp_path / "new" / "streamed.h5"
        found = write_source(out, source_of(arrays, offsets, card, True), "test", in_memory=in_memory)
        assert found == expected, "the checksum covers the card and every array"
        dataset = read_dataset(out)
        np.testing.assert_allclose(dataset.arrays["obs"], arrays["obs"], atol=1e-6)
        np.testing.assert_array_equal(dataset.arrays["actions"], arrays["actions"])
        assert dataset.last_action_known.all()


@pytest.mark.parametrize("in_memory", [0, stream.IN_MEMORY])
def test_what_follows_from_the_rest_is_left_out(in_memory: int, tmp_path: Path) -> None:
    arrays, offsets = continuous_arrays([3, 4])
    arrays["state"] = arrays["obs"].reshape(len(arrays["obs"]), -1).copy()
    arrays["avail_actions"] = np.ones((len(arrays["obs"]), 3, 2), np.uint8)
    out = tmp_path / "out.h5"
    write_source(out, source_of(arrays, offsets, continuous_card()), in_memory=in_memory)
    assert set(read_dataset(out).arrays) == {"obs", "actions", "reward", "terminated"}
    arrays["state"][2, 1] += 1
    write_source(out, source_of(arrays, offsets, continuous_card()), in_memory=in_memory)
    np.testing.assert_array_equal(read_dataset(out).arrays["state"], arrays["state"])


def put(key: str, index: tuple, value: float) -> Callable[[Arrays], None]:
    return lambda arrays: arrays[key].__setitem__(index, value)


def shorten(arrays: Arrays) -> None:
    arrays["reward"] = arrays["reward"][:-1]


def narrow(arrays: Arrays) -> None:
    arrays["obs"] = arrays["obs"][..., 1:]


@pytest.mark.parametrize("in_memory", [0, stream.IN_MEMORY])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (put("obs", (2, 0, 1), np.nan), "log.npy, rows 4 to 9: obs holds a value that is not finite .* on row 2"),
        (put("actions", (1, 2, 0), 1.5), "log.npy, rows 4 to 9: actions leaves .* on row 1: agent 2 has 1.5 in"),
        (put("reward", (5, 0), 1.0), "log.npy, rows 4 to 9: reward is not 0 on row 5, an episode's final row"),
        (put("terminated", (1,), 1), "log.npy, rows 4 to 9: terminated is 1 on row 1, which is not"),
        (shorten, "log.npy, rows 4 to 9 has arrays of different numbers of rows: obs 6, actions 6, reward 5,"),
        (narrow, r"log.npy, rows 4 to 9 holds rows of obs \(3, 3\), .* the first episode obs \(3, 4\)"),
        (lambda arrays: arrays.pop("reward"), "log.npy, rows 4 to 9 holds rows of obs .* all must be alike"),
    ],
)
def test_a_bad_episode_is_named_and_nothing_is_left(
    in_memory: int, damage: Callable[[Arrays], None], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays, offsets = continuous_arrays([3, 5, 2])
    source = source_of(arrays, offsets, continuous_card())
    episodes = [Episode(dict(each.arrays), origin=each.origin) for each in source.episodes]
    damage(episodes[1].arrays)  # type: ignore[arg-type]
    out = tmp_path / "out.h5"
    out.write_bytes(b"what was there")
    with pytest.raises(DatasetError, match=message):
        write_source(out, Source(source.card, iter(episodes)), in_memory=in_memory)
    assert out.read_bytes() == b"what was there" and list(tmp_path.iterdir()) == [out]


def test_sources_without_a_set_are_refused(tmp_path: Path) -> None:
    arrays, offsets = continuous_arrays([3])
    with pytest.raises(DatasetError, match="the source holds no episode"):
        write_source(tmp_path / "out.h5", Source(continuous_card(), iter(())))
    with pytest.raises(DatasetError, match="the dataset card lacks 'environment'"):
        write_source(tmp_path / "out.h5", source_of(arrays, offsets, {"action_space": "discrete", "n_actions": 2}))
    del arrays["actions"]
    with pytest.raises(DatasetError, match="rows 0 to 3: the dataset lacks 'actions'"):
        write_source(tmp_path / "out.h5", source_of(arrays, offsets, continuous_card()))
    assert not list(tmp_path.iterdir())


def test_little_memory_means_no_search_for_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays, offsets = particle_world(12)
    expected = written(tmp_path, arrays, offsets, continuous_card(), compress_columns=False)
    monkeypatch.setattr(stream, "free_memory", lambda: 100_000)
    assert write_source(tmp_path / "out.h5", source_of(arrays, offsets, continuous_card()), "test") == expected


def test_an_existing_file_is_replaced_only_where_allowed(tmp_path: Path) -> None:
    arrays, offsets = continuous_arrays([3])
    out = tmp_path / "out.h5"
    out.write_bytes(b"what was there")

    def late() -> Iterator[Episode]:
        raise AssertionError("the name is checked before the work")
        yield

    with pytest.raises(DatasetError, match="exists already"):
        write_source(out, Source(continuous_card(), late()), replace=False)
    write_source(out, source_of(arrays, offsets, continuous_card()))
    assert read_dataset(out).n_episodes == 1


class FullDisk:
    """A temporary file that takes no byte."""

    def seek(self, *place: int) -> None: ...

    def close(self) -> None: ...

    def write(self, content: bytes) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: FullDisk())
    arrays, offsets = continuous_arrays([3])
    with pytest.raises(OutputError, match=r"cannot write .* \(no space left on device\); free space"):
        write_source(tmp_path / "out.h5", source_of(arrays, offsets, continuous_card()))
    assert not list(tmp_path.iterdir())


def test_a_large_set_takes_less_memory_than_its_largest_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are made small, so that a set of 26 MB is large; twice the largest array is what is promised."""
    for module in (hdf5, stream):
        monkeypatch.setattr(module, "BLOCK_BYTES", 1 << 18)
    n_episodes, n_rows, width = 400, 51, 160
    rng = np.random.default_rng(0)

    def episodes() -> Iterator[Episode]:
        for _ in range(n_episodes):
            rewards = rng.normal(size=(n_rows, 2))
            rewards[-1] = 0
            yield Episode({
                "obs": rng.normal(size=(n_rows, 2, width)),
                "actions": rng.uniform(-1, 1, (n_rows, 2, 2)),
                "reward": rewards,
                "terminated": np.zeros(n_rows),
            })  # fmt: skip

    largest = n_episodes * n_rows * 2 * width * 4
    tracemalloc.start()
    try:
        write_source(tmp_path / "out.h5", Source(continuous_card(), episodes()), in_memory=1 << 20, compression=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * largest, f"{peak / largest:.2f} of the largest array"
    assert read_dataset(tmp_path / "out.h5").n_episodes == n_episodes
