"""Exports: an import of what was written gives the same arrays, and other programs find what they read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from dataset import main
from datasets.dataset import OfflineDataset, read_dataset, resolve_dataset, write_dataset
from datasets.exporters import export_dataset
from tests.datasets.importers.foreign import arrays_checksum, imported, set_on_disk
from tests.datasets.samples import continuous_arrays, continuous_card, particle_world
from utils.errors import DatasetError, OutputError

NAMES = {"pymarl": "out.h5", "minari": "out-v0"}
NEEDS = "minari itself reads or writes here: pip install 'minari[hdf5]'"
KINDS = {"pymarl": ("discrete", "continuous"), "minari": ("discrete", "continuous")}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in NAMES for kind in KINDS[name]])
def test_an_import_of_an_export_gives_the_same_arrays(name: str, kind: str, tmp_path: Path) -> None:
    dataset = set_on_disk(tmp_path / "a.h5", kind)
    export_dataset(name, dataset, tmp_path / NAMES[name])
    found = imported(name, tmp_path / NAMES[name], tmp_path)
    assert arrays_checksum(found) == arrays_checksum(dataset)
    stated = ("environment", "action_space", "n_actions", "action_low", "behaviour", "quality", "reference", "returns")
    assert {key: found.card.get(key) for key in stated} == {key: dataset.card.get(key) for key in stated}


@pytest.mark.parametrize("name", NAMES)
def test_columns_that_were_left_out_come_back_the_same(name: str, tmp_path: Path) -> None:
    arrays, offsets = particle_world(60)
    card = continuous_card() | {"environment": {"env": None}}  # of noise, which is not replayed
    write_dataset(tmp_path / "a.h5", arrays, offsets, card)
    dataset = read_dataset(tmp_path / "a.h5")
    export_dataset(name, dataset, tmp_path / NAMES[name])
    assert arrays_checksum(imported(name, tmp_path / NAMES[name], tmp_path)) == arrays_checksum(dataset)


@pytest.mark.parametrize("name", NAMES)
def test_agents_of_unequal_actions(name: str, tmp_path: Path) -> None:
    arrays, offsets = continuous_arrays([3, 2], n_agents=12)
    arrays["actions"][:, 1, 1] = 0
    arrays["avail_actions"] = np.ones((7, 12, 2), np.uint8)
    arrays["avail_actions"][:, 1, 1] = 0
    low = [[-1.0, -2.0]] * 12
    low[1] = [-1.0, 0.0]
    card = continuous_card() | {"action_low": low, "action_high": (-np.array(low)).tolist()}
    write_dataset(tmp_path / "a.h5", arrays, offsets, card, last_action_known=True)
    dataset = read_dataset(tmp_path / "a.h5")
    export_dataset(name, dataset, tmp_path / NAMES[name])
    assert arrays_checksum(imported(name, tmp_path / NAMES[name], tmp_path)) == arrays_checksum(dataset)


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_of_observations_is_kept(name: str, tmp_path: Path) -> None:
    arrays, offsets = continuous_arrays([3, 2])
    mask = [[1] * (arrays["obs"].shape[2] - 1) + [0]] * arrays["obs"].shape[1]
    write_dataset(tmp_path / "a.h5", arrays, offsets, continuous_card() | {"obs_mask": mask})
    export_dataset(name, read_dataset(tmp_path / "a.h5"), tmp_path / NAMES[name])
    assert imported(name, tmp_path / NAMES[name], tmp_path).card["obs_mask"] == mask


def written(dataset: OfflineDataset, tmp_path: Path) -> Path:
    export_dataset("pymarl", dataset, tmp_path / "out.h5")
    return tmp_path / "out.h5"


def test_pymarl_finds_its_keys(tmp_path: Path) -> None:
    """What OffPyMARL's buffer and CFCQL's loader do with a file: every member is an array over the episodes."""
    with h5py.File(written(set_on_disk(tmp_path / "a.h5"), tmp_path)) as file:
        found = {key: file[key][:] for key in file}
    assert {key: (array.shape, array.dtype.str) for key, array in found.items()} == {
        "obs": ((3, 6, 2, 4), "<f4"), "state": ((3, 6, 7), "<f4"), "actions": ((3, 6, 2, 1), "<i8"),
        "actions_onehot": ((3, 6, 2, 5), "<f4"), "avail_actions": ((3, 6, 2, 5), "<i4"), "reward": ((3, 6, 1), "<f4"),
        "terminated": ((3, 6, 1), "|u1"), "filled": ((3, 6, 1), "<i8"),
    }  # fmt: skip
    assert found["filled"].sum((1, 2)).tolist() == [4, 6, 2]
    np.testing.assert_array_equal(np.argwhere(found["terminated"]), [[1, 4, 0]])


def test_minari_loads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip(
        "minari", reason="needs minari, which reads its own format: pip install 'minari[hdf5]'"
    )
    dataset = set_on_disk(tmp_path / "a.h5")
    export_dataset("minari", dataset, tmp_path / "out-v0")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    loaded = minari.load_dataset("out-v0")
    assert loaded.total_episodes == 3 and loaded.total_steps == 9
    episodes = list(loaded.iterate_episodes())
    start, stop = dataset.episode_offsets[1:3]
    np.testing.assert_array_equal(episodes[1].observations["agent_1"], dataset.arrays["obs"][start:stop, 1])
    np.testing.assert_array_equal(episodes[1].actions["agent_0"], dataset.arrays["actions"][start : stop - 1, 0, 0])
    assert episodes[1].terminations[-1] and episodes[0].truncations[-1]
    assert loaded.action_space["agent_0"].n == 5


def test_what_minari_writes_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip(
        "minari", reason="needs minari, which writes its own format: pip install 'minari[hdf5]'"
    )
    from gymnasium import spaces
    from minari.data_collector.episode_buffer import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    rng = np.random.default_rng(0)
    observations = {"a": rng.normal(size=(4, 3)), "b": rng.normal(size=(4, 2))}
    actions = {"a": rng.uniform(-1, 1, (3, 2)).astype("f4"), "b": rng.uniform(-1, 1, (3, 1)).astype("f4")}
    buffer = EpisodeBuffer(observations=observations, actions=actions, rewards=[1.0, 2.0, 3.0],
                           terminations=[False, False, True], truncations=[False] * 3, infos={})  # fmt: skip
    minari.create_dataset_from_buffers(
        "mine-v0",
        [buffer],
        observation_space=spaces.Dict(a=spaces.Box(-9, 9, (3,)), b=spaces.Box(-9, 9, (2,))),
        action_space=spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Box(-1, 1, (1,))),
        data_format="hdf5",
    )
    found = imported("minari", tmp_path / "mine-v0", tmp_path)
    np.testing.assert_array_equal(found.arrays["obs"][:, 0], observations["a"].astype("f4"))
    np.testing.assert_array_equal(found.arrays["reward"][:, 1], [1, 2, 3, 0])
    assert found.card["counts"]["terminals"] == 1


def test_names_that_cannot_be_written_to(tmp_path: Path) -> None:
    dataset = set_on_disk(tmp_path / "a.h5")
    for name, out, message in (
        ("pymarl", "out", "must end in .h5"),
        ("minari", "out", "call it out-v0"),
        ("zarr", "out", "'zarr' is no format to export to; known: minari, omar, pymarl"),
    ):
        with pytest.raises(DatasetError, match=message):
            export_dataset(name, dataset, tmp_path / out)
    (tmp_path / "full-v0").mkdir()
    (tmp_path / "full-v0" / "mine").touch()
    with pytest.raises(DatasetError, match="exists already, and no folder is replaced"):
        export_dataset("minari", dataset, tmp_path / "full-v0", replace=True)
    (tmp_path / "old.h5").write_text("mine")
    with pytest.raises(DatasetError, match="old.h5 exists already"):
        export_dataset("pymarl", dataset, tmp_path / "old.h5")
    assert (tmp_path / "old.h5").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"a.h5", "full-v0", "old.h5"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(name: str, tmp_path: Path) -> None:
    dataset = set_on_disk(tmp_path / "a.h5", "continuous")
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot write"):
        export_dataset(name, dataset, tmp_path / "shut" / NAMES[name])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = set_on_disk(tmp_path / "a.h5")
    source, out = str(tmp_path / "a.h5"), str(tmp_path / "out.h5")
    assert main(["export", "pymarl", source, "-o", out]) == 0
    assert "3 episodes, 9 transitions" in " ".join(capsys.readouterr().out.split())
    assert main(["export", "pymarl", source, "-o", out]) == 1
    assert "or add --force" in capsys.readouterr().err
    assert main(["export", "pymarl", source, "-o", out, "--force"]) == 0
    assert main(["export", "pymarl", source, "-o", source, "--force"]) == 1
    assert "is the dataset itself" in capsys.readouterr().err
    assert main(["import", "pymarl", out, "-o", str(tmp_path / "back.h5")]) == 0
    assert arrays_checksum(read_dataset(tmp_path / "back.h5")) == arrays_checksum(dataset)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_dataset_there_and_back(name: str, tmp_path: Path) -> None:
    dataset = read_dataset(resolve_dataset("mpe/simple_spread/medium-replay"))
    export_dataset(name, dataset, tmp_path / NAMES[name])
    assert arrays_checksum(imported(name, tmp_path / NAMES[name], tmp_path)) == arrays_checksum(dataset)


def test_metadata_are_minaris(tmp_path: Path) -> None:
    export_dataset("minari", set_on_disk(tmp_path / "a.h5", "continuous"), tmp_path / "out-v0")
    found = json.loads((tmp_path / "out-v0" / "data" / "metadata.json").read_text())
    assert (found["total_episodes"], found["total_steps"], found["data_format"]) == (3, 9, "hdf5")
    space = json.loads(found["action_space"])["subspaces"]["agent_2"]
    assert space == {"type": "Box", "dtype": "float32", "shape": [2], "low": [-1, -1], "high": [1, 1]}
