from pathlib import Path

import pytest

from datasets import names
from datasets.dataset import resolve_dataset, write_dataset
from datasets.names import accepted, dataset_name
from tests.datasets.samples import continuous_arrays, continuous_card
from utils.errors import DatasetError, UserError


def test_names(tmp_path, monkeypatch):
    monkeypatch.setattr(names, "DATA_ROOT", tmp_path)
    arrays, offsets = continuous_arrays([3])
    file = tmp_path / "mpe" / "simple_spread" / "random-100k.h5"
    write_dataset(file, arrays, offsets, continuous_card())
    assert resolve_dataset("mpe/simple_spread/random-100k") == file
    assert resolve_dataset(file) == file
    with pytest.raises(DatasetError, match="did you mean mpe/simple_spread/random-100k"):
        resolve_dataset("mpe/simple_spred/random-100k")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "spread.sh").write_text('#!/bin/sh\nFOLDER="mpe/simple_spread"\nSETS="random expert"\n')
    with pytest.raises(DatasetError, match=r"make it with: sh [\w.-]+/recipes/spread.sh random"):
        resolve_dataset("mpe/simple_spread/random")
    (tmp_path / "mpe" / "simple_spread" / "random.h5").write_bytes(b"")
    with pytest.raises(DatasetError, match="did you mean") as refusal:
        resolve_dataset("mpe/simple_spred/random")
    assert str(refusal.value).count("simple_spread/random ") == 1  # made, and with a recipe
    with pytest.raises(DatasetError, match="no dataset"):
        resolve_dataset(tmp_path / "absent.h5")
    for name in ("absent.h5", "mpe/simple_spread/expert.h5"):  # a recipe's set is not there either
        listed = f"there is no dataset file .*{name}; give the path of an existing file, or a name that .* list' shows"
        with pytest.raises(DatasetError, match=listed):
            resolve_dataset(str(tmp_path / name))
    with pytest.raises(DatasetError, match="random-10k.h5; did you mean mpe/simple_spread/random-100k or"):
        resolve_dataset("mpe/simple_spread/random-10k.h5")
    with pytest.raises(DatasetError, match="neither a dataset name nor a path"):
        resolve_dataset("../../etc/nothing-like-it")


def test_a_path_under_the_data_folder_has_a_name(tmp_path, monkeypatch):
    root = tmp_path / "offline_data"
    (root / "mpe").mkdir(parents=True)
    (root / "README.md").write_text("")
    monkeypatch.setattr(names, "DATA_ROOT", root)
    monkeypatch.chdir(tmp_path)
    for path in (
        "offline_data/mpe/random-1.5k.h5",
        "offline_data/mpe/random-1.5k",
        "./offline_data/../offline_data/mpe/random-1.5k.h5",
        root / "mpe" / "random-1.5k.h5",
        root / "mpe" / "random-1.5k",
    ):
        assert dataset_name(path) == "mpe/random-1.5k"
    for path in ("mpe/random-1.5k", "mpe/random-1.5k.h5", tmp_path / "x.h5", root, root / "mpe", root / "README.md"):
        assert dataset_name(path) is None
    assert dataset_name("offline_data/../x.h5") is None
    monkeypatch.chdir(root / "mpe")
    assert dataset_name("random.h5") == "mpe/random"


def test_links_to_and_from_the_data_folder(tmp_path, monkeypatch):
    root, disk = tmp_path / "offline_data", tmp_path / "disk"
    disk.mkdir()
    root.symlink_to(disk)
    (tmp_path / "shortcut").symlink_to(root)
    monkeypatch.setattr(names, "DATA_ROOT", root)
    (disk / "linked.h5").symlink_to(tmp_path / "elsewhere.h5")
    for path in (root / "linked.h5", root / "a.h5", disk / "a.h5", tmp_path / "shortcut" / "a.h5"):
        assert dataset_name(path) == Path(path).stem
    (tmp_path / "elsewhere.h5").write_bytes(b"")
    assert resolve_dataset("linked") == root / "linked.h5"


def test_without_the_data_folder_only_paths_are_offered(tmp_path, monkeypatch):
    """A stock checkout that is plugged into has neither the folder nor what the recipes name."""
    assert accepted().startswith("a name under offline_data/ or the path")
    monkeypatch.setattr(names, "DATA_ROOT", tmp_path / "offline_data")
    monkeypatch.chdir(tmp_path)
    assert accepted() == "the path of a file that ends in .h5"
    for name in ("mpe/simple_spread/expert", "mpe/simple_spread/random-100k", "lbf.h5"):
        with pytest.raises(DatasetError) as refused:
            resolve_dataset(name)
        assert str(refused.value) == f"there is no dataset '{name}': give {accepted()}, relative to {tmp_path}"
    write_dataset(tmp_path / "lbf.h5", *continuous_arrays([3]), continuous_card())
    assert resolve_dataset("lbf.h5") == Path("lbf.h5")


@pytest.mark.parametrize(
    "text, words",
    [
        ("~nosuchuser/d.h5", "there is no such user here"),
        ("~nosuchuser/d", "there is no such user here"),
        ("a\0b.h5", "must not hold control characters"),
        ("a\0b", "must not hold control characters"),
        ("", "dataset= is empty"),
        ("n" * 300, "file name too long"),
        ("n" * 300 + ".h5", "file name too long"),
        ("a/" * 3000 + "b.h5", "file name too long"),
        ("loop/a.h5", "too many levels of symbolic links"),
        ("file/a.h5", "there is no dataset"),
        ("\x1b[31mred\n.h5", r"dataset=\x1b[31mred .h5"),
    ],
)
def test_a_name_that_no_file_can_have_is_one_sentence(text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").write_text("")
    with pytest.raises(UserError) as refusal:
        resolve_dataset(text)
    assert words in str(refusal.value) and str(refusal.value).isprintable()
