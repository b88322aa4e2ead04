"""What tests of importers share: a made-up dataset, its return statistics, and an import by the command's function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.dataset import OfflineDataset, read_dataset, write_dataset
from datasets.hdf5 import checksum
from datasets.importers.run import import_dataset
from tests.datasets.samples import Arrays, continuous_arrays, continuous_card, discrete_arrays
from utils.errors import DatasetError


def discrete_episodes(lengths: list[int], terminal: list[bool]) -> tuple[Arrays, np.ndarray, dict[str, Any]]:
    """Discrete actions, a state, availability, team rewards; terminal: which episodes end by a terminal."""
    arrays, offsets, card = discrete_arrays(lengths)
    arrays["reward"][:] = arrays["reward"][:, :1]
    arrays["terminated"][offsets[1:][np.asarray(terminal)] - 2] = 1
    return arrays, offsets, card


def set_on_disk(path: Path, kind: str = "discrete") -> OfflineDataset:
    """A dataset of three episodes, one with a terminal, final actions known of two; per-agent rewards if continuous."""
    known = np.array([True, False, True])
    if kind == "discrete":
        arrays, offsets, card = discrete_episodes([3, 5, 1], [False, True, False])
    else:
        arrays, offsets = continuous_arrays([3, 5, 1])
        arrays["terminated"][offsets[2] - 2] = 1
        card = continuous_card()
    arrays["actions"][offsets[1:][~known] - 1] = 0
    write_dataset(path, arrays, offsets, card, last_action_known=known)
    return read_dataset(path)


def imported(name: str, source: Path, tmp_path: Path, **options: Any) -> OfflineDataset:
    out = tmp_path / "imported.h5"
    import_dataset(name, source, out, options)
    return read_dataset(out)


def arrays_checksum(dataset: OfflineDataset) -> str:
    """One checksum of all arrays, without the card."""
    episodes = {"episode_offsets": dataset.episode_offsets, "last_action_known": dataset.last_action_known}
    return checksum({**dataset.arrays, **episodes}, {})


def refused(name: str, source: Path, tmp_path: Path, message: str, **options: Any) -> None:
    """Check that an import fails with one sentence, and that nothing is written and nothing replaced."""
    out = tmp_path / "refused.h5"
    out.write_bytes(b"what was there")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(DatasetError, match=message) as raised:
        import_dataset(name, source, out, options)
    assert "\n" not in str(raised.value) and str(source) in str(raised.value)
    assert out.read_bytes() == b"what was there" and sorted(path.name for path in tmp_path.iterdir()) == before
    out.unlink()
