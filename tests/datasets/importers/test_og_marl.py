"""OG-MARL's vaults, written as Flashbax writes them: episodes, padding, truncations, what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.importers.og_marl import IMPORTER, _check_ended_stay
from tests.datasets.importers.foreign import imported, refused
from utils.errors import DatasetError

LONGEST = int(10e12)  # of the time axis, as Flashbax states it
Tree = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def ts() -> Any:
    return pytest.importorskip("tensorstore", reason="vaults are read and written by tensorstore: the extra [vault]")


def write_vault(ts: Any, folder: Path, arrays: Tree, extent: int | None = None) -> Path:
    """A vault as flashbax.vault.Vault writes it: zarr arrays in an OCDBT store, gzip, and metadata of version 1.2."""
    folder.mkdir(parents=True)
    metadata: dict[str, Any] = {"version": 1.2, "structure_shape": {}, "structure_dtype": {}}
    for name, array in arrays.items():
        *groups, leaf = name.split(".")
        for kind, text in (("shape", str(array.shape)), ("dtype", array.dtype.name)):
            tree = metadata[f"structure_{kind}"]
            for group in groups:
                tree = tree.setdefault(group, {})
            tree[leaf] = text
        store = create(ts, folder, f"{name}.", (array.shape[0], LONGEST, *array.shape[2:]), array.dtype)
        store[:, : array.shape[1]].write(array).result()
    create(ts, folder, "vault_index", (1,), np.dtype("int32")).write(extent or array.shape[1]).result()
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return folder


def create(ts: Any, folder: Path, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    kvstore = {"driver": "ocdbt", "base": f"file://{folder}", "path": name}
    spec: dict[str, Any] = {"driver": "zarr", "kvstore": kvstore}
    if name != "vault_index":
        spec["metadata"] = {"compressor": {"id": "gzip", "level": 5}}
    return ts.open(spec, shape=shape, dtype=dtype, create=True).result()


def smac(n_streams: int = 1) -> Tree:
    """Three episodes of 3, 4 and 2 steps: a terminal, a truncation, and one that the vault's end cuts."""
    rng, rows = np.random.default_rng(0), 9
    legals = rng.random((n_streams, rows, 2, 5)) < 0.5
    actions = rng.integers(5, size=(n_streams, rows, 2))
    np.put_along_axis(legals, actions[..., None], True, axis=-1)
    terminals, truncations = np.zeros((2, n_streams, rows, 2), bool)
    terminals[:, 2], truncations[:, 6] = True, True
    return {
        "observations": rng.normal(size=(n_streams, rows, 2, 4)).astype("f4"),
        "actions": actions,
        "rewards": np.repeat(rng.normal(size=(n_streams, rows, 1)).astype("f4"), 2, axis=2),
        "terminals": terminals,
        "truncations": truncations,
        "infos.legals": legals,
        "infos.state": rng.normal(size=(n_streams, rows, 7)).astype("f4"),
    }


def test_episodes_terminals_and_truncations(ts: Any, tmp_path: Path) -> None:
    arrays = smac()
    folder = write_vault(ts, tmp_path / "og_marl" / "smac_v1" / "3m.vlt" / "Good", arrays)
    found = imported("og-marl", folder, tmp_path)
    # the terminal's step is kept, with a copy behind it; of episodes that were cut the last row is the final one
    assert found.episode_offsets.tolist() == [0, 4, 8, 10]
    taken = [0, 1, 2, 2, 3, 4, 5, 6, 7, 8]
    np.testing.assert_array_equal(found.arrays["obs"], arrays["observations"][0][taken])
    np.testing.assert_array_equal(found.arrays["state"], arrays["infos.state"][0][taken])
    np.testing.assert_array_equal(found.arrays["avail_actions"], arrays["infos.legals"][0][taken])
    steps = [0, 1, 2, 4, 5, 6, 8]
    kept = arrays["rewards"][0][[0, 1, 2, 3, 4, 5, 7]]
    np.testing.assert_array_equal(found.arrays["reward"][steps], kept)
    assert not found.arrays["reward"][[3, 7, 9]].any()
    np.testing.assert_array_equal(np.flatnonzero(found.arrays["terminated"]), [2])
    assert found.last_action_known.tolist() == [False, True, True]
    assert found.card["counts"]["time_limits"] == 2 and found.card["n_actions"] == 5
    assert found.card["behaviour"] == "OG-MARL's og_marl/smac_v1/3m.vlt/Good" and found.card["quality"] == "good"
    notes = " ".join(found.card["made_by"]["notes"])
    lost = arrays["rewards"][0][[6, 8], 0].sum()
    assert "1 episodes end by a terminal whose next" in notes and "2 episodes were cut" in notes
    assert f"rewards of {lost:g} in all" in notes
    returns = [kept[part, 0].sum() for part in (slice(0, 3), slice(3, 6), slice(6, 7))]
    assert found.card["returns"]["mean"] == pytest.approx(np.mean(returns), rel=1e-5)


def test_padding_becomes_zeros_and_a_mask(ts: Any, tmp_path: Path) -> None:
    """OMAR's predators and prey: continuous actions, prey padded with -inf, one stream a seed, no truncations."""
    arrays = {key: array for key, array in smac(n_streams=5).items() if not key.startswith(("infos", "trunc"))}
    arrays["actions"] = np.random.default_rng(1).uniform(-1, 1, (5, 9, 2, 2)).astype("f4")
    arrays["observations"][:, :, 1, 3] = -np.inf
    folder = write_vault(ts, tmp_path / "simple_tag.vlt" / "Expert", arrays)
    found = imported("og-marl", folder, tmp_path)
    assert found.n_episodes == 10 and found.card["obs_mask"] == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert not found.arrays["obs"][:, 1, 3].any() and np.isfinite(found.arrays["obs"]).all()
    np.testing.assert_array_equal(found.arrays["obs"][10:13, 0], arrays["observations"][1, :3, 0])
    notes = " ".join(found.card["made_by"]["notes"])
    assert "no truncations: an episode that a time limit cut may look terminal or, where its last row has no" in notes
    arrays["observations"][3, 4, 0, 1] = -np.inf
    folder = write_vault(ts, tmp_path / "other", arrays)
    refused("og-marl", folder, tmp_path, "rows 3 to 8 of stream 3 of .*: 'observations' has a -inf on row 1 of agent 0")


def test_what_is_left_out_is_named(ts: Any, tmp_path: Path) -> None:
    """Arrays that no dataset has, a truncation's rewards, and an episode of one row."""
    arrays = smac() | {"infos.extra": np.zeros((1, 9, 2), "f4"), "truncation": np.zeros((1, 9, 2), "f4")}
    arrays["truncations"][:, 7] = True  # behind that of row 6: an episode of row 7 alone
    found = imported("og-marl", write_vault(ts, tmp_path / "a", arrays), tmp_path)
    assert found.episode_offsets.tolist() == [0, 4, 8]
    notes = " ".join(found.card["made_by"]["notes"])
    assert "left out: infos.extra, truncation" in notes and "is it" not in notes
    lost = arrays["rewards"][0, 6:9, 0].sum()
    assert "3 episodes were cut: " in notes
    assert f"rewards of {lost:g} in all; 2 of them have no other row and are left out" in notes
    arrays.pop("truncations")
    notes = " ".join(imported("og-marl", write_vault(ts, tmp_path / "b", arrays), tmp_path).card["made_by"]["notes"])
    assert "truncation (is it 'truncations'? rename it then, and import again)" in notes


def test_long_vaults_are_read_in_blocks(ts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.importers.og_marl._BLOCK", 1)
    folder = write_vault(ts, tmp_path / "a", smac())
    assert imported("og-marl", folder, tmp_path).episode_offsets.tolist() == [0, 4, 8, 10]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda a: a.pop("rewards"), "lacks 'rewards'; a vault of OG-MARL's has observations, actions"),
        (lambda a: a.pop("infos.legals"), "lacks 'infos.legals', which tells how many actions there are"),
        (
            lambda a: a.update(rewards=a["rewards"][:, :, :1]),
            r"'rewards' in .* has rows of shape \(1,\)",
        ),
        (
            lambda a: a["rewards"].__setitem__((0, 4), np.nan),
            "rows 3 to 6 of .*: 'rewards' holds a value that is not",
        ),
        (
            lambda a: a["terminals"].__setitem__((0, 2, 1), False),
            "rows 0 to 6 of .*: the flag of agent 0 is 1 on row 2 and 0 on the next, .* two episodes would be joined",
        ),
        (lambda a: a["observations"].__setitem__((0, 4), np.inf), "rows 3 to 6 of .*: obs holds a value .* on row 1"),
        (lambda a: a["actions"].__setitem__((0, 4), 5), r"rows 3 to 6 of .*: actions is not in 0..4 on row 1"),
        (lambda a: a["infos.legals"].__setitem__((0, 4), 0), "rows 3 to 6 of .*: actions was not available"),
        (lambda a: a["rewards"].__setitem__((0, 8), np.inf), "rows 7 to 8 of .*: 'rewards' holds a value .* on row 1"),
        (
            lambda a: a.update(terminals=np.where(np.arange(9) == 4, np.nan, 0)[None, :, None].repeat(2, 2)),
            "vault: 'terminals' is nan on row 4; it must be 0 or 1",
        ),
        (
            lambda a: a.update(actions=np.eye(5, dtype=np.float32)[a["actions"]]),
            "'actions' in .* are one-hot codes of 5 actions",
        ),
        (lambda a: a.update(actions=a["actions"] + np.float32(0.5)), r"no whole numbers and have rows of shape"),
        (
            lambda a: a.update({"infos.legals": a["infos.legals"] * np.float32(0.5)}),
            "'infos.legals' is 0.5 on row 0",
        ),
    ],
)
def test_malformed_vaults_are_one_sentence(
    damage: Callable[[Tree], Any], message: str, ts: Any, tmp_path: Path
) -> None:
    arrays = smac()
    damage(arrays)
    refused("og-marl", write_vault(ts, tmp_path / "vault", arrays), tmp_path, message)


def test_an_agent_that_ended_stays_so_to_the_end_of_its_episode() -> None:
    flags = np.zeros((6, 2), np.uint8)
    flags[2:, 0], flags[5] = 1, 1
    _check_ended_stay({"terminals": flags}, "a")
    halves = {"terminals": flags * (np.arange(6) < 4)[:, None], "truncations": flags * (np.arange(6) > 3)[:, None]}
    _check_ended_stay(halves, "a")
    flags[3, 0] = 0
    with pytest.raises(DatasetError, match="^a: the flag of agent 0 is 1 on row 2 and 0 on the next"):
        _check_ended_stay({"terminals": flags}, "a")


def test_vaults_that_mislead(ts: Any, tmp_path: Path) -> None:
    whole = write_vault(ts, tmp_path / "whole", smac())
    empty = write_vault(ts, tmp_path / "huge", smac(), extent=2**31 - 1)
    refused("og-marl", empty, tmp_path, "declares arrays of .* GB and holds .* over 100 times less")
    for name, message in (("gone", "cannot be read: the vault is damaged"), ("link", "is a link that leads out of")):
        folder = tmp_path / name
        shutil.copytree(whole, folder)
        data = max((file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
        data.unlink()
        if name == "link":
            data.symlink_to("/etc/hostname")
        refused("og-marl", folder, tmp_path, message)


def metadata_only(folder: Path, **entries: Any) -> Path:
    shapes = {"observations": "(1, 9, 2, 4)", "actions": "(1, 9, 2)", "rewards": "(1, 9, 2)", "terminals": "(1, 9, 2)"}
    folder.mkdir(parents=True)
    found = {"version": 1.2, "structure_shape": shapes, "structure_dtype": {}} | entries
    (folder / "metadata.json").write_text(json.dumps(found))
    return folder


def test_metadata(tmp_path: Path) -> None:
    folder = metadata_only(tmp_path / "3m.vlt" / "Good")
    assert IMPORTER.recognise(folder) == "a Flashbax vault of OG-MARL's with actions, observations, rewards, terminals"
    assert IMPORTER.recognise(folder.parent) is None
    refused("og-marl", folder.parent, tmp_path, "holds no metadata.json .*; name one of its datasets: Good")
    refused("og-marl", metadata_only(tmp_path / "b", version=0.1), tmp_path, "is not of a vault's version 1")
    shapes = {"observations": "__import__('os')"}
    refused("og-marl", metadata_only(tmp_path / "c", structure_shape=shapes), tmp_path, "'observations' is no tuple")


def test_without_tensorstore_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(DatasetError, match=r"install it: pip install 'epymarl-offline\[vault\]'"):
        IMPORTER.open(metadata_only(tmp_path / "a"), {})
