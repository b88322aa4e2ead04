import errno
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from datasets.dataset import read_dataset, resolve_dataset, write_dataset
from datasets.faults import reading_error
from tests.datasets.disks import no_free_descriptors, open_folder, without_rights
from tests.datasets.samples import continuous_arrays, continuous_card, forge, particle_world
from utils.errors import DatasetError, UserError


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
        ({"shapes": {}}, "shapes.n_agents is None"),
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


def check_said(path, words, read=read_dataset):
    """Reading `path` is refused in one line with `words`, which do not call the file damaged."""
    with pytest.raises(UserError) as refusal:
        read(path)
    said = str(refusal.value)
    assert words in said and "\n" not in said
    assert not any(word in said for word in ("damaged", "truncated", "collect", "fetch"))


def test_a_file_that_another_program_writes_is_said_to_be_held_open(written):
    path, *_ = written
    script = f"import h5py; file = h5py.File({str(path)!r}, 'r+'); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as holder:
        holder.stdout.readline()
        check_said(path, "is held open by another program")
        holder.communicate(b"\n")
    assert read_dataset(path).n_episodes == 3


def test_a_file_whose_writer_left_its_mark_is_said_so(tmp_path):
    """HDF5 writes it with its latest format; it stays where the writer was killed."""
    path = tmp_path / "d.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.swmr_mode = True
        file.flush()
        marked = path.read_bytes()
    path.write_bytes(marked)
    check_said(path, "is marked as being written by another program")


@pytest.mark.parametrize("read", [read_dataset, resolve_dataset])
@pytest.mark.parametrize("closed", ["file", "folder"])
def test_a_file_without_read_permission_is_said_so(closed, read):
    with open_folder() as folder:
        path = folder / "inner" / "d.h5"
        write_dataset(path, *continuous_arrays([3]), continuous_card())
        os.chmod(path if closed == "file" else path.parent, 0)
        with without_rights():
            if closed == "folder" or read is read_dataset:
                check_said(path, "permission denied", read)
        os.chmod(path.parent, 0o755)


def test_a_failing_disk_is_said_so(tmp_path):
    (tmp_path / "d.h5").symlink_to("/proc/self/mem")  # reading its first bytes is an input/output error
    check_said(tmp_path / "d.h5", "(input/output error); check the disk")


def test_too_many_open_files_are_said_so(written):
    path, *_ = written
    with no_free_descriptors():
        check_said(path, "(too many open files); close other files, or raise the limit")
    assert read_dataset(path).n_episodes == 3


@pytest.mark.parametrize(
    "error, words",
    [
        (KeyError("Unable to open object (file read failed: time = now\n, errno = 5, error = x)"), "input/output"),
        (RuntimeError("file read failed: errno = 116, error message = 'Stale file handle'"), "stale file handle"),
        (OSError("Can't read data (memory allocation failed for chunk)"), "too little memory"),
        (MemoryError("Unable to allocate 3 GiB"), "too little memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "cannot allocate memory"),
    ],
)
def test_what_hdf5_says_of_the_operating_system_in_its_text_is_found(error, words):
    said = str(reading_error(Path("d.h5"), error))
    assert words in said and "damaged" not in said and "\n" not in said


@pytest.mark.parametrize("error", [OSError("wrong B-tree signature\n"), OSError(errno.EINVAL, "read failed")])
def test_an_address_beyond_the_file_is_damage(error):
    said = str(reading_error(Path("d.h5"), error))
    assert "damaged" in said and "\n" not in said


@pytest.mark.parametrize("read", [read_dataset, resolve_dataset])
@pytest.mark.parametrize(
    "kind, make",
    [
        ("a folder", Path.mkdir),
        ("a named pipe", os.mkfifo),
        ("a device", lambda path: path.symlink_to("/dev/zero")),
        ("a named pipe", lambda path: (os.mkfifo(f"{path}.pipe"), path.symlink_to(f"{path}.pipe"))),
    ],
)
def test_what_is_no_plain_file_is_not_read(tmp_path, kind, make, read):
    make(tmp_path / "d.h5")
    with pytest.raises(DatasetError, match=f"d.h5 is {kind}, not a dataset"):
        read(tmp_path / "d.h5")


@pytest.mark.parametrize("name", ["format", "format_version", "card"])
@pytest.mark.parametrize("kind", ["missing", "float", "array", "empty", "bytes", "reference", "compound", "no text"])
def test_an_attribute_of_another_kind_is_refused(written, name, kind):
    path, *_ = written
    with h5py.File(path, "r+") as file:
        values = {
            "float": 1.5,
            "array": np.arange(3),
            "empty": h5py.Empty("f4"),
            "bytes": np.void(b"ab"),
            "reference": file.ref,
            "compound": np.zeros((), [("a", "i4")]),
            "no text": b"\xff\xfe",
        }
        del file.attrs[name]
        if kind != "missing":
            file.attrs[name] = values[kind]
    with pytest.raises(DatasetError, match="not a dataset of this project|format version|not valid JSON"):
        read_dataset(path)


@pytest.mark.parametrize("kind", ["text", "compound", "opaque", "group", "soft link", "enum", "complex", "reference"])
def test_an_entry_of_another_kind_is_refused(written, kind):
    path, *_ = written
    with h5py.File(path, "r+") as file:
        del file["reward"]
        values = {
            "text": "abc",
            "compound": np.zeros(12, [("a", "i4")]),
            "opaque": np.zeros(12, "V3"),
            "soft link": h5py.SoftLink("/nothing"),
            "enum": np.zeros(12, bool),
            "complex": np.zeros(12, complex),
        }
        if kind == "group":
            file.create_group("reward")
        elif kind == "reference":
            file.create_dataset("reward", (12,), h5py.ref_dtype)
        else:
            file["reward"] = values[kind]
    with pytest.raises(DatasetError, match="'reward'.*plain array"):
        read_dataset(path)


def test_no_cache_is_left_of_a_dataset_that_is_refused(written):
    path, *_ = written
    forge(path, {"obs_mean": [[0.0] * 4] * 3})
    with pytest.raises(DatasetError, match="obs_mean"):
        read_dataset(path, memory_map=True)
    assert [entry.name for entry in path.with_name(f"{path.name}.cache").iterdir()] == ["lock"]
