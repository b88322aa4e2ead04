import numpy as np
import pytest

from datasets.dataset import write_dataset
from tests.datasets.samples import continuous_arrays, continuous_card


@pytest.fixture
def written(tmp_path):
    arrays, offsets = continuous_arrays([3, 5, 1])
    arrays["terminated"][offsets[2] - 2] = 1
    path = tmp_path / "noise.h5"
    write_dataset(path, arrays, offsets, continuous_card(), last_action_known=np.array([True, False, True]))
    return path, arrays, offsets
