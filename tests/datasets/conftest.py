import numpy as np
import pytest

from datasets.dataset import read_dataset, write_dataset
from tests.datasets.samples import continuous_arrays, continuous_card, particle_world


@pytest.fixture
def written(tmp_path):
    arrays, offsets = continuous_arrays([3, 5, 1])
    arrays["terminated"][offsets[2] - 2] = 1
    path = tmp_path / "noise.h5"
    write_dataset(path, arrays, offsets, continuous_card(), last_action_known=np.array([True, False, True]))
    return path, arrays, offsets


@pytest.fixture
def cached(tmp_path):
    """A dataset, what it holds, and the folder of its cache."""
    arrays, offsets = particle_world(50)
    write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card(), compression=0)
    loaded = read_dataset(tmp_path / "d.h5").arrays
    checksum = read_dataset(tmp_path / "d.h5", memory_map=True).card["checksum"]
    return tmp_path / "d.h5", loaded, tmp_path / "d.h5.cache" / checksum[:16]


@pytest.fixture
def uncached(tmp_path):
    """A dataset without a cache, which would take about 400 kB."""
    arrays, offsets = particle_world(50)
    write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card())
    return tmp_path / "d.h5"
