import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from samples import continuous_arrays, continuous_card, discrete_arrays, offsets_of, particle_world

from datasets import names
from datasets.dataset import read_dataset, resolve_dataset, write_dataset
from utils.errors import DatasetError

SRC = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture
def written(tmp_path):
    arrays, offsets = continuous_arrays([3, 5, 1])
    arrays["terminated"][offsets[2] - 2] = 1
    path = tmp_path / "noise.h5"
    write_dataset(path, arrays, offsets, continuous_card(), last_action_known=np.array([True, False, True]))
    return path, arrays, offsets


def test_round_trip_is_exact(written):
    path, arrays, offsets = written
    dataset = read_dataset(path)
    assert set(dataset.arrays) == set(arrays)
    for key, array in arrays.items():
        assert dataset.arrays[key].dtype == array.dtype
        assert np.array_equal(dataset.arrays[key], array)
    assert np.array_equal(dataset.episode_offsets, offsets)
    assert dataset.last_action_known.tolist() == [True, False, True]
    assert (dataset.n_episodes, dataset.n_transitions, dataset.n_agents, dataset.max_length) == (3, 9, 3, 5)
    assert dataset.card["counts"]["terminals"] == 1 and dataset.card["counts"]["time_limits"] == 2
    assert dataset.card["reference"] | {"source": ""} == {"random": 159.8, "expert": 516.8, "source": ""}


def test_card_statistics(written):
    path, arrays, offsets = written
    card = read_dataset(path).card
    returns = [arrays["reward"][a:b].mean(1).sum() for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
    assert card["returns"]["mean"] == pytest.approx(np.mean(returns), abs=1e-6)
    assert card["returns"]["std"] == pytest.approx(np.std(returns), abs=1e-6)
    assert np.allclose(card["obs_mean"], arrays["obs"].mean(0), atol=1e-6)
    assert np.allclose(card["obs_std"], arrays["obs"].std(0), atol=1e-6)


def test_discrete_round_trip_and_env_info(tmp_path):
    arrays, offsets, card = discrete_arrays([4, 2])
    write_dataset(tmp_path / "d.h5", arrays, offsets, card)
    dataset = read_dataset(tmp_path / "d.h5")
    assert all(np.array_equal(dataset.arrays[key], array) for key, array in arrays.items())
    assert dataset.env_info() == {
        "state_shape": 7,
        "obs_shape": 4,
        "n_actions": 5,
        "n_agents": 2,
        "episode_limit": 4,
        "action_space": "discrete",
    }
    assert np.allclose(dataset.state_statistics()[0], arrays["state"].mean(0), atol=1e-6)


def test_derivable_state_and_availability_are_not_stored(tmp_path):
    arrays, offsets = continuous_arrays([3, 5])
    n_rows = len(arrays["obs"])
    more = arrays | {"state": arrays["obs"].reshape(n_rows, -1), "avail_actions": np.ones((n_rows, 3, 2))}
    write_dataset(tmp_path / "d.h5", more, offsets, continuous_card())
    dataset = read_dataset(tmp_path / "d.h5")
    assert set(dataset.arrays) == set(arrays)
    assert dataset.card["shapes"]["state"] == 12
    assert dataset.state_statistics()[0].shape == (12,)


def test_hundred_thousand_transitions_fit_eight_megabytes(tmp_path):
    arrays, offsets = particle_world(4000)
    write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card(), last_action_known=True, compression=9)
    # this noise has three unlike rewards a step; Cooperative Navigation's, mostly alike, take 0.6 MB less
    assert (tmp_path / "d.h5").stat().st_size < 8e6
    dataset = read_dataset(tmp_path / "d.h5")
    assert dataset.n_transitions == 100_000
    assert np.abs(dataset.arrays["obs"] - arrays["obs"]).max() <= 1e-6


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


def test_runs_that_start_together_share_one_cache(tmp_path):
    arrays, offsets = particle_world(50)
    write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card())
    script = "import sys; sys.path.insert(0, sys.argv[2])\n" + (
        "from datasets.dataset import read_dataset\n"
        "print(float(read_dataset(sys.argv[1], memory_map=True).arrays['obs'].sum()))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "d.h5"), str(SRC)]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    sums = {reader.communicate(timeout=60)[0] for reader in readers}
    assert len(sums) == 1 and all(reader.returncode == 0 for reader in readers)


def test_wide_observations_make_a_card_beyond_hdf5s_usual_attribute(tmp_path):
    arrays, offsets = continuous_arrays([3, 5], n_agents=20, obs_size=200)
    write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card())
    dataset = read_dataset(tmp_path / "d.h5")
    assert len(str(dataset.card)) > 1 << 16
    assert np.array_equal(dataset.arrays["obs"], arrays["obs"])


@pytest.mark.parametrize("position", [0.3, 0.5, 0.7, 0.9])
def test_altered_content_is_refused(tmp_path, position):
    arrays, offsets = particle_world(50)
    path = tmp_path / "d.h5"
    write_dataset(path, arrays, offsets, continuous_card(), compression=0)
    content = bytearray(path.read_bytes())
    content[int(len(content) * position)] ^= 16
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="checksum|HDF5"):
        read_dataset(path)


def test_altered_card_is_refused(written):
    path, *_ = written
    with h5py.File(path, "r+") as file:
        file.attrs["card"] = file.attrs["card"].replace("uniform", "optimal")
    with pytest.raises(DatasetError, match="checksum"):
        read_dataset(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.99])
def test_truncated_file_is_refused(written, share):
    path, *_ = written
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DatasetError, match="truncated"):
        read_dataset(path)


def test_foreign_newer_and_object_files_are_refused(written, tmp_path):
    path, *_ = written
    with h5py.File(path, "r+") as file:
        file.create_dataset("names", data=["a", "b"])
    with pytest.raises(DatasetError, match="plain array of numbers"):
        read_dataset(path)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(DatasetError, match="version 2.*update"):
        read_dataset(path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["observations"] = np.zeros(3)
    with pytest.raises(DatasetError, match="not a dataset of this project"):
        read_dataset(tmp_path / "other.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(DatasetError, match="cannot be read as HDF5"):
        read_dataset(tmp_path / "text.h5")


def test_links_to_other_files_are_refused(written, tmp_path):
    path, *_ = written
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["obs"] = np.zeros((12, 3, 4), np.float32)
    with h5py.File(path, "r+") as file:
        del file["obs"]
        file["obs"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "obs")
    with pytest.raises(DatasetError, match="'obs'.*plain array"):
        read_dataset(path)


def change(key, row, value):
    def apply(arrays, offsets, card):
        arrays[key] = arrays[key].copy()
        arrays[key][row] = value

    return apply


def drop(key):
    return lambda arrays, offsets, card: (arrays if key in arrays else card).pop(key)


def replace(key, make):
    def apply(arrays, offsets, card):
        arrays[key] = make(arrays.get(key))

    return apply


@pytest.mark.parametrize(
    "harm, message",
    [
        (change("obs", (4, 1, 2), np.nan), "obs holds a value that is not finite.* row 4"),
        (change("reward", (1, 0), np.inf), "reward holds a value that is not finite.* row 1"),
        (change("actions", (2, 0, 1), 1.5), r"actions leaves the card's bounds.* row 2"),
        (change("reward", 3, 1.0), "reward is not 0 on row 3"),
        (change("terminated", 1, 1), "terminated is 1 on row 1"),
        (change("terminated", 2, 7), "terminated must be 0 or 1"),
        (drop("reward"), "lacks 'reward'"),
        (drop("action_low"), "needs 'action_low'"),
        (drop("environment"), "needs environment"),
        (replace("reward", lambda reward: reward[:-1]), "reward has shape"),
        (replace("obs", lambda obs: obs[:, 0]), "obs has shape"),
        (replace("foo", lambda foo: np.zeros(3)), "'foo' is not an array"),
        (replace("obs", lambda obs: obs.astype(object)), "numbers only"),
        (replace("obs", lambda obs: obs.astype(float) * 1e300), "obs holds a value that is not finite"),
        (lambda arrays, offsets, card: offsets.__setitem__(1, 0), "episode_offsets"),
        (lambda arrays, offsets, card: card.update(action_high=[1.0]), "all must agree"),
        (lambda arrays, offsets, card: card.update(action_space="both"), "action_space"),
    ],
)
def test_writer_refuses(tmp_path, harm, message):
    arrays, offsets = continuous_arrays([3, 5, 1])
    card = continuous_card()
    harm(arrays, offsets, card)
    with pytest.raises(DatasetError, match=message):
        write_dataset(tmp_path / "d.h5", arrays, offsets, card)
    assert list(tmp_path.iterdir()) == []


def test_discrete_actions_are_checked(tmp_path):
    arrays, offsets, card = discrete_arrays([4, 2])
    arrays["actions"][1, 0] = 5
    with pytest.raises(DatasetError, match="actions is not in 0..4 on row 1"):
        write_dataset(tmp_path / "d.h5", arrays, offsets, card)
    arrays["actions"][1, 0] = 2
    arrays["avail_actions"][1, 0] = [1, 1, 0, 1, 1]
    with pytest.raises(DatasetError, match="not available by avail_actions on row 1"):
        write_dataset(tmp_path / "d.h5", arrays, offsets, card)


def test_unwritable_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    arrays, offsets = continuous_arrays([3])
    with pytest.raises(DatasetError, match="cannot write"):
        write_dataset(tmp_path / "file" / "d.h5", arrays, offsets, continuous_card())


def test_killed_writer_leaves_no_half_file(tmp_path):
    path = tmp_path / "killed.h5"
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from samples import continuous_card, particle_world\n"
        "from datasets.dataset import write_dataset\n"
        "arrays, offsets = particle_world(8000)\n"
        "write_dataset(sys.argv[1], arrays, offsets, continuous_card(), compression=9, compress_columns=False)\n"
    )
    command = [sys.executable, "-c", script, str(path), str(SRC), str(Path(__file__).parent)]
    with subprocess.Popen(command) as writer:
        temporary, patience = tmp_path / ".killed.h5.tmp", time.monotonic() + 60
        while not (temporary.exists() and temporary.stat().st_size > 100_000):
            assert writer.poll() is None and time.monotonic() < patience
            time.sleep(0.005)
        os.kill(writer.pid, signal.SIGKILL)
    assert temporary.exists() and not path.exists()
    arrays, offsets = continuous_arrays([3])
    write_dataset(path, arrays, offsets, continuous_card())
    assert read_dataset(path).n_episodes == 1
    assert [file.name for file in tmp_path.iterdir()] == ["killed.h5"]


def test_a_failing_write_keeps_the_old_file(written, monkeypatch):
    path, *_ = written
    before = path.read_bytes()
    arrays, offsets = continuous_arrays([2])
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(DatasetError, match="no space left"):
        write_dataset(path, arrays, offsets, continuous_card())
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def test_names(tmp_path, monkeypatch):
    monkeypatch.setattr(names, "DATA_ROOT", tmp_path)
    arrays, offsets = continuous_arrays([3])
    file = tmp_path / "mpe" / "simple_spread" / "random-100k.h5"
    write_dataset(file, arrays, offsets, continuous_card())
    assert resolve_dataset("mpe/simple_spread/random-100k") == file
    assert resolve_dataset(file) == file
    with pytest.raises(DatasetError, match="did you mean mpe/simple_spread/random-100k"):
        resolve_dataset("mpe/simple_spred/random-100k")
    with pytest.raises(DatasetError, match="make it with: python src/main.py"):
        resolve_dataset("mpe/simple_spread/random")
    with pytest.raises(DatasetError, match="no dataset"):
        resolve_dataset(tmp_path / "absent.h5")
    with pytest.raises(DatasetError, match="neither a dataset name nor a path"):
        resolve_dataset("../../etc/nothing-like-it")


def test_the_recipes_stand_in_the_readme():
    text = (names.DATA_ROOT / "README.md").read_text()
    assert all(command in text for command in names.RECIPES.values())


def test_offsets_helper():
    assert offsets_of([3, 1]).tolist() == [0, 4, 6]
