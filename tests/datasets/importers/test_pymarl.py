"""PyMARL's padded episodes: what an import keeps, and where it ends episodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from datasets.dataset import read_dataset
from datasets.importers.pymarl import IMPORTER
from datasets.importers.run import import_dataset, probe
from tests.datasets.games import BRIDGE_MIX, needs_published
from tests.datasets.importers.foreign import discrete_episodes, imported, refused
from tests.datasets.importers.padded import LENGTHS, TERMINAL, T, batch, icq, npz, write_h5
from tests.datasets.samples import Arrays, continuous_arrays, discrete_arrays
from utils.errors import DatasetError


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
    left_out = ["left out: probs"] if write is cfcql else []
    assert found.card["made_by"]["notes"] == ["the team's reward is written once for each agent", *left_out]


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    """Arrays under other names than the layout's, among them one that is nearly its name, in any of the parts."""
    arrays = batch()
    names = {"states": arrays.pop("state"), "legal_actions": arrays["avail_actions"], "probs": np.zeros((3, T, 2, 5))}
    write_h5(tmp_path / "parts" / "part_0.h5", arrays | names)
    with h5py.File(write_h5(tmp_path / "parts" / "part_1.h5", arrays), "a") as file:
        file.create_group("infos")["speed"] = np.zeros(3)
    notes = imported("pymarl", tmp_path / "parts", tmp_path).card["made_by"]["notes"]
    hint = "states (is it 'state'? rename it then, and import again)"
    assert notes[-1] == f"left out: infos, legal_actions, probs, {hint}"
    assert notes[-1] in probe(tmp_path / "parts")


def test_many_parts_are_read_by_their_numbers(tmp_path: Path) -> None:
    arrays = batch()
    stepped = np.zeros_like(arrays["filled"], dtype=bool)  # rows from which a step starts
    stepped[:, :-1] = arrays["filled"][:, 1:] == 1
    for part in range(11):
        shifted = arrays | {"reward": arrays["reward"] + np.float32(part) * stepped}
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


def test_probe_says_what_it_is(tmp_path: Path) -> None:
    lines = " ".join(probe(icq(tmp_path)))
    assert "is pymarl: padded episodes in PyMARL's layout: 3 of at most 7 rows, 2 agents" in lines
    assert "discrete actions" in lines and f"import pymarl {tmp_path / '3m.h5'} -o OUT" in lines
    assert IMPORTER.recognise(write_h5(tmp_path / "other.h5", {"x": [1]})) is None
    assert IMPORTER.recognise(tmp_path / "nothing") is None
