"""Minari's HDF5 datasets: agents in Dict and Tuple spaces, sizes that differ, one agent, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from datasets.importers.minari import IMPORTER
from datasets.importers.run import probe
from tests.datasets.importers.foreign import imported, refused
from utils.errors import DatasetError

LENGTHS = (3, 5)
Tree = dict[str, Any]


def box(*shape: int, high: float = np.inf, kind: str = "float32") -> Tree:
    low = np.full(shape, -high).tolist()
    return {"type": "Box", "dtype": kind, "shape": list(shape), "low": low, "high": np.full(shape, high).tolist()}


def discrete(n: int, start: int = 0) -> Tree:
    return {"type": "Discrete", "dtype": "int64", "start": start, "n": n}


def joined(**parts: Tree) -> Tree:
    return {"type": "Dict", "subspaces": parts}


def values(space: Tree, rows: int, rng: np.random.Generator) -> Any:
    """Random members of a space in Minari's layout: dictionaries, `_index_i` for tuples, arrays."""
    if space["type"] == "Dict":
        return {name: values(part, rows, rng) for name, part in space["subspaces"].items()}
    if space["type"] == "Tuple":
        return {f"_index_{index}": values(part, rows, rng) for index, part in enumerate(space["subspaces"])}
    if space["type"] == "Discrete":
        return space["start"] + rng.integers(space["n"], size=rows)
    if space["type"] == "MultiDiscrete":
        return rng.integers(space["nvec"], size=(rows, len(space["nvec"])))
    return rng.uniform(-1, 1, (rows, *space["shape"])).astype(space["dtype"])


def put(group: h5py.Group, tree: Any, name: str) -> None:
    if isinstance(tree, dict):
        for key, part in tree.items():
            put(group.require_group(name), part, key)
    else:
        group.create_dataset(name, data=tree, chunks=True, maxshape=(None, *tree.shape[1:]))


def write(folder: Path, observation: Tree, action: Tree, n_agents: int = 1, **metadata: Any) -> tuple[Path, list[Tree]]:
    """A dataset as Minari 0.5 stores it; the second episode ends by a termination, the first by a truncation."""
    rng, written = np.random.default_rng(0), []
    (folder / "data").mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "data" / "main_data.hdf5", "w", track_order=True) as file:
        for number, steps in enumerate(LENGTHS):
            episode = {
                "observations": values(observation, steps + 1, rng),
                "actions": values(action, steps, rng),
                "rewards": rng.normal(size=(steps, n_agents) if n_agents > 1 else steps),
                "terminations": np.arange(steps) == (steps - 1 if number else -1),
                "truncations": np.arange(steps) == (-1 if number else steps - 1),
                "infos": {"speed": rng.normal(size=steps + 1)},
            }
            group = file.create_group(f"episode_{number}")
            group.attrs["id"], group.attrs["total_steps"], group.attrs["seed"] = number, steps, 7
            for key, tree in episode.items():
                put(group, tree, key)
            written.append(episode)
    found = {"total_episodes": 2, "total_steps": 8, "data_format": "hdf5", "algorithm_name": "PPO",
             "observation_space": json.dumps(observation), "action_space": json.dumps(action)}  # fmt: skip
    (folder / "data" / "metadata.json").write_text(json.dumps(found | metadata))
    return folder, written


def rows(written: list[Tree], *names: str) -> np.ndarray:
    """All episodes' values at a place, each filled up by a row of zeros where it has one fewer."""
    parts = []
    for episode in written:
        tree = episode
        for name in names:
            tree = tree[name]
        missing = len(episode["rewards"]) + 1 - len(tree)
        parts.append(np.concatenate([tree, np.zeros((missing, *tree.shape[1:]))]))
    return np.concatenate(parts)


SPACE = {"a": box(4), "b": box(2, 3)}
ACTION = {"a": box(2, high=1), "b": box(1, high=3)}


@pytest.mark.parametrize("kind", ["Dict", "Tuple"])
def test_unequal_agents_are_padded_as_environments_pad(kind: str, tmp_path: Path) -> None:
    observation, action = joined(**SPACE), joined(**ACTION)
    names = ["a", "b"]
    if kind == "Tuple":
        observation = {"type": "Tuple", "subspaces": list(SPACE.values())}
        action = {"type": "Tuple", "subspaces": list(ACTION.values())}
        names = ["_index_0", "_index_1"]
    folder, written = write(tmp_path / "set", observation, action, 2, ref_min_score=-1.5, ref_max_score=4)
    found = imported("minari", folder, tmp_path)
    obs, actions = found.arrays["obs"], found.arrays["actions"]
    assert obs.shape == (10, 2, 6) and actions.shape == (10, 2, 2) and found.episode_offsets.tolist() == [0, 4, 10]
    np.testing.assert_array_equal(obs[:, 0, :4], rows(written, "observations", names[0]))
    np.testing.assert_array_equal(obs[:, 1], rows(written, "observations", names[1]).reshape(10, 6))
    assert not obs[:, 0, 4:].any() and not actions[:, 1, 1].any()
    np.testing.assert_array_equal(actions[:, 0], rows(written, "actions", names[0]))
    np.testing.assert_array_equal(actions[:, 1, :1], rows(written, "actions", names[1]))
    assert found.arrays["avail_actions"].tolist() == [[[1, 1], [1, 0]]] * 10
    np.testing.assert_array_equal(found.arrays["reward"], rows(written, "rewards").astype(np.float32))
    assert np.flatnonzero(found.arrays["terminated"]).tolist() == [8] and found.card["counts"]["time_limits"] == 1
    assert found.card["action_low"] == [[-1, -1], [-3, 0]] and found.card["behaviour"] == "PPO"
    assert (found.card["reference"]["random"], found.card["reference"]["expert"]) == (-1.5, 4)
    assert not found.last_action_known.any()
    returns = [episode["rewards"].mean(1).sum() for episode in written]
    assert found.card["returns"]["mean"] == pytest.approx(np.mean(returns), rel=1e-6)
    notes = found.card["made_by"]["notes"]
    assert "of the episodes' infos these are left out: speed" in notes
    assert "shorter observations are padded with zeros at their end" in notes


def test_discrete_actions_masks_and_a_state(tmp_path: Path) -> None:
    """PettingZoo's observations with action masks, a start above 0, unequal numbers of actions, the team's reward."""
    masked = {
        name: joined(observation=discrete(3), action_mask=box(n, kind="int8")) for name, n in (("a", 4), ("b", 2))
    }
    folder, _ = write(tmp_path / "set", joined(**masked, state=box(5)), joined(a=discrete(4, 2), b=discrete(2)))
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        for group in file.values():
            for name, own in group["observations"].items():
                if name != "state":
                    own["action_mask"][:] = 1
            group["observations/a/action_mask"][0, 3] = 0
            group["actions/a"][0] = 2
            chosen = group["actions/a"][:], group["actions/b"][:]
            state = group["observations/state"][:]
            seen = group["observations/b/observation"][:]
    found = imported("minari", folder, tmp_path)
    assert found.card["n_actions"] == 4 and found.card["reward"].startswith("the team's")
    np.testing.assert_array_equal(found.arrays["actions"][4:9, 0, 0], chosen[0] - 2)
    np.testing.assert_array_equal(found.arrays["actions"][4:9, 1, 0], chosen[1])
    np.testing.assert_array_equal(found.arrays["state"][4:], state)
    np.testing.assert_array_equal(found.arrays["obs"][4:, 1], np.eye(3)[seen])
    assert found.arrays["avail_actions"][4].tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        file["episode_1/actions/a"][2] = 6
    refused("minari", folder, tmp_path, "episode_1 of .*: 'actions/a' is 4 above its start on row 2; it must be 0 to 3")


def test_one_agent_with_a_goal(tmp_path: Path) -> None:
    observation = joined(observation=box(3, kind="float64"), goal=box(2), kind={"type": "MultiDiscrete",
                         "dtype": "int64", "nvec": [2, 3], "start": [0, 0]})  # fmt: skip
    folder, written = write(tmp_path / "set", observation, box(2, high=1))
    found = imported("minari", folder, tmp_path)
    assert found.arrays["obs"].shape == (10, 1, 3 + 2 + 5)
    np.testing.assert_array_equal(found.arrays["obs"][:, 0, 3:5], rows(written, "observations", "goal"))
    codes = rows(written, "observations", "kind").astype(int)
    np.testing.assert_array_equal(found.arrays["obs"][:, 0, 7:], np.eye(3)[codes[:, 1]])


def test_files_of_earlier_releases_without_metadata(tmp_path: Path) -> None:
    folder, written = write(tmp_path / "set", joined(**SPACE), joined(**ACTION))
    metadata = json.loads((folder / "data" / "metadata.json").read_text())
    (folder / "data" / "metadata.json").unlink()
    found = imported("minari", folder / "data" / "main_data.hdf5", tmp_path, bounds="-1,1")
    np.testing.assert_array_equal(found.arrays["obs"][:, 0, :4], rows(written, "observations", "a"))
    assert found.card["action_high"] == [1, 1]
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        file.attrs["action_space"] = metadata["action_space"]
    assert imported("minari", folder, tmp_path).card["action_high"] == [[1, 1], [3, 0]]


def test_discrete_actions_without_metadata(tmp_path: Path) -> None:
    """Nothing in the file says how many there are, so the command does."""
    folder, written = write(tmp_path / "set", joined(a=box(4), b=box(4)), joined(a=discrete(3), b=discrete(3)))
    refused("minari", folder, tmp_path, "--n-actions is '4', and .* tells of 3 actions; leave it out", n_actions="4")
    (folder / "data" / "metadata.json").unlink()
    refused("minari", folder, tmp_path, "are whole numbers, and no metadata say how many there are; add --n-actions")
    found = imported("minari", folder, tmp_path, n_actions="3")
    assert found.card["n_actions"] == 3
    np.testing.assert_array_equal(found.arrays["actions"][:, 1, 0], rows(written, "actions", "b"))
    continuous, _ = write(tmp_path / "continuous", joined(**SPACE), joined(**ACTION))
    refused("minari", continuous, tmp_path, "--n-actions is '3', and the actions of .* are continuous", n_actions="3")


def in_file(change: Callable[[h5py.File], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
            change(file)

    return apply


def swap(place: str, make: Callable[[np.ndarray], Any]) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        array = file[place][()]
        del file[place]
        file[place] = make(array)

    return in_file(change)


def metadata(**entries: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "data" / "metadata.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    return apply


def linked(file: h5py.File) -> None:
    del file["episode_1/observations/a"]
    file["episode_1/observations/a"] = h5py.ExternalLink("other.hdf5", "/x")


def bomb(file: h5py.File) -> None:
    del file["episode_1/observations/a"]
    file.create_dataset("episode_1/observations/a", (1 << 40, 4), "f4", chunks=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (in_file(lambda file: file.pop("episode_1/actions/b")), "lacks 'episode_1/actions/b'"),
        (in_file(lambda file: file.pop("episode_0/rewards")), "lacks 'episode_0/rewards'"),
        (in_file(lambda file: file.pop("episode_1/infos")), None),
        (in_file(lambda file: [file.pop(name) for name in list(file)]), "has no group 'episode_0'"),
        (swap("episode_1/observations/a", lambda a: a[1:]), "episode_1 of .*: 'observations/a' has 5 rows beside 5"),
        (swap("episode_1/truncations", lambda a: a[1:]), "episode_1 of .*: 'truncations' has 4 rows beside 5 rewards"),
        (swap("episode_1/terminations", lambda a: a | True), "episode_1 of .*: 'terminations' is 1 on row 0, before"),
        (swap("episode_1/terminations", lambda a: a * 0.5), "'terminations' is 0.5 on row 4; it must be 0 or 1"),
        (metadata(total_episodes=3), "main_data.hdf5 holds 2 episodes and its metadata.json says 3"),
        (swap("episode_1/rewards", lambda a: a * np.nan), "episode_1 of .*: reward holds a value that is not finite"),
        (swap("episode_1/observations/a", lambda a: a / 0), "episode_1 of .*: obs holds a value .* on row 0"),
        (swap("episode_1/actions/a", lambda a: a + 9), "episode_1 of .*: actions leaves the dataset card's bounds on"),
        (swap("episode_1/observations/b", lambda a: a[:, :1]), "'observations/b' has 3 numbers a row; its space has 6"),
        (swap("episode_1/observations/a", lambda a: a.astype("S3")), "'episode_1/observations/a' in .* is no array"),
        (in_file(linked), "'episode_1/observations/a' in .* is a link, and links are not followed"),
        (in_file(bomb), "declares shape .* and the file holds 0 bytes of it"),
        (metadata(data_format="arrow"), "says that the data are stored as 'arrow'"),
        (metadata(action_space="{"), "action_space of .*metadata.json"),
        (metadata(action_space=json.dumps(joined(a=box(2), b=box(1)))), "have no finite bounds; state them"),
        (
            metadata(action_space=json.dumps(joined(a=box(2, high=1)))),
            "is a Dict; an agent's action must be a Box",
        ),
        (metadata(action_space=json.dumps(joined(a=box(2, high=1), b=discrete(2)))), "mix continuous and discrete"),
        (metadata(observation_space=json.dumps({"type": "Text"})), "observation_space of .* has a space of type Text"),
        (metadata(observation_space=json.dumps(box(8, 8, 3, kind="uint8"))), "images cannot be imported"),
    ],
)
def test_malformed_datasets_are_one_sentence(
    damage: Callable[[Path], Any], message: str | None, tmp_path: Path
) -> None:
    folder, _ = write(tmp_path / "set", joined(**SPACE), joined(**ACTION))
    with np.errstate(divide="ignore", invalid="ignore"):
        damage(folder)
    if message is None:  # infos may be missing
        assert imported("minari", folder, tmp_path).n_episodes == 2
    else:
        refused("minari", folder, tmp_path, message)


def test_truncated_files_and_other_folders(tmp_path: Path) -> None:
    folder, _ = write(tmp_path / "set", joined(**SPACE), joined(**ACTION))
    file = folder / "data" / "main_data.hdf5"
    file.write_bytes(file.read_bytes()[:-100])
    refused("minari", folder, tmp_path, "truncated, damaged or of another kind")
    file.unlink()
    refused("minari", folder, tmp_path, "is no Minari dataset in HDF5: there is no main_data.hdf5")
    assert IMPORTER.recognise(folder) is None


def test_a_file_of_another_name_is_told_the_one_it_needs(tmp_path: Path) -> None:
    folder, _ = write(tmp_path / "set", joined(**SPACE), joined(**ACTION))
    other = (folder / "data" / "main_data.hdf5").rename(tmp_path / "mine.hdf5")
    with pytest.raises(DatasetError, match="minari: cannot tell .*rename it to main_data.hdf5"):
        probe(other)
    refused("minari", other, tmp_path, "mine.hdf5 is not named main_data.hdf5, as a Minari dataset's file must be")


def test_probe(tmp_path: Path) -> None:
    folder, _ = write(tmp_path / "set", joined(**SPACE), joined(**ACTION))
    assert f"{folder} is minari: a Minari dataset of 2 episodes" in probe(folder)
