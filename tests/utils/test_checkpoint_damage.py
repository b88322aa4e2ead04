"""Checkpoints that are not what was written, or are none: each refusal is one sentence about the file at fault."""

from __future__ import annotations

import logging
import os
import pickle
import random
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch as th

from tests.utils.test_records import Models, state_at
from utils import checkpoint
from utils.checkpoint import STATE_FILE, check_checkpoint, find_checkpoint, load_state, save_checkpoint
from utils.errors import CheckpointError, UserError
from utils.manifest import MANIFEST, write_manifest
from utils.training_state import ENTRIES, OPTIONAL

FILES = ("agent.th", STATE_FILE, MANIFEST)


def refusal(step: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_state(step)
    sentence = str(caught.value)
    assert "\n" not in sentence and not sentence.endswith(".")
    return sentence


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_and_every_cut_names_its_file_and_the_newest_whole_step(name: str, run: Path) -> None:
    file, chance = run / "20" / name, random.Random(3)
    whole = file.read_bytes()
    broken = [whole[: chance.randrange(len(whole))] for _ in range(10)] + [whole + b"\0"]
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        broken.append(bytes(damaged))
    for content in broken:
        file.write_bytes(content)
        sentence = refusal(run / "20")
        assert sentence.startswith(f"{file} is damaged")
        assert sentence.endswith(f"the newest whole checkpoint is {run / '10'}: name it instead")
    file.write_bytes(whole)
    assert load_state(run / "20") == state_at(20)


@pytest.mark.parametrize("name", [name for name in FILES if name != MANIFEST])
def test_missing_and_swapped_files_are_named(name: str, run: Path) -> None:
    file, other = run / "20" / name, run / "10" / name
    mine, theirs = file.read_bytes(), other.read_bytes()
    file.write_bytes(theirs)
    assert refusal(run / "20").startswith(f"{file} is damaged")
    file.write_bytes(mine)
    file.unlink()
    assert refusal(run / "20").startswith(f"{file} is missing")
    other.write_bytes(mine)
    assert refusal(run / "20").endswith("no other step beside it is whole")


def test_a_model_file_that_was_not_written_with_the_others_is_named(run: Path) -> None:
    (run / "20" / "notes.txt").write_text("mine")
    assert load_state(run / "20") == state_at(20)
    (run / "20" / "critic.th").write_bytes((run / "10" / "agent.th").read_bytes())
    assert refusal(run / "20").startswith(f"{run / '20' / 'critic.th'} is no part of this checkpoint")


def test_the_seed_of_a_damaged_checkpoint_is_not_read(run: Path) -> None:
    (run / "20" / "agent.th").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"agent\.th is damaged"):
        checkpoint.checkpoint_seed(str(run), 0)


def test_a_checkpoint_of_before_loads_with_one_warning(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "20" / MANIFEST).unlink()
    assert checkpoint.checkpoint_seed(str(run), 0) == 7 and load_state(run / "20") == state_at(20)
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING and f"{run / '20'} holds no {MANIFEST}" in warning.message
    (run / "20" / STATE_FILE).write_bytes((run / "20" / STATE_FILE).read_bytes()[:100])
    assert refusal(run / "20").startswith(f"{run / '20' / STATE_FILE} is damaged or no file of tensors")
    (run / "20" / STATE_FILE).unlink()
    with pytest.raises(
        CheckpointError, match="cannot be continued: evaluate it with evaluate=True, or .* load_weights"
    ):
        load_state(run / "20")


WRONG: dict[str, list[Any]] = {
    "t": [-1, 1.5, True, None, "9", 10**400, th.tensor(3), [1]],
    "seed": [-1, 2**32, 0.0, None],
    "learner_name": [None, 3, ["a"]],
    "dataset_checksum": [3, th.zeros(2)],
    "settings": [None, [], {3: 4}, {"a": []}, {"a": th.zeros(2)}],
    "learner": [3, [], "a"],
    "buffer": [None, 3, []],
    "rng": [None, [1]],
    "statistics": [None, [], {"a": 3}, {"a": [3]}, {"a": [[1, 2.0, 3]]}, {"a": [["1", 2.0]]}, {"a": [[1, None]]}],
    "evaluated_for_the_end": [0, None, "True"],
    "evaluation_due": [1, "a"],
    "evaluations": [None, 3, [[1]], [[1.5, 2.0]], {"a": 1}],
    "changed": [None, 3, "a", [1], {"a": 1}],
}


@pytest.mark.parametrize("key", WRONG)
def test_training_states_of_the_wrong_kind_are_refused_by_entry(key: str, run: Path) -> None:
    assert ENTRIES.keys() | OPTIONAL.keys() == WRONG.keys()
    for value in WRONG[key]:
        th.save(state_at(20) | {key: value}, run / "20" / STATE_FILE)
        write_manifest(run / "20")
        assert f"its {key} is not" in refusal(run / "20")


@pytest.mark.parametrize("key", ENTRIES)
def test_training_states_without_an_entry_are_refused(key: str, run: Path) -> None:
    th.save({other: value for other, value in state_at(20).items() if other != key}, run / "20" / STATE_FILE)
    write_manifest(run / "20")
    assert f"lacks {key}, so it is no training state of this release" in refusal(run / "20")


def as_pipe(path: Path) -> None:
    os.mkfifo(path)


def as_folder(path: Path) -> None:
    path.mkdir()


def as_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's address is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def as_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [as_pipe, as_folder, as_socket, as_link_to_a_device])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("listed", [True, False])
def test_what_is_no_regular_file_is_refused_at_once(
    make: Callable[[Path], None], name: str, listed: bool, run: Path
) -> None:
    if not listed:
        (run / "20" / MANIFEST).unlink()
    (run / "20" / name).unlink(missing_ok=True)
    make(run / "20" / name)
    assert refusal(run / "20").startswith(f"{run / '20' / name} is no regular file; the newest whole")


def test_links_are_read_and_dangling_ones_are_the_operating_systems_error(run: Path) -> None:
    file = run / "20" / "agent.th"
    file.rename(run / "elsewhere")
    file.symlink_to(run / "elsewhere")
    assert load_state(run / "20") == state_at(20)
    (run / "elsewhere").unlink()
    assert refusal(run / "20").startswith(f"cannot read {file} (no such file or directory)")
    file.unlink()
    file.symlink_to(file)
    assert refusal(run / "20").startswith(f"cannot read {file} (too many levels of symbolic links)")


@pytest.mark.parametrize("call", ["open", "stat", "listdir"])
def test_what_may_not_be_read_is_not_called_damaged(call: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without read permission, a folder without permission to enter it, a folder that may not be listed."""

    def refuse(path: Any, *rest: Any, **more: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    module = checkpoint.os
    monkeypatch.setattr(module, call, refuse)
    sentence = refusal(run / "20")
    monkeypatch.undo()
    assert sentence.startswith(f"cannot read {run / '20'}") and "(permission denied)" in sentence
    assert "damaged" not in sentence


@pytest.mark.parametrize("name", ["000", "0" * 30 + "9", "²", "٣", "9" * 5000, "-1", "1e3", "1_0", " 7", "10 "])
def test_other_names_are_no_steps(name: str, run: Path, tmp_path: Path) -> None:
    if len(name) < 255:
        (run / name).mkdir()
        (tmp_path / "other" / name).mkdir(parents=True)
        with pytest.raises(CheckpointError, match="holds no step directories"):
            find_checkpoint(str(tmp_path / "other"), 0)
    assert find_checkpoint(str(run), 0) == run / "20" and find_checkpoint(str(run), 10**4000) == run / "20"


@pytest.mark.parametrize("path", ["~nosuchuser/x", "a\0b", "x" * 5000, "/dev/null", "no\x1b[31m\nsuch"])
def test_paths_that_are_none_are_refused(path: str) -> None:
    with pytest.raises(UserError) as caught:
        find_checkpoint(path, 0)
    assert str(caught.value).isprintable()


class Opens:
    """An object whose unpickling would run a program."""

    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/unpickled-by-a-checkpoint",)


class Fills:
    """An object whose unpickling would fill memory from a few bytes."""

    def __reduce__(self) -> Any:
        return bytearray, (10**11,)


def nested() -> list[Any]:
    """A list that is small in memory and endless to walk through."""
    value: list[Any] = ["ha"]
    for _ in range(60):
        value = [value] * 20
    return value


def endless() -> list[Any]:
    value: list[Any] = []
    value.extend([value] * 1000)
    return value


@pytest.mark.parametrize(
    "content",
    [Path("an object"), Opens(), Fills(), nested(), endless(), {1, 2}, 3 + 4j, th.nn.Linear(2, 2), [1] * 3,
     th.zeros(3).to_sparse(), th.zeros(1).expand(10**12)],
    ids=lambda content: type(content).__name__,
)  # fmt: skip
@pytest.mark.parametrize("name", ["agent.th", STATE_FILE])
def test_nothing_is_unpickled_and_nothing_larger_than_its_file(content: Any, name: str, run: Path) -> None:
    th.save({"t": content} | state_at(20) if name == STATE_FILE else content, run / "20" / name)
    if name == STATE_FILE:
        th.save(state_at(20) | {"statistics": content}, run / "20" / name)
    write_manifest(run / "20")
    if isinstance(content, list) and len(content) == 3 and name == "agent.th":
        check_checkpoint(run / "20")  # plain values, which the controller refuses
    else:
        assert str(run / "20" / name) in refusal(run / "20")
    assert not Path("/tmp/unpickled-by-a-checkpoint").exists()


def rewritten(file: Path, change: Callable[[bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Write the archive anew with another pickle in it."""
    with zipfile.ZipFile(file) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, change(content) if name.endswith("data.pkl") else content)


def test_lies_about_sizes_allocate_nothing(run: Path) -> None:
    """A storage, a tensor and an archive that declare more than is there."""
    file = run / "20" / "agent.th"
    for old, new in (
        (b"cpuq\x06K\x03t", b"cpuq\x06\x8a\x05" + (10**11).to_bytes(5, "little") + b"t"),
        (b"K\x03\x85q", b"\x8a\x05" + (10**11).to_bytes(5, "little") + b"\x85q"),
    ):
        save_checkpoint(run, 20, Models(1.0), state_at(20))
        content = zipfile.ZipFile(file).read("agent/data.pkl")
        assert content.count(old) == 1
        rewritten(file, lambda raw, old=old, new=new: raw.replace(old, new))  # type: ignore[misc]
        write_manifest(run / "20")
        assert str(file) in refusal(run / "20")
    th.save({"w": th.zeros(10**6)}, file)
    rewritten(file, bytes, zipfile.ZIP_DEFLATED)
    write_manifest(run / "20")
    assert file.stat().st_size < 10**5 and f"{file} declares more than the" in refusal(run / "20")


def test_pickles_and_other_files_are_no_checkpoints(run: Path) -> None:
    for content in (pickle.dumps({"w": 1}), b"", b"PK\3\4", os.urandom(300)):
        (run / "20" / "agent.th").write_bytes(content)
        write_manifest(run / "20")
        assert refusal(run / "20").startswith(f"{run / '20' / 'agent.th'} is damaged or no file of tensors")
