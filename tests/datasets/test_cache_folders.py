"""The folder of a memory-mapped cache: several makers, killed ones, disks that refuse, what others have there."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datasets.dataset import read_dataset, write_dataset
from tests.datasets.disks import limited, no_free_descriptors, open_folder, small_disk, without_rights
from tests.datasets.samples import continuous_card, flip, particle_world
from utils.errors import DatasetError, OutputError

SRC = Path(__file__).resolve().parents[2] / "src"


def test_runs_that_start_together_share_one_cache(tmp_path):
    arrays, offsets = particle_world(50)
    write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card())
    script = "import sys; sys.path.insert(0, sys.argv[2])\n" + (
        "from datasets.dataset import read_dataset\n"
        "print(float(read_dataset(sys.argv[1], memory_map=True).arrays['obs'].sum()))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "d.h5"), str(SRC)]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    sums = {reader.communicate(timeout=120)[0] for reader in readers}
    assert len(sums) == 1 and all(reader.returncode == 0 for reader in readers)


def everything(folder):
    """What is below a folder, with the content of its files; links are not followed."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("size", [0, 100, 1000, 100_000, 250_000])
def test_a_disk_too_small_for_the_cache_is_one_sentence_and_keeps_nothing(uncached, size):
    with limited(resource.RLIMIT_FSIZE, size), pytest.raises(OutputError) as refusal:
        read_dataset(uncached, memory_map=True)
    assert "cannot write the memory-mapped cache" in str(refusal.value) and "(file too large)" in str(refusal.value)
    assert [file.name for file in Path(f"{uncached}.cache").iterdir()] == ["lock"]
    assert isinstance(read_dataset(uncached, memory_map=True).arrays["obs"], np.memmap)


@pytest.mark.parametrize("spare", [8, 50, 200, 280])
def test_a_full_disk_beside_the_dataset_is_one_sentence(uncached, spare):
    size = uncached.stat().st_size // 1024
    with small_disk(size + spare + 8) as disk:
        shutil.copy(uncached, disk / "d.h5")
        with pytest.raises(OutputError, match="cannot write the memory-mapped cache .*no space left on device"):
            read_dataset(disk / "d.h5", memory_map=True)
        assert [path.name for path in disk.rglob("*") if path.is_file()] == ["d.h5", "lock"]
        assert read_dataset(disk / "d.h5").n_episodes == 50


@pytest.mark.parametrize("moment", ["cache_files.reserve", "os.rename"], ids=["first array", "last moment"])
def test_a_killed_maker_of_a_cache_leaves_what_the_next_one_removes(uncached, moment):
    script = (
        "import os, signal, sys; sys.path[:0] = sys.argv[2:]\n"
        "from datasets import cache_files\n"
        "from datasets.dataset import read_dataset\n"
        f"{moment} = lambda *_, **more: os.kill(os.getpid(), signal.SIGKILL)\n"
        "read_dataset(sys.argv[1], memory_map=True)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(uncached), str(SRC)]).returncode == -signal.SIGKILL
    folder = Path(f"{uncached}.cache")
    assert len([path for path in folder.iterdir() if path.name.endswith(".writing")]) == 1
    read_dataset(uncached, memory_map=True)
    assert not [path for path in folder.iterdir() if path.name.endswith(".writing")]


def test_what_a_killed_maker_of_an_earlier_release_left_is_removed(uncached):
    building = Path(f"{uncached}.cache") / "building"
    building.mkdir(parents=True)
    for name in ("obs.npy", "actions.npy"):
        (building / name).write_bytes(bytes(1000))
    read_dataset(uncached, memory_map=True)
    assert not building.exists()


def test_an_error_of_the_operating_system_is_no_damage_of_the_cache(cached, caplog):
    path, _, folder = cached
    before = everything(folder.parent)
    with no_free_descriptors(), pytest.raises(DatasetError, match="too many open files"):
        read_dataset(path, memory_map=True)
    assert everything(folder.parent) == before and not caplog.records


@pytest.mark.parametrize("name", ["obs.npy", "manifest.json", "."])
def test_a_cache_without_read_permission_is_no_damage(cached, caplog, name):
    with open_folder() as place:
        own = place / "data"
        shutil.copytree(cached[0].parent, own)
        os.chmod(own, 0o755)
        path, folder = own / cached[0].name, own / cached[2].relative_to(cached[0].parent)
        os.chmod(folder / name, 0)
        with without_rights(), pytest.raises(DatasetError, match="permission denied.* memory-mapped cache"):
            read_dataset(path, memory_map=True)
        os.chmod(folder / name, 0o755)
        assert (folder / "reward.npy").exists() and not caplog.records


def test_a_limit_of_the_address_space_deletes_no_cache(cached):
    path, _, folder = cached
    before = everything(folder.parent)
    script = (
        "import resource, sys; sys.path.insert(0, sys.argv[2])\n"
        "from datasets.dataset import read_dataset\n"
        "from utils.errors import UserError\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "refused = set()\n"
        "for spare in range(0, 20_000_000, 100_000):\n"
        "    resource.setrlimit(resource.RLIMIT_AS, (used + spare, -1))\n"
        "    try:\n"
        "        read_dataset(sys.argv[1], memory_map=True)\n"
        "        break\n"
        "    except UserError as error:\n"
        "        refused.add(str(error))\n"
        "print('\\n'.join(sorted(refused)))\n"
    )
    found = subprocess.run([sys.executable, "-c", script, path, SRC], capture_output=True, text=True, check=True)
    assert "memory" in found.stdout and "damaged" not in found.stdout
    assert everything(folder.parent) == before


def test_only_what_a_manifest_of_ours_names_is_removed(cached):
    path, loaded, folder = cached
    parent = folder.parent
    for name in ("results", "0123456789abcdef", "building", "0123456789abcdef-2"):
        (parent / name).mkdir()
        (parent / name / "mine.txt").write_text("mine")
    (parent / "0123456789abcdef" / "manifest.json").write_text('{"../../d.h5": {"size": 1, "sha256": "x"}}')
    (parent / "0123456789abcdef-2" / "manifest.json").write_text('{"mine.txt": {"size": 1, "sha256": "x"}}')
    (parent / "fedcba9876543210").symlink_to(parent / "results")
    (folder / "mine.txt").write_text("mine")
    before = everything(parent)
    flip(folder / "obs.npy")
    mapped = read_dataset(path, memory_map=True).arrays
    assert np.array_equal(mapped["obs"], loaded["obs"])
    named = [*json.loads(before[f"{folder.name}/manifest.json"]), "manifest.json"]
    ours = {f"{folder.name}/{name}" for name in named}
    after = everything(parent)
    assert {name: content for name, content in before.items() if name not in ours}.items() <= after.items()
    assert not ours & set(after)  # the damaged one's; the new one is in a folder of its own
    assert path.is_file() and (parent / f"{folder.name}-2" / "obs.npy").is_file()


def test_a_cache_folder_that_is_a_link_keeps_what_others_have_there(uncached, tmp_path):
    target = tmp_path / "disk"
    (target / "project" / "building").mkdir(parents=True)
    (target / "building").mkdir()
    for name in ("project/notes.txt", "project/building/obs.npy", "building/obs.npy"):
        (target / name).write_text("mine")
    Path(f"{uncached}.cache").symlink_to(target)
    other = tmp_path / "other.h5"
    write_dataset(other, *particle_world(10), continuous_card())
    Path(f"{other}.cache").symlink_to(target)
    before = everything(target)
    for path in (uncached, other, uncached, other):
        assert isinstance(read_dataset(path, memory_map=True).arrays["obs"], np.memmap)
    after = everything(target)
    assert before.items() <= after.items()
    assert len([name for name in after if name.endswith("manifest.json")]) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda file: file.symlink_to("/dev/zero"),
        os.mkfifo,
        Path.mkdir,
        lambda file: file.symlink_to(f"{file}.aside"),
    ],
)
@pytest.mark.parametrize("name", ["obs.npy", "manifest.json"])
def test_odd_files_in_a_cache_neither_hang_nor_are_followed(cached, name, make):
    path, loaded, folder = cached
    (folder / name).rename(folder / f"{name}.aside")
    make(folder / name)
    try:
        mapped = read_dataset(path, memory_map=True).arrays
    except DatasetError as error:
        assert "cannot read" in str(error) and name == "manifest.json"
    else:
        assert np.array_equal(mapped["obs"], loaded["obs"])
    assert (folder / f"{name}.aside").exists()


def test_the_lock_of_a_cache_is_not_written_through_a_link(uncached, tmp_path):
    (tmp_path / "victim").write_text("mine")
    Path(f"{uncached}.cache").mkdir()
    (Path(f"{uncached}.cache") / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OutputError, match="cannot write the memory-mapped cache .*symbolic link"):
        read_dataset(uncached, memory_map=True)
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.parametrize("make", [Path.write_bytes, os.mkfifo], ids=["file", "named pipe"])
def test_a_cache_that_is_no_folder_is_one_sentence(uncached, make):
    make(Path(f"{uncached}.cache"), *([b""] if make is Path.write_bytes else []))
    with pytest.raises(OutputError, match="cannot write the memory-mapped cache .*exists"):
        read_dataset(uncached, memory_map=True)


@pytest.mark.parametrize("target", ["nowhere", "d.h5.cache"], ids=["to nothing", "to itself"])
def test_a_cache_that_is_a_link_to_no_folder_is_said_so(uncached, target):
    Path(f"{uncached}.cache").symlink_to(target)
    with pytest.raises(OutputError, match="is a link that leads to no folder; make that folder, or delete the link"):
        read_dataset(uncached, memory_map=True)
    assert sorted(file.name for file in uncached.parent.iterdir()) == ["d.h5", "d.h5.cache"]
