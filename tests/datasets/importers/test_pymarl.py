"""PyMARL's padded episodes: what an import keeps, where it ends episodes, what it refuses."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from datasets.dataset import read_dataset
from datasets.importers.pymarl import IMPORTER
from datasets.importers.run import import_dataset, probe
from tests.datasets.games import BRIDGE_MIX, needs_published
from tests.datasets.importers.foreign import discrete_episodes, imported, refused
from tests.datasets.samples import Arrays, continuous_arrays, discrete_arrays
from utils.errors import DatasetError

LENGTHS, TERMINAL = [3, 5, 1], [False, True, False]
T = 7


def batch(final_actions: bool = True) -> Arrays:
    """An EpisodeBatch's transition data: what PyMARL's runners fill in, zeros behind; `filled` counts the final row."""
    arrays, offsets, card = discrete_episodes(LENGTHS, TERMINAL)
    n_actions = card["n_actions"]
    found: dict[str, list[np.ndarray]] = {}
    for start, stop in zip(offsets[:-1], offsets[1:], strict=True):
        own = {key: array[start:stop].copy() for key, array in arrays.items()}
        onehot = np.eye(n_actions, dtype=np.float32)[own["actions"][..., 0]]
        if not final_actions:  # as parallel runners leave them
            own["actions"][-1], onehot[-1] = 0, 0
        own |= {
            "avail_actions": own["avail_actions"].astype(np.int32),
            "actions_onehot": onehot,
            "reward": own["reward"][:, :1],
            "terminated": own["terminated"][:, None],
            "filled": np.ones((stop - start, 1), np.int64),
        }
        for key, array in own.items():
            padding = np.zeros((T - len(array), *array.shape[1:]), array.dtype)
            found.setdefault(key, []).append(np.concatenate([array, padding]))
    return {key: np.stack(parts) for key, parts in found.items()}


def write_h5(path: Path, arrays: dict[str, Any], **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array, **how)
    return path


def icq(path: Path) -> Path:
    """ICQ's single file."""
    return write_h5(path / "3m.h5", batch())


def cfcql(path: Path) -> Path:
    """CFCQL's file: grown batch by batch, with the behaviour's probabilities, without one-hot actions."""
    arrays = {key: array for key, array in batch().items() if key != "actions_onehot"}
    arrays["probs"] = np.full((3, T, 2, 5), 0.2, np.float32)
    path.mkdir(parents=True, exist_ok=True)
    with h5py.File(path / "2s3z_medium.h5", "a") as file:
        for key, array in arrays.items():
            entry = file.create_dataset(key, maxshape=(None, *array.shape[1:]), chunks=True, data=array[:1])
            entry.resize(array.shape)
            entry[1:] = array[1:]
    return path / "2s3z_medium.h5"


def offpymarl(path: Path) -> Path:
    """OffPyMARL's own parts, which its DataSaver writes."""
    arrays = batch()
    for part, index in enumerate([[0], [1, 2]]):
        write_h5(path / f"part_{part}.h5", {key: array[index] for key, array in arrays.items()},
                 compression="gzip", compression_opts=9)  # fmt: skip
    return path


def npz(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path / "episodes.npz", **batch())
    return path / "episodes.npz"


@pytest.mark.parametrize("write", [icq, cfcql, offpymarl, npz])
def test_every_published_layout_keeps_all_rows(write: Callable[[Path], Path], tmp_path: Path) -> None:
    arrays, offsets, _ = discrete_episodes(LENGTHS, TERMINAL)
    found = imported("pymarl", write(tmp_path / "source"), tmp_path)
    np.testing.assert_array_equal(found.episode_offsets, offsets)
    for key, array in arrays.items():
        np.testing.assert_array_equal(found.arrays[key], array)
    assert found.last_action_known.all()
    assert found.card["counts"]["terminals"] == 1 and found.card["counts"]["time_limits"] == 2
    returns = np.add.reduceat(arrays["reward"].mean(1, dtype=np.float64), offsets[:-1])
    assert (found.card["returns"]["mean"], found.card["returns"]["std"]) == (returns.mean(), returns.std())
    assert found.card["n_actions"] == 5 and found.card["environment"]["env"] is None
    assert found.card["made_by"]["notes"] == ["the team's reward is written once for each agent"]


def test_many_parts_are_read_by_their_numbers(tmp_path: Path) -> None:
    arrays = batch()
    for part in range(11):
        shifted = arrays | {"reward": arrays["reward"] + np.float32(part) * (arrays["filled"] == 1)}
        write_h5(tmp_path / "parts" / f"part_{part}.h5", shifted)
    found = imported("pymarl", tmp_path / "parts", tmp_path)
    assert found.n_episodes == 33
    first = found.arrays["reward"][found.episode_offsets[:-1][::3], 0]
    np.testing.assert_allclose(first, arrays["reward"][0, 0, 0] + np.arange(11), rtol=1e-6)


def test_final_actions_that_no_runner_chose_are_unknown(tmp_path: Path) -> None:
    found = imported("pymarl", write_h5(tmp_path / "a.h5", batch(final_actions=False)), tmp_path)
    assert not found.last_action_known.any()
    without = {key: array for key, array in batch(final_actions=False).items() if key != "actions_onehot"}
    found = imported("pymarl", write_h5(tmp_path / "b.h5", without), tmp_path)
    assert not found.last_action_known.any()


def test_corrected_terminated_ends_episodes_as_offpymarl_does(tmp_path: Path) -> None:
    """OffPyMARL's conversion of OG-MARL: no row after the last step, whose flag stands one step earlier as well."""
    arrays = batch()
    lengths = arrays["filled"].sum((1, 2))
    for key in ("terminated", "corrected_terminated"):
        arrays[key] = np.zeros((3, T, 1), np.uint8)
        arrays[key][range(3), lengths - 1] = 1
    arrays["corrected_terminated"][range(3), lengths - 2] = 1
    arrays["reward"][range(3), lengths - 1] = 20
    found = imported("pymarl", write_h5(tmp_path / "part_0.h5", arrays), tmp_path)
    assert found.card["counts"]["terminals"] == 3
    np.testing.assert_array_equal(np.diff(found.episode_offsets), lengths)
    notes = " ".join(found.card["made_by"]["notes"])
    assert "corrected_terminated says" in notes and "3 episodes have a reward on their last row" in notes
    assert "rewards of 60 in all" in notes
    del arrays["corrected_terminated"]  # then the last step is kept, and its next observation is a copy
    found = imported("pymarl", write_h5(tmp_path / "part_0.h5", arrays), tmp_path)
    np.testing.assert_array_equal(np.diff(found.episode_offsets), lengths + 1)
    assert not found.last_action_known.any() and found.card["counts"]["terminals"] == 3
    last = found.episode_offsets[1:] - 1
    np.testing.assert_array_equal(found.arrays["obs"][last], found.arrays["obs"][last - 1])
    np.testing.assert_array_equal(found.arrays["reward"][last - 1], 20)
    assert "3 episodes end by a terminal whose next observation was not recorded" in " ".join(
        found.card["made_by"]["notes"]
    )


def test_continuous_actions_and_own_rewards(tmp_path: Path) -> None:
    arrays, _ = continuous_arrays([4, 4])
    padded: Arrays = {key: array.reshape(2, 5, *array.shape[1:]) for key, array in arrays.items()}
    padded["filled"] = np.ones((2, 5, 1), np.int64)
    found = imported("pymarl", write_h5(tmp_path / "a.h5", padded), tmp_path)
    np.testing.assert_array_equal(found.arrays["actions"], arrays["actions"])
    np.testing.assert_array_equal(found.arrays["reward"], arrays["reward"])
    assert found.card["action_low"] == [-1, -1] and "reward" not in found.card
    padded["actions"] = padded["actions"] * np.float32(3)
    source = write_h5(tmp_path / "b.h5", padded)
    refused("pymarl", source, tmp_path, "episode . of .*b.h5: actions leaves the dataset card's bounds on row")
    assert imported("pymarl", source, tmp_path, bounds="-3,3").card["action_high"] == [3, 3]
    with pytest.raises(DatasetError, match="--bounds is '3'; it must be two numbers"):
        IMPORTER.open(source, {"bounds": "3"})


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


def test_arrays_by_columns_and_of_other_widths(tmp_path: Path) -> None:
    arrays = batch()
    by_columns = {key: np.asfortranarray(array) for key, array in arrays.items()}
    by_columns |= {"reward": arrays["reward"].astype(">f8"), "filled": arrays["filled"][..., 0].astype(bool)}
    np.savez(tmp_path / "a.npz", **by_columns)
    found = imported("pymarl", tmp_path / "a.npz", tmp_path)
    np.testing.assert_array_equal(found.arrays["obs"], discrete_arrays(LENGTHS)[0]["obs"])


@needs_published
def test_published_episodes_are_as_alberdices_importer_reads_them(tmp_path: Path) -> None:
    names = [file.stem for file in BRIDGE_MIX.glob("*.npy")]
    np.savez_compressed(tmp_path / "mix.npz", **{name: np.load(BRIDGE_MIX / f"{name}.npy") for name in names})
    found = imported("pymarl", tmp_path / "mix.npz", tmp_path)
    import_dataset("alberdice", BRIDGE_MIX, tmp_path / "expected.h5", {})
    expected = read_dataset(tmp_path / "expected.h5")
    assert found.n_episodes == 1000 and found.n_transitions == 28_885
    for key in ("obs", "state", "reward"):
        np.testing.assert_array_equal(found.arrays[key], expected.arrays[key])
    known = found.last_action_known
    np.testing.assert_array_equal(known, True)
    np.testing.assert_array_equal(found.arrays["actions"], expected.arrays["actions"])
    # its flags say so of time limits too, which only AlberDICE's importer, knowing the game, tells apart
    assert found.card["counts"]["terminals"] == 1000 and expected.card["counts"]["terminals"] == 509


def test_what_the_system_refuses_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = icq(tmp_path)

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(source))

    monkeypatch.setattr("datasets.importers.padded_files.open_hdf5", refuse)
    refused("pymarl", source, tmp_path, "cannot read .* .permission denied.; give yourself permission to read it")
    with pytest.raises(DatasetError, match="is of no known format: .*; pymarl: cannot tell"):
        probe(source)


def test_probe_says_what_it_is(tmp_path: Path) -> None:
    lines = " ".join(probe(icq(tmp_path)))
    assert "is pymarl: padded episodes in PyMARL's layout: 3 of at most 7 rows, 2 agents" in lines
    assert "discrete actions" in lines and f"import pymarl {tmp_path / '3m.h5'} -o OUT" in lines
    assert IMPORTER.recognise(write_h5(tmp_path / "other.h5", {"x": [1]})) is None
    assert IMPORTER.recognise(tmp_path / "nothing") is None
