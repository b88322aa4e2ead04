import h5py
import numpy as np
import pytest

from datasets.dataset import read_dataset, write_dataset
from tests.datasets.samples import continuous_card, forge, particle_world
from utils.errors import DatasetError


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


@pytest.mark.parametrize(
    "card, message",
    [
        ({"action_low": None}, "card lacks 'action_low'"),
        ({"reference": None}, "card lacks 'reference'"),
        ({"counts": None}, "card lacks 'counts'"),
        ({"n_actions": "a"}, "n_actions is 'a'"),
        ({"environment": {"env": "mpe"}}, "env_args is None"),
        ({"action_low": [2.0, -1.0]}, "action_low is 2"),
        ({"obs_mean": [[1.0], [1.0, 2.0]]}, "obs_mean is no array"),
        ({"obs_std": [0.0]}, "obs_std has shape"),
        ({"shapes": {}}, "states the shapes"),
        ({"reference": {"random": 1.0, "expert": 1.0, "source": "me"}}, "so scores cannot be normalised"),
        ({"reference": {"random": 1.0, "source": "me"}}, "reference.expert is None"),
        ({"reference": {"random": "1", "expert": 2.0, "source": "me"}}, "reference.random is '1'"),
    ],
)
def test_a_card_that_bypassed_the_writer_is_refused(written, card, message):
    path, *_ = written
    forge(path, card)
    with pytest.raises(DatasetError, match=message) as refusal:
        read_dataset(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_a_number_in_the_card_that_is_not_finite_is_refused(written, number):
    path, *_ = written
    with h5py.File(path, "r+") as file:
        file.attrs["card"] = file.attrs["card"].replace("159.8", number)
    with pytest.raises(DatasetError, match="not valid JSON"):
        read_dataset(path)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"reward": None}, "lacks 'reward'"),
        ({"episode_offsets": None}, "lacks 'episode_offsets'"),
        ({"episode_offsets": np.zeros(0, np.int64)}, "episode_offsets must be"),
        ({"episode_offsets": np.array(3)}, "'episode_offsets'.*plain array"),
        ({"last_action_known": np.zeros((3, 2), np.uint8)}, "last_action_known has shape"),
        ({"reward": np.full((12, 3), np.nan, np.float32)}, "reward holds a value that is not finite"),
        ({"state": np.zeros(12, np.float32)}, "state has shape"),
        ({"obs_columns": np.zeros(3, np.float32)}, "the parts of 'obs'"),
    ],
)
@pytest.mark.parametrize("memory_map", [False, True])
def test_arrays_that_bypassed_the_writer_are_refused(written, arrays, message, memory_map):
    path, *_ = written
    forge(path, {}, arrays)
    with pytest.raises(DatasetError, match=message):
        read_dataset(path, memory_map=memory_map)
