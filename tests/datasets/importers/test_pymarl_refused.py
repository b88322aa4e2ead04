"""PyMARL's padded episodes that are malformed or mislead: each refusal is one sentence."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from datasets.importers.pymarl import IMPORTER
from datasets.importers.run import probe
from tests.datasets.importers.foreign import imported, refused
from tests.datasets.importers.padded import T, batch, icq, npz, write_h5
from utils.errors import DatasetError


def edit(key: str, index: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda arrays: arrays[key].__setitem__(index, value)


def replace(key: str, make: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda arrays: arrays.__setitem__(key, make(arrays[key]))


DAMAGE: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda arrays: arrays.pop("reward"), "lacks 'reward'; PyMARL's episodes have obs, actions"),
    (lambda arrays: arrays.pop("terminated"), "lacks 'terminated'"),
    (replace("state", lambda a: a[:2]), r"'state' in .* has shape \(2, 7, 7\); beside obs .* must be \(3, 7, S\)"),
    (replace("reward", lambda a: a[:, :-1]), r"'reward' in .* has shape \(3, 6, 1\)"),
    (replace("actions", lambda a: a[:, :, :1]), r"'actions' in .* must be \(3, 7, 2, A\)"),
    (replace("actions", lambda a: np.concatenate([a, a], -1)), "are whole numbers, 2 an agent"),
    (
        replace("actions_onehot", lambda a: a[..., :4]),
        "and 'actions_onehot' in .* have other numbers of actions",
    ),
    (edit("obs", (1, 2), np.nan), "episode 1 of .*: obs holds a value that is not finite .* on row 2"),
    (edit("reward", (1, 2), np.inf), "episode 1 of .*: 'reward' holds a value that is not finite on row 2"),
    (
        lambda arrays: (arrays.pop("actions_onehot"), edit("actions", (1, 2), 5)(arrays)),
        r"episode 1 of .*: actions is not in 0..4 on row 2",
    ),
    (
        replace("actions_onehot", lambda a: np.roll(a, 1, axis=1)),
        "'actions' of agent . is . on row . and 'actions_onehot' says ., so one of the columns is shifted",
    ),
    (edit("avail_actions", (1, 2, 0, 0), 2), "episode 1 of .*: 'avail_actions' is 2 on row 2; it must be 0 or 1"),
    (edit("avail_actions", (1, 2), 0), "episode 1 of .*: actions was not available by avail_actions on row 2"),
    (edit("filled", (1, 2), 0), "episode 1 of .*: 'filled' must be ones from the first row on, then zeros"),
    (edit("filled", (1,), 0), "episode 1 of .*: 'filled' must be ones"),
    (edit("terminated", (1, 1), 1), "episode 1 of .*: 'terminated' is 1 on row 1, and 'filled' has 6 rows"),
    (edit("terminated", (1, 4), 7), "episode 1 of .*: 'terminated' is 7 on row 4; it must be 0 or 1"),
    (edit("reward", (1, 5), 20), "episode 1 of .*: 'reward' is not 0 on row 5, behind the step into the terminal, so"),
    (
        lambda arrays: arrays.update(actions=arrays["actions_onehot"]),
        r"'actions' in .* are one-hot codes of 5 actions; store the actions' indices: actions.argmax\(-1\)",
    ),
    (replace("obs", lambda a: a.astype("S4")), "'obs' in .* is no array of numbers that lies in this file"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_malformed_files_are_one_sentence(
    damage: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path
) -> None:
    arrays: dict[str, Any] = batch()
    damage(arrays)
    refused("pymarl", write_h5(tmp_path / "a.h5", arrays), tmp_path, message)


def test_numbers_that_are_no_actions(tmp_path: Path) -> None:
    arrays = batch()
    arrays["actions"] = arrays["actions"].astype(np.float32)
    source = write_h5(tmp_path / "floats.h5", arrays)
    assert imported("pymarl", source, tmp_path).card["action_space"] == "discrete"
    arrays["actions"][1, 2, 0] = 0.5
    refused("pymarl", write_h5(source, arrays), tmp_path, "episode 1 of .*: 'actions' is no whole number on row 2")


def test_how_many_actions_there_are_must_be_told(tmp_path: Path) -> None:
    arrays = {key: array for key, array in batch().items() if key not in ("avail_actions", "actions_onehot")}
    source = write_h5(tmp_path / "a.h5", arrays)
    refused("pymarl", source, tmp_path, "no 'avail_actions' that tells how many actions there are; add --n-actions")
    assert imported("pymarl", source, tmp_path, n_actions="5").card["n_actions"] == 5
    with pytest.raises(DatasetError, match="--n-actions is 'five'; it must be a whole number"):
        IMPORTER.open(source, {"n_actions": "five"})


def test_parts_must_be_alike(tmp_path: Path) -> None:
    arrays = batch()
    write_h5(tmp_path / "parts" / "part_0.h5", arrays)
    write_h5(tmp_path / "parts" / "part_1.h5", arrays | {"obs": arrays["obs"][..., :2]})
    refused("pymarl", tmp_path / "parts", tmp_path, "part_1.h5 has other arrays, sizes or types than .*part_0.h5")


def linked(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["obs"]
        file["obs"] = h5py.ExternalLink("elsewhere.h5", "/obs")


def outside(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["obs"]
        file.create_dataset("obs", (3, T, 2, 4), "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def virtual(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["obs"]
        layout = h5py.VirtualLayout((3, T, 2, 4), "f4")
        layout[:] = h5py.VirtualSource("elsewhere.h5", "obs", (3, T, 2, 4))
        file.create_virtual_dataset("obs", layout)


def hollow(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["obs"]
        file.create_dataset("obs", (1 << 40, T, 2, 4), "f4", chunks=True)


def bomb(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["obs"]
        entry = file.create_dataset("obs", (1 << 17, T, 128, 4), "f4", chunks=(1 << 10, T, 128, 4), compression="gzip")
        entry[: 1 << 10] = 0
        mask, stored = entry.id.read_direct_chunk((0, 0, 0, 0))
        for start in range(1 << 10, 1 << 17, 1 << 10):
            entry.id.write_direct_chunk((start, 0, 0, 0), stored, mask)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (linked, "'obs' in .* is a link, and links are not followed"),
        (outside, "'obs' in .* is no array of numbers that lies in this file"),
        (virtual, "'obs' in .* is no array of numbers that lies in this file"),
        (hollow, "obs in .* declares shape .* and the file holds 0 bytes of it"),
        (bomb, "declares arrays of 1.88 GB and holds .* over 100 times less"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "truncated, damaged or of another kind"),
        (lambda path: path.write_bytes(pickle.dumps({"obs": 1})), "truncated, damaged or of another kind"),
    ],
)
def test_files_that_mislead(damage: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", batch())
    damage(path)
    refused("pymarl", path, tmp_path, message)


def zeros_that_are_a_gigabyte(path: Path) -> None:
    header = b"\x93NUMPY\x01\x00v\x00" + repr(
        {"descr": "<f4", "fortran_order": False, "shape": (1 << 14, T, 2, 4096)}
    ).encode().ljust(0x75).ljust(0x76, b"\n")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("obs.npy", "w") as member:
        member.write(header)
        for _ in range(64):
            member.write(bytes(1 << 18))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "no npz archive, or a truncated one"),
        (lambda path: np.savez(path, **(batch() | {"obs": np.array([{}])})), "'obs' in .* is of type object"),
        (zeros_that_are_a_gigabyte, "declares arrays of .* GB and holds .* over 100 times less"),
        (lambda path: path.write_bytes(path.read_bytes()[:300] + b"\0" * 40 + path.read_bytes()[340:]), "damaged"),
        (lambda path: np.savez(path, obs=np.zeros(3)), "lacks 'actions'"),
    ],
)
def test_archives_that_mislead(damage: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    path = npz(tmp_path / "source")
    damage(path)
    refused("pymarl", path, tmp_path, message)


def test_what_the_system_refuses_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = icq(tmp_path)

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(source))

    monkeypatch.setattr("datasets.importers.padded_files.open_hdf5", refuse)
    refused("pymarl", source, tmp_path, "cannot read .* .permission denied.; give yourself permission to read it")
    with pytest.raises(DatasetError, match="is of no known format: .*; pymarl: cannot tell"):
        probe(source)
