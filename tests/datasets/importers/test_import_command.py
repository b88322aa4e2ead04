"""The command `dataset.py import` apart from its formats: probing, old words, and memory that importers take."""

import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dataset import main
from datasets import faults
from datasets.dataset import read_dataset
from datasets.importers import FORMATS, REGISTRY, omar, omiga_mujoco, run
from datasets.importers.run import open_source, probe
from datasets.importers.source import Source
from envs.matrix_game import MatrixGameEnv
from stock.plug import planned_files
from tests.datasets.games import write_buffer
from tests.datasets.importers.foreign import set_on_disk
from tests.datasets.importers.padded import batch, write_h5
from tests.datasets.importers.test_omar import cheetah
from tests.datasets.importers.test_omar import save as save_npy
from tests.datasets.importers.test_omiga_mujoco import logged as robots
from tests.datasets.importers.test_omiga_mujoco import save as save_hdf5
from utils.errors import DatasetError, EnvError


class Claims:
    """A format that recognises everything."""

    def recognise(self, path: Path) -> str | None:
        return "anything at all"

    def open(self, path: Path, options: Mapping[str, Any]) -> Source:
        raise EnvError("it needs a simulator; pip install it")


def test_a_probe_names_several_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "REGISTRY", {"one": Claims(), "other": Claims()})
    lines = probe(tmp_path)
    assert lines[:2] == [f"{tmp_path} is one: anything at all", f"{tmp_path} is other: anything at all"]
    assert lines[2].startswith("name the format that is meant")
    monkeypatch.setattr(run, "REGISTRY", {"one": Claims()})
    assert probe(tmp_path)[1] == "an import needs more: it needs a simulator; pip install it"


def test_every_format_refuses_what_is_none_of_it(tmp_path: Path) -> None:
    """An empty folder and a text are recognised by no importer, and none of them fails on it."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.npz").write_text("text")
    (tmp_path / "text.h5").write_text("text")
    for name in ("folder", "text.npz", "text.h5"):
        with pytest.raises(
            DatasetError, match="is of no known format: omar, .*; a layout of your own .*#your-own-arrays"
        ):
            probe(tmp_path / name)
    assert list(REGISTRY) == list(FORMATS)


def test_a_probe_knows_our_own_datasets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = set_on_disk(tmp_path / "a.h5").path
    assert main(["import", "--probe", str(path)]) == 0
    assert "is a dataset of this project already; it needs no import" in " ".join(capsys.readouterr().out.split())


def test_an_environment_that_nobody_has_is_refused(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", batch())
    with pytest.raises(DatasetError, match="'nonsense' is no environment; known: bridge, gymma, .*sc2"):
        open_source("pymarl", path, {"env": "nonsense"})
    for name in ("gymma", "sc2"):  # ours, and stock's
        card = open_source("pymarl", path, {"env": name, "env_args": '{"key": "mine-v0"}'}).card
        assert card["environment"] == {"env": name, "env_args": {"key": "mine-v0"}}


def test_files_of_other_layouts_are_pointed_to_the_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", obs_0=np.zeros((2, 3)))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["observations"] = np.zeros(3)
    for name in ("a.npz", "b.h5"):
        path = tmp_path / name
        pointer = f"'python src/dataset.py import --probe {path}' says whether it can be converted, else see docs/your-"
        with pytest.raises(DatasetError, match=pointer):
            read_dataset(path)
        with monkeypatch.context() as patch:  # a checkout of stock EPyMARL has no such command
            patch.setattr(faults, "_COMMAND", tmp_path / "dataset.py")
            with pytest.raises(DatasetError, match="; give a dataset that epymarl-offline has collected or imported$"):
                read_dataset(path)
    assert "dataset.py" not in planned_files()
    cut = set_on_disk(tmp_path / "c.h5").path
    for size in (0, 6, 100):  # our own, cut short
        cut.write_bytes(cut.read_bytes()[:size] if size else b"")
        with pytest.raises(DatasetError, match="truncated, damaged or of another kind; fetch or collect it anew"):
            read_dataset(cut)
        cut = set_on_disk(tmp_path / f"{size}.h5").path


def test_what_messages_suggest_can_be_typed(tmp_path: Path) -> None:
    """Options are named as the command line has them, and paths with spaces are quoted."""
    path = write_h5(tmp_path / "a b.h5", batch())
    with pytest.raises(DatasetError, match="--rewards is no option of pymarl, which has --n-actions, --bounds$"):
        open_source("pymarl", path, {"rewards": "raw"})
    assert f"import it with: python src/dataset.py import pymarl '{path}' -o OUT" in probe(path)


def test_no_file_of_the_source_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--force` would replace one of the files that are imported."""
    folder = tmp_path / "parts"
    part = write_h5(folder / "part_0.h5", batch())
    before = part.read_bytes()
    assert main(["import", "pymarl", str(folder), "-o", str(part), "--force"]) == 1
    assert f"is a file of the source {folder}; choose another name" in " ".join(capsys.readouterr().err.split())
    assert part.read_bytes() == before and list(folder.iterdir()) == [part]
    assert main(["import", "pymarl", str(folder), "-o", str(folder / "below" / "new.h5")]) == 0


def test_the_old_word_is_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env = MatrixGameEnv(episode_limit=5, reward_scalarisation="mean")
    folder = str(write_buffer(tmp_path / "mmdp" / "xor", env, [[(0, 1)] * 5, [(1, 1), (0, 0)]]))
    old, new = str(tmp_path / "old.h5"), str(tmp_path / "new.h5")
    assert main(["import-alberdice", folder, "-o", old]) == 0 and main(["import", "alberdice", folder, "-o", new]) == 0
    assert "2 time limits were flagged as terminals" in " ".join(capsys.readouterr().out.split())
    first, second = read_dataset(Path(old)), read_dataset(Path(new))
    for key, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[key])
    assert main(["import", "--probe", folder]) == 0
    assert "is alberdice: a folder of AlberDICE's npy buffers" in " ".join(capsys.readouterr().out.split())
    assert main(["import", "alberdice", folder, "--probe", folder]) == 1
    assert "--probe imports nothing" in capsys.readouterr().err


def npz(path: Path) -> Path:
    rng, lengths = np.random.default_rng(0), np.full(100, 50)
    parts = {f"obs_{i}": rng.normal(size=(5100, 40)) for i in range(2)}
    parts |= {f"actions_{i}": rng.uniform(-1, 1, (5000, 1)) for i in range(2)}
    np.savez(path, lengths=lengths, terminated=lengths < 0, reward=np.zeros(5000), action_low=-1.0, action_high=1.0,
             **parts)  # fmt: skip
    return path


@pytest.mark.parametrize("name", ["omar", "omiga-mujoco", "numpy"])
def test_importers_stream(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening data and reading all episodes takes a fraction of the data's size."""
    for module in (omar, omiga_mujoco):
        monkeypatch.setattr(module, "_BLOCK", 1 << 16)
    if name == "omar":
        path = save_npy(tmp_path / "data", cheetah(6))
        size = sum(file.stat().st_size for file in path.iterdir())
    else:
        many = robots((40,) * 150, obs=100)  # more than the megabytes that a check of the file takes
        path = save_hdf5(tmp_path / "robots.hdf5", many) if name == "omiga-mujoco" else npz(tmp_path / "log.npz")
        size = path.stat().st_size
    tracemalloc.start()
    try:
        count = sum(1 for _ in open_source(name, path, {}).episodes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count in (6, 150, 100) and peak < 0.4 * size, f"{peak / size:.2f} of the data"
