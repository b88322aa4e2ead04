import logging
from pathlib import Path

import h5py
import numpy as np
import pytest

from datasets.dataset import read_dataset, write_dataset
from tests.datasets.samples import continuous_card, flip, forge, particle_world
from utils.errors import DatasetError


def test_memory_map_holds_the_same_and_follows_the_file(tmp_path):
    path = tmp_path / "d.h5"
    for seed in (0, 1):
        arrays, offsets = particle_world(50, seed=seed)
        write_dataset(path, arrays, offsets, continuous_card())
        loaded = read_dataset(path)
        for _ in range(2):  # made, then found
            mapped = read_dataset(path, memory_map=True)
            assert all(isinstance(array, np.memmap) for array in mapped.arrays.values())
            assert all(np.array_equal(mapped.arrays[key], array) for key, array in loaded.arrays.items())
        assert sorted(file.name for file in (tmp_path / "d.h5.cache").iterdir())[:-1] == [loaded.card["checksum"][:16]]


def test_a_set_larger_than_the_free_memory_is_mapped_and_says_so(tmp_path, monkeypatch, caplog):
    arrays, offsets = particle_world(50)
    write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card())
    assert not isinstance(read_dataset(tmp_path / "d.h5").arrays["obs"], np.memmap) and not caplog.records
    monkeypatch.setattr("datasets.memory_map.free_memory", lambda: 1000)
    assert isinstance(read_dataset(tmp_path / "d.h5").arrays["obs"], np.memmap)
    (record,) = caplog.records
    assert f"mapping it through {tmp_path / 'd.h5.cache'}" in record.getMessage()
    read_dataset(tmp_path / "d.h5", memory_map=True)
    assert len(caplog.records) == 1  # asked for


@pytest.mark.parametrize("name", ["reward", "last_action_known"])
def test_an_altered_file_is_refused_though_a_cache_exists(cached, name):
    path, *_ = cached
    with h5py.File(path, "r+") as file:
        file[name][0] = 1 - file[name][0]
    with pytest.raises(DatasetError, match="does not match its checksum"):
        read_dataset(path, memory_map=True)


def resized(file):
    np.save(file, np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    "name, harm",
    [
        ("reward.npy", flip),
        ("obs.npy", lambda file: file.write_bytes(file.read_bytes()[:-100])),
        ("obs.npy", lambda file: file.write_bytes(b"")),
        ("obs.npy", resized),
        ("actions.npy", Path.unlink),
        ("manifest.json", Path.unlink),
        ("manifest.json", lambda file: file.write_text("[]")),
        ("manifest.json", lambda file: file.write_text('{"obs.npy"')),
        ("manifest.json", lambda file: file.write_bytes(b"\xff\xfe")),
    ],
)
def test_a_damaged_cache_is_made_anew_and_said(cached, caplog, name, harm):
    path, loaded, folder = cached
    harm(folder / name)
    for _ in range(2):  # the second time nothing is left to mend
        mapped = read_dataset(path, memory_map=True).arrays
        assert all(np.array_equal(mapped[key], array) for key, array in loaded.items())
        warnings = [record for record in caplog.records if record.name == "datasets.memory_map"]
        assert len(warnings) == 1 and warnings[0].levelno == logging.WARNING
        assert "is damaged" in warnings[0].getMessage()


def test_a_sound_cache_in_a_folder_without_write_permission_is_used(cached, monkeypatch):
    path, loaded, _ = cached
    monkeypatch.setattr("datasets.memory_map.write_cache", lambda *_: pytest.fail("built anew"))
    monkeypatch.setattr("fcntl.flock", lambda *_: pytest.fail("took the lock, which needs write permission"))
    assert np.array_equal(read_dataset(path, memory_map=True).arrays["obs"], loaded["obs"])


def test_a_new_cache_is_made_without_a_warning(cached, caplog):
    path, _, folder = cached
    for file in [*folder.iterdir()]:
        file.unlink()
    folder.rmdir()
    read_dataset(path, memory_map=True)
    assert not caplog.records


def test_an_array_of_any_name_makes_no_file(uncached):
    forge(uncached, {}, {"lock": np.zeros(1300, np.float32)})
    with pytest.raises(DatasetError, match="'lock' is not an array of a dataset"):
        read_dataset(uncached, memory_map=True)
    assert not Path(f"{uncached}.cache").exists()


def test_a_dataset_that_fails_while_its_cache_is_made_is_named(uncached, monkeypatch):
    monkeypatch.setattr(
        "datasets.memory_map.decode_rows", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error"))
    )
    with pytest.raises(DatasetError, match=f"cannot read {uncached} .input/output error"):
        read_dataset(uncached, memory_map=True)


def test_a_cache_of_an_earlier_release_is_used(cached, monkeypatch):
    path, loaded, folder = cached
    for key, array in loaded.items():  # written as earlier releases did
        np.lib.format.open_memmap(folder / f"{key}.npy", "w+", array.dtype, array.shape)[...] = array
    monkeypatch.setattr("datasets.memory_map.write_cache", lambda *_: pytest.fail("made anew"))
    assert np.array_equal(read_dataset(path, memory_map=True).arrays["obs"], loaded["obs"])
