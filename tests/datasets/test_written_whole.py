"""Dataset files are written whole or not at all: writers that are killed, full disks, names that are taken."""

import errno
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from datasets.dataset import read_dataset, write_dataset
from datasets.output import NameTakenError, clear_datasets
from tests.datasets.disks import limited, small_disk
from tests.datasets.samples import continuous_arrays, continuous_card
from utils.errors import DatasetError, OutputError

SRC = Path(__file__).resolve().parents[2] / "src"


def test_unwritable_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    arrays, offsets = continuous_arrays([3])
    with pytest.raises(OutputError, match="cannot write"):
        write_dataset(tmp_path / "file" / "d.h5", arrays, offsets, continuous_card())


@pytest.mark.parametrize("moment", ["h5py.Group.create_dataset", "os.replace"], ids=["first array", "last moment"])
def test_killed_writer_leaves_no_half_file(tmp_path, moment):
    path = tmp_path / "killed.h5"
    script = (
        "import os, signal, sys; sys.path[:0] = sys.argv[2:]\n"
        "import h5py\n"
        "from samples import continuous_arrays, continuous_card\n"
        "from datasets.dataset import write_dataset\n"
        f"{moment} = lambda *_, **more: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_dataset(sys.argv[1], *continuous_arrays([3]), continuous_card())\n"
    )
    command = [sys.executable, "-c", script, str(path), str(SRC), str(Path(__file__).parent)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    (remains,) = tmp_path.iterdir()
    assert remains.name.startswith(".killed.h5.") and remains.name.endswith(".writing")
    arrays, offsets = continuous_arrays([3])
    write_dataset(path, arrays, offsets, continuous_card())
    assert read_dataset(path).n_episodes == 1
    assert [file.name for file in tmp_path.iterdir()] == ["killed.h5"]


def test_a_failing_write_keeps_the_old_file(written, monkeypatch):
    path, *_ = written
    before = path.read_bytes()
    arrays, offsets = continuous_arrays([2])
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OutputError, match="no space left"):
        write_dataset(path, arrays, offsets, continuous_card())
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def check_full_disk(folder, message):
    """A write that the disk refuses is one sentence, leaves nothing, and the process and its next write are sound."""
    arrays, offsets = continuous_arrays([100] * 20)
    with pytest.raises(OutputError, match=message) as refusal:
        write_dataset(folder / "d.h5", arrays, offsets, continuous_card(), compression=0)
    assert "\n" not in str(refusal.value) and str(folder / "d.h5") in str(refusal.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, 100, 3000, 50_000, 100_000, 190_000])
def test_a_disk_that_is_full_is_one_sentence_at_whatever_byte(tmp_path, size):
    with limited(resource.RLIMIT_FSIZE, size):
        check_full_disk(tmp_path, "cannot write .*file too large")
    write_dataset(tmp_path / "d.h5", *continuous_arrays([100] * 20), continuous_card(), compression=0)
    assert (tmp_path / "d.h5").stat().st_size > 190_000


@pytest.mark.parametrize("kilobytes", [4, 16, 100, 180])
def test_a_small_disk_is_one_sentence(kilobytes):
    with small_disk(kilobytes) as disk:
        check_full_disk(disk, "cannot write .*no space left on device")


def test_an_old_dataset_stays_where_its_replacement_does_not_fit(tmp_path):
    write_dataset(tmp_path / "d.h5", *continuous_arrays([3]), continuous_card())
    before = (tmp_path / "d.h5").read_bytes()
    with limited(resource.RLIMIT_FSIZE, 50_000), pytest.raises(OutputError, match="cannot write"):
        write_dataset(tmp_path / "d.h5", *continuous_arrays([100] * 20), continuous_card(), compression=0)
    assert (tmp_path / "d.h5").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def together(count, work):
    """Results of `work(number)` in processes that start it at one moment; exceptions by the names of their types."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(count), context.Queue()

    def run(number):
        barrier.wait()
        try:
            results.put((number, work(number)))
        except Exception as error:
            results.put((number, type(error).__name__))

    processes = [context.Process(target=run, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    return [found[number] for number in range(count)]


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
@pytest.mark.parametrize("attempt", range(10))
def test_of_two_writers_one_gets_the_name_and_the_other_is_refused(tmp_path, attempt, links, monkeypatch):
    if not links:
        monkeypatch.setattr(os, "link", refuse(errno.EPERM))

    def work(number):
        arrays, offsets = continuous_arrays([3 + number])
        return write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card(), replace=False)["checksum"]

    found = together(2, work)
    assert found.count("NameTakenError") == 1
    assert read_dataset(tmp_path / "d.h5").card["checksum"] in found
    assert [file.name for file in tmp_path.iterdir()] == ["d.h5"]


@pytest.mark.parametrize("attempt", range(3))
def test_writers_that_may_replace_leave_one_whole_file(tmp_path, attempt):
    def work(number):
        arrays, offsets = continuous_arrays([3 + number])
        return write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card())["checksum"]

    found = together(4, work)
    assert read_dataset(tmp_path / "d.h5").card["checksum"] in found and len(set(found)) == 4
    assert [file.name for file in tmp_path.iterdir()] == ["d.h5"]


def refuse(number):
    def call(*_, **more):
        raise OSError(number, os.strerror(number))

    return call


def test_a_name_that_is_taken_at_the_last_moment_is_refused(tmp_path, monkeypatch):
    path, link = tmp_path / "d.h5", os.link

    def late(*arguments, **more):
        path.write_text("of another program")
        link(*arguments, **more)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(NameTakenError, match="exists already"):
        write_dataset(path, *continuous_arrays([3]), continuous_card(), replace=False)
    assert path.read_text() == "of another program" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize(
    "kind, make",
    [
        ("a folder", Path.mkdir),
        ("a named pipe", os.mkfifo),
        ("a device", lambda path: path.symlink_to("/dev/null")),
        ("a named pipe", lambda path: (os.mkfifo(f"{path}.pipe"), path.symlink_to(f"{path}.pipe"))),
    ],
)
def test_what_is_no_plain_file_is_never_replaced_by_a_dataset(tmp_path, kind, make, replace):
    make(tmp_path / "d.h5")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DatasetError, match=f"d.h5 is {kind}"):
        write_dataset(tmp_path / "d.h5", *continuous_arrays([3]), continuous_card(), replace=replace)
    assert sorted(tmp_path.iterdir()) == before


def test_a_link_that_leads_nowhere_takes_the_name(tmp_path):
    (tmp_path / "d.h5").symlink_to(tmp_path / "victim")
    with pytest.raises(NameTakenError):
        write_dataset(tmp_path / "d.h5", *continuous_arrays([3]), continuous_card(), replace=False)
    write_dataset(tmp_path / "d.h5", *continuous_arrays([3]), continuous_card())
    assert not (tmp_path / "victim").exists() and not (tmp_path / "d.h5").is_symlink()


def test_remains_of_killed_writers_are_removed_and_nothing_else(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".d.h5.tmp").symlink_to(tmp_path / "victim")  # what an earlier release wrote through
    for name in (".other.h5.tmp", ".other.h5.0a1b2c3d.writing"):
        (tmp_path / name).write_bytes(bytes(100))
    stay = (".notes.tmp", "a.h5.tmp", ".vimrc", "a.h5.writing")
    for name in stay:
        (tmp_path / name).write_text("mine")
    write_dataset(tmp_path / "d.h5", *continuous_arrays([3]), continuous_card())
    assert {file.name for file in tmp_path.iterdir()} == {"d.h5", "victim", ".d.h5.tmp", *stay}
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_living_writer_of_an_earlier_release_keeps_its_file(tmp_path):
    with h5py.File(tmp_path / ".d.h5.tmp", "w"):
        clear_datasets(tmp_path / "d.h5")
        assert (tmp_path / ".d.h5.tmp").exists()
    clear_datasets(tmp_path / "d.h5")
    assert not (tmp_path / ".d.h5.tmp").exists()


def test_a_name_of_any_length_that_a_file_may_have_is_written(tmp_path):
    path = tmp_path / f"{'n' * 252}.h5"
    write_dataset(path, *continuous_arrays([3]), continuous_card())
    assert read_dataset(path).n_episodes == 1
    with pytest.raises(OutputError, match="file name too long"):
        write_dataset(tmp_path / f"{'n' * 253}.h5", *continuous_arrays([3]), continuous_card())


def test_an_interrupt_while_the_disk_writes_comes_through(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.output.open", lambda *_, **more: Interrupting(), raising=False)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "d.h5", *continuous_arrays([3]), continuous_card())
    assert list(tmp_path.iterdir()) == []


class Interrupting:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def write(self, content):
        raise KeyboardInterrupt

    def seek(self, offset, whence=0):
        return offset

    def tell(self):
        return 0
