"""OMAR's npy files written from datasets: an import gives the same arrays, and OMAR's own loader finds its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.dataset import OfflineDataset, read_dataset, write_dataset
from datasets.exporters import export_dataset
from tests.datasets.importers.foreign import arrays_checksum, imported, set_on_disk
from tests.datasets.importers.test_omar import cheetah, logged, save
from utils.errors import DatasetError


def made(tmp_path: Path, files: Any, known: bool) -> OfflineDataset:
    """A dataset from OMAR's files; known: every other episode's final action is, too."""
    dataset = imported("omar", save(tmp_path / "files", files), tmp_path)
    flags = np.arange(dataset.n_episodes) % 2 == known
    last = dataset.episode_offsets[1:][flags] - 1
    dataset.arrays["actions"][last] = np.random.default_rng(3).uniform(-1, 1, dataset.arrays["actions"][last].shape)
    write_dataset(tmp_path / "a.h5", dataset.arrays, dataset.episode_offsets, dataset.card, last_action_known=flags)
    return read_dataset(tmp_path / "a.h5")


@pytest.mark.parametrize("task", ["simple_spread", "simple_tag", "HalfCheetah"])
def test_an_import_of_an_export_gives_the_same_arrays(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.exporters.omar._BLOCK", 1 << 14)  # several blocks
    dataset = made(tmp_path, cheetah() if task == "HalfCheetah" else logged(task), True)
    export_dataset("omar", dataset, tmp_path / "out")
    found = imported("omar", tmp_path / "out", tmp_path)
    assert arrays_checksum(found) == arrays_checksum(dataset)
    assert found.card["environment"] == dataset.card["environment"]


def test_omars_own_files_are_the_published_ones(tmp_path: Path) -> None:
    files = cheetah()
    export_dataset("omar", made(tmp_path, files, False), tmp_path / "out")
    written = {path.stem: np.load(path) for path in (tmp_path / "out").iterdir()}
    assert set(files) <= set(written)
    for name, array in files.items():
        assert written[name].shape == array.shape and written[name].dtype == np.float32
        if not name.endswith(("states_1",)):  # the importer reads the first agent's state, which both see
            np.testing.assert_array_equal(written[name], array)


def test_what_omars_files_cannot_hold(tmp_path: Path) -> None:
    dataset = set_on_disk(tmp_path / "b.h5", "discrete")
    with pytest.raises(DatasetError, match="is of gymma x; OMAR's files are of mpe simple_spread"):
        export_dataset("omar", dataset, tmp_path / "out")
    dataset.card["environment"] = {"env": None, "env_args": {}}
    with pytest.raises(DatasetError, match="b.h5 states no environment; OMAR's files are of mpe simple_spread"):
        export_dataset("omar", dataset, tmp_path / "out")
    dataset = set_on_disk(tmp_path / "c.h5", "continuous")
    with pytest.raises(DatasetError, match="has terminals or episodes of several lengths"):
        export_dataset("omar", dataset, tmp_path / "out")
    dataset.arrays["terminated"][:] = 0
    dataset.episode_offsets[:] = [0, 4, 8, 12]
    with pytest.raises(DatasetError, match=r"'obs' in .* has rows of \(3, 4\), OMAR's Cooperative"):
        export_dataset("omar", dataset, tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(DatasetError, match="exists already, and no folder is replaced"):
        export_dataset("omar", made(tmp_path, logged("simple_spread"), False), tmp_path / "out", replace=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_final_actions_must_fit_the_episodes(tmp_path: Path) -> None:
    export_dataset("omar", made(tmp_path, logged("simple_spread"), True), tmp_path / "out")
    final = np.load(tmp_path / "out" / "final_acs_1.npy")
    np.save(tmp_path / "out" / "final_acs_1.npy", final[1:])
    with pytest.raises(DatasetError, match="final_acs_1.npy has 11 rows and last_action_known.npy 12"):
        imported("omar", tmp_path / "out", tmp_path)
    for name in ("last_action_known", *(f"final_acs_{agent}" for agent in range(3))):
        np.save(tmp_path / "out" / f"{name}.npy", np.load(tmp_path / "out" / f"{name}.npy")[:11])
    with pytest.raises(DatasetError, match="last_action_known.npy has 11 rows beside 12 episodes"):
        imported("omar", tmp_path / "out", tmp_path)
