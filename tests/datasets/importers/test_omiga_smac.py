"""OMIGA's SMAC episodes: files of torch's, rewards that may be returns to go, and what is refused unread."""

from __future__ import annotations

import pickle
import re
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from datasets.importers.omiga_smac import IMPORTER
from datasets.importers.run import probe
from tests.datasets.importers.foreign import imported, refused
from utils.errors import DatasetError

LENGTHS = (4, 3, 5, 2)
Parts = dict[str, np.ndarray]


def episode(number: int, steps: int) -> Parts:
    """One episode of two agents with three actions, arrays (steps, agents, ...); the last one is cut."""
    rng = np.random.default_rng(number)
    avail = rng.random((steps, 2, 3)) < 0.5
    action = rng.integers(3, size=(steps, 2, 1))
    np.put_along_axis(avail, action, True, axis=-1)
    reward = np.repeat(rng.uniform(0.1, 1, (steps, 1, 1)), 2, axis=1)
    reward[-1] = 2 + number  # a win, so that rewards rise
    done = np.zeros((steps, 2, 1), bool)
    done[-1] = number != len(LENGTHS) - 1
    return {"state": rng.normal(size=(steps, 2, 5)).astype("f4"), "obs": rng.normal(size=(steps, 2, 4)).astype("f4"),
            "action": action, "reward": reward, "done": done, "avail": avail.astype(int)}  # fmt: skip


def nested(parts: Parts, tensors: bool = False) -> list[Any]:
    """An episode as its file holds it: agents, steps, [state, obs, [action], [reward], done, avail]."""
    steps, agents = parts["reward"].shape[:2]

    def vector(values: np.ndarray) -> Any:
        return th.tensor(values) if tensors else values.tolist()

    return [
        [
            [*(vector(parts[key][row, agent]) for key in ("state", "obs", "action", "reward")),
             bool(parts["done"][row, agent, 0]), vector(parts["avail"][row, agent])]
            for row in range(steps)
        ]
        for agent in range(agents)
    ]  # fmt: skip


def folder(tmp_path: Path, tensors: bool = False, to_go: bool = False) -> tuple[Path, list[Parts]]:
    target, episodes = tmp_path / "3m" / "good", []
    target.mkdir(parents=True)
    for number, steps in enumerate(LENGTHS):
        parts = episode(number, steps)
        episodes.append(parts)
        rewards = np.cumsum(parts["reward"][::-1], axis=0)[::-1] if to_go else parts["reward"]
        th.save(nested(parts | {"reward": rewards}, tensors), target / f"episode{number}.pt")
    return target, episodes


@pytest.mark.parametrize("tensors", [False, True])
def test_every_row_is_kept(tensors: bool, tmp_path: Path) -> None:
    source, episodes = folder(tmp_path, tensors)
    found = imported("omiga-smac", source, tmp_path)
    assert found.episode_offsets.tolist() == [0, 5, 9, 15, 17]  # a copy behind terminals, none behind the cut
    for number, parts in enumerate(episodes):
        start, steps = found.episode_offsets[number], LENGTHS[number] - (number == 3)
        rows = slice(start, start + steps)
        np.testing.assert_array_equal(found.arrays["obs"][rows], parts["obs"][:steps])
        np.testing.assert_array_equal(found.arrays["state"][rows], parts["state"][:steps].reshape(steps, 10))
        np.testing.assert_array_equal(found.arrays["actions"][rows], parts["action"][:steps])
        np.testing.assert_array_equal(found.arrays["avail_actions"][rows], parts["avail"][:steps])
        np.testing.assert_array_equal(found.arrays["reward"][rows], parts["reward"][:steps, :, 0].astype("f4"))
        assert found.arrays["terminated"][start + steps - 1] == (number != 3)
    assert found.card["counts"] | {"terminals": 3, "time_limits": 1, "transitions": 13} == found.card["counts"]
    assert found.card["behaviour"] == "OMIGA's 3m/good" and found.card["quality"] == "good"
    assert found.last_action_known.tolist() == [False, False, False, True]
    notes = " ".join(found.card["made_by"]["notes"])
    assert "rewards are kept as they are: they are no returns to go" in notes and "1 episodes were cut" in notes
    assert "with it rewards of 5 in all" in notes and "no other row" not in notes


def test_episodes_of_one_row_are_told(tmp_path: Path) -> None:
    source, _ = folder(tmp_path)
    th.save(nested({key: array[-1:] for key, array in episode(3, 2).items()}), source / "episode3.pt")
    found = imported("omiga-smac", source, tmp_path)
    assert found.n_episodes == 3
    notes = " ".join(found.card["made_by"]["notes"])
    assert "with it rewards of 5 in all; 1 of them have no other row and are left out" in notes


def test_returns_to_go_become_rewards_again(tmp_path: Path) -> None:
    raw = imported("omiga-smac", folder(tmp_path / "a")[0], tmp_path)
    source, _ = folder(tmp_path / "b", to_go=True)
    found = imported("omiga-smac", source, tmp_path)
    whole = slice(0, 15)  # of the last, cut episode the reward of the left-out step cannot be known
    np.testing.assert_allclose(found.arrays["reward"][whole], raw.arrays["reward"][whole], atol=1e-6)
    assert "the files' rewards are returns to go" in " ".join(found.card["made_by"]["notes"])
    kept = imported("omiga-smac", source, tmp_path, rewards="raw")
    assert kept.arrays["reward"][0, 0] == pytest.approx(raw.arrays["reward"][:5, 0].sum())
    refused("omiga-smac", folder(tmp_path / "c")[0], tmp_path, "'reward' rises after row .* add --rewards raw",
            rewards="to-go")  # fmt: skip
    with pytest.raises(DatasetError, match="--rewards is 'other'; it must be raw or to-go"):
        IMPORTER.open(source, {"rewards": "other"})


def test_few_episodes_tell_nothing_of_rewards(tmp_path: Path) -> None:
    source, _ = folder(tmp_path, to_go=True)
    for number in (1, 2, 3):
        (source / f"episode{number}.pt").unlink()
    notes = " ".join(imported("omiga-smac", source, tmp_path).card["made_by"]["notes"])
    assert "too few episodes were there to tell them from returns to go" in notes


class Touch:
    """What a pickle may do: run a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def swap(index: int, value: Any) -> Callable[[list[Any]], Any]:
    return lambda agents: agents[1][2].__setitem__(index, value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda agents: agents[1].pop(), r"has agents of \[5, 4\] steps; all agents must have as many"),
        (lambda agents: agents.pop(), r"'state' has rows of \(1, 5\), episode0.pt has \(2, 5\)"),
        (lambda agents: agents[1][2].pop(), "agent 1 has on row 2 no list of state, obs, action, reward, done, avail"),
        (swap(1, [0.0, 1.0]), "'obs' of agent 1 on row 2 is no list of 4 numbers"),
        (swap(1, [0.0, [1.0], 2.0, 3.0]), "'obs' of agent 1 on row 2 is no list of 4 numbers"),
        (swap(2, ["left"]), "'action' of agent 1 on row 2 is no list of 1 numbers"),
        (swap(2, [0.5]), "'action' is no whole number on row 2"),
        (swap(2, [7]), "episode2.pt: actions is not in 0..2 on row 2"),
        (swap(2, [float("inf")]), "episode2.pt: 'action' is no whole number on row 2"),
        (swap(4, 2), "episode2.pt: 'done' is 2 on row 2; it must be 0 or 1"),
        (swap(5, [1, 1, float("nan")]), "episode2.pt: 'avail' is nan on row 2; it must be 0 or 1"),
        (
            lambda agents: [agent[1].__setitem__(4, True) for agent in agents] and None,
            "episode2.pt: 'done' is 1 for all agents on row 1, before the last row",
        ),
        (swap(5, [0, 0, 0]), "episode2.pt: actions was not available by avail_actions on row 2"),
        (swap(3, [float("nan")]), "episode2.pt: 'reward' holds a value that is not finite on row 2"),
        (
            swap(0, np.zeros(5)),
            "episode2.pt .*; where it holds NumPy arrays, only unpickling reads that, and nothing is",
        ),
    ],
)
def test_malformed_episodes_are_one_sentence(damage: Callable[[list[Any]], Any], message: str, tmp_path: Path) -> None:
    source, episodes = folder(tmp_path)
    agents = nested(episodes[2])
    damage(agents)
    th.save(agents, source / "episode2.pt")
    refused("omiga-smac", source, tmp_path, message)


def bomb(file: Path) -> None:
    """A tensor whose one number is said to be repeated, and an archive that is compressed."""
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in content.items():
            archive.writestr(name, part)
        archive.writestr("episode/data/9", bytes(1 << 24))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "3m" / "marker"
    cases: tuple[tuple[Callable[[Path], Any], str], ...] = (
        (lambda file: th.save([[[Touch(marker)]]], file), "holds more than tensors, numbers, texts and containers"),
        (lambda file: file.write_bytes(pickle.dumps(Touch(marker))), "is damaged or no file of tensors"),
        (
            lambda file: th.save([[Touch(marker)]], file, _use_new_zipfile_serialization=False),
            "before release 1.6; only",
        ),
        (lambda file: file.write_bytes(file.read_bytes()[:-200]), "is damaged or no file of tensors"),
        (lambda file: th.save(th.zeros(1).expand(1 << 40), file), "episode2.pt"),
        (bomb, "declares more than the .* bytes it holds"),
        (lambda file: th.save({"a": 1}, file), "holds no list of agents"),
    )
    for number, (damage, message) in enumerate(cases):
        source, _ = folder(tmp_path / str(number))
        damage(source / "episode2.pt")
        refused("omiga-smac", source, tmp_path, message)
    assert not marker.exists()


def test_what_the_page_tells_to_convert_elsewhere_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes of NumPy arrays, which are refused, become files that are read."""
    source, episodes = folder(tmp_path)
    for number, parts in enumerate(episodes):
        agents = nested(parts)
        for steps in agents:
            for step in steps:
                step[:] = [np.asarray(part) for part in step]
        th.save(agents, source / f"episode{number}.pt")
    refused("omiga-smac", source, tmp_path, "only unpickling reads that")
    page = (Path(__file__).parents[3] / "docs" / "your-data.md").read_text()
    found = re.search(r'python -c "\n(.*?)"$', page, re.DOTALL | re.MULTILINE)
    assert found is not None
    monkeypatch.chdir(source.parent)
    exec(textwrap.dedent(found.group(1)), {})
    found_set = imported("omiga-smac", source.parent / "plain", tmp_path)
    np.testing.assert_array_equal(found_set.arrays["obs"][:4], episodes[0]["obs"])


def test_probe_and_other_folders(tmp_path: Path) -> None:
    source, _ = folder(tmp_path)
    assert f"{source} is omiga-smac: a folder of 4 files of torch's, such as OMIGA's SMAC episodes" in probe(source)
    assert IMPORTER.recognise(tmp_path) is None
    refused("omiga-smac", tmp_path / "3m", tmp_path, "is no folder with files in it")
