"""OMIGA's hdf5 files of robots, written as they were published: the late flag, time limits, clipped actions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from datasets.importers import omiga_mujoco
from datasets.importers.run import import_dataset, probe
from envs.mamujoco.robot_env import RobotEnv
from tests.datasets.importers.foreign import imported, refused

NAME = "Hopper-v2-3x1-medium.hdf5"
STEPS = (4, 1000, 7)
Files = dict[str, np.ndarray]


def logged(steps: tuple[int, ...] = STEPS, obs: int = 14, agents: int = 3) -> Files:
    """Noise; an episode of L steps holds L + 1 rows, of which the last is flagged and has action and reward too."""
    rng, n_rows = np.random.default_rng(0), sum(steps) + len(steps)
    ends = np.cumsum(np.array(steps) + 1) - 1
    flags = np.zeros((n_rows, agents))
    flags[ends] = 1
    seen = rng.normal(size=(n_rows, agents, obs)).astype(np.float32)
    return {
        "o": seen,
        "s": seen.copy(),
        "a": np.clip(rng.normal(0, 0.7, (n_rows, agents, 1)), -1, 1).astype(np.float32),
        "r": np.repeat(rng.normal(size=(n_rows, 1, 1)), agents, axis=1).astype(np.float32),
        "d": flags,
    }


def save(path: Path, files: Files) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in files.items():
            file[name] = array
    return path


def test_episodes_end_at_the_late_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(omiga_mujoco, "_BLOCK", 10_000)  # many blocks, with episodes over several of them
    files = logged()
    files["a"][[2, 500]] = 1.75
    files["a"][4] = 2.5  # on a final row, from which no step starts
    dataset = imported("omiga-mujoco", save(tmp_path / NAME, files), tmp_path)
    card, offsets = dataset.card, dataset.episode_offsets
    assert offsets.tolist() == [0, 5, 1006, 1014] and card["counts"]["transitions"] == sum(STEPS)
    assert np.flatnonzero(dataset.arrays["terminated"]).tolist() == [3, 1012], "the one of 1000 steps is a time limit"
    np.testing.assert_array_equal(dataset.arrays["obs"], files["o"])
    np.testing.assert_array_equal(dataset.arrays["actions"][:4], np.clip(files["a"][:4], -1, 1))
    assert not dataset.arrays["actions"][4].any() and not dataset.last_action_known.any()
    returns = [files["r"][a : b - 1, 0, 0].sum(dtype=np.float64) for a, b in zip(offsets, offsets[1:], strict=False)]
    assert card["returns"]["mean"] == pytest.approx(np.mean(returns), rel=1e-5)
    assert "state" not in dataset.arrays, "it is the observations side by side"
    notes = " ".join(card["made_by"]["notes"])
    assert "1 ends after 1000 steps were flagged as terminals" in notes and "6 actions were outside [-1, 1]" in notes
    lost = files["r"][offsets[1:] - 1, 0, 0].astype(float).sum()
    assert f"3 final rows, from which no step starts, have rewards, which are left out: {lost:g} in all" in notes
    assert card["quality"] == "medium" and card["reward"].startswith("the team's")


def test_final_rows_without_rewards_need_no_note_and_other_arrays_do(tmp_path: Path) -> None:
    files = logged((4, 2))
    files["r"][[4, 7]] = 0
    dataset = imported("omiga-mujoco", save(tmp_path / NAME, files | {"extra": np.zeros(3)}), tmp_path)
    notes = dataset.card["made_by"]["notes"]
    assert "left out: extra" in notes and "final rows" not in " ".join(notes)


def test_the_environment_is_ours_where_observations_are(tmp_path: Path) -> None:
    dataset = imported("omiga-mujoco", save(tmp_path / NAME, logged((4, 2))), tmp_path)
    environment = dataset.card["environment"]
    assert environment["env"] == "mamujoco" and environment["versions"] == {"mujoco": "2.0"}
    env = RobotEnv(**environment["env_args"])
    info, ours = dataset.env_info(), env.get_env_info()
    assert {key: info[key] for key in ("obs_shape", "n_actions", "n_agents")} == {
        key: ours[key] for key in ("obs_shape", "n_actions", "n_agents")
    }
    ant = save(tmp_path / "Ant-v2-2x4-expert.hdf5", logged((4, 2), obs=113, agents=2))
    card, notes = import_dataset("omiga-mujoco", ant, tmp_path / "ant.h5", {})
    assert card["environment"]["env"] is None and card["quality"] == "expert"
    assert any("113 numbers here and others in Gymnasium's Ant-v5" in note for note in notes)
    card, notes = import_dataset("omiga-mujoco", save(tmp_path / "x.hdf5", logged((4,))), tmp_path / "x.h5", {})
    assert card["environment"]["env"] is None and any("does not tell the robot" in note for note in notes)


def test_a_state_of_its_own_and_flat_rewards(tmp_path: Path) -> None:
    files = logged((4, 2))
    files |= {"s": files["s"] + 1, "r": files["r"][:, 0, 0], "d": files["d"][:, 0].astype(bool)}
    dataset = imported("omiga-mujoco", save(tmp_path / NAME, files), tmp_path)
    np.testing.assert_array_equal(dataset.arrays["state"], files["s"].reshape(8, -1))
    np.testing.assert_array_equal(dataset.arrays["reward"][:4, 2], files["r"][:4])


def test_a_file_that_ends_within_an_episode(tmp_path: Path) -> None:
    files = {name: array[:-3] for name, array in logged((4, 7)).items()}
    dataset = imported("omiga-mujoco", save(tmp_path / NAME, files), tmp_path)
    assert dataset.episode_offsets.tolist() == [0, 5, 10]
    assert np.flatnonzero(dataset.arrays["terminated"]).tolist() == [3]
    files = {name: array[:6] for name, array in logged((4, 7)).items()}
    dataset = imported("omiga-mujoco", save(tmp_path / NAME, files), tmp_path)
    assert dataset.n_episodes == 1 and "is left out" in " ".join(dataset.card["made_by"]["notes"])


def test_a_probe_tells_it(tmp_path: Path) -> None:
    lines = " ".join(probe(save(tmp_path / NAME, logged((4, 2)))))
    assert "is omiga-mujoco: OMIGA's hdf5 of multi-agent MuJoCo: 8 rows of 3 agents" in lines
    assert '"key": "Hopper"' in lines and "quality: medium" in lines


def put(name: str, index: Any, value: float) -> Callable[[Files], None]:
    return lambda files: files[name].__setitem__(index, value)


def becomes(name: str, edit: Callable[[np.ndarray], np.ndarray]) -> Callable[[Files], None]:
    return lambda files: files.__setitem__(name, edit(files[name]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (put("o", (6, 1, 2), np.nan), "medium.hdf5: o holds a value that is not finite on row 6"),
        (put("a", (1, 1, 0), np.inf), "medium.hdf5: a holds a value that is not finite on row 1"),
        (put("r", (3, 1), 9.0), "medium.hdf5: r differs over agents on row 3"),
        (put("d", (2, 0), 1.0), "medium.hdf5: d differs over agents on row 2"),
        (put("d", 2, 2.0), "medium.hdf5: d is neither 0 nor 1 on row 2"),
        (put("d", 5, 1.0), "medium.hdf5: d ends an episode that has no step on row 5"),
        (becomes("o", lambda a: a[:, :, 0]), r"medium.hdf5: o has shape \(8, 3\); it must be"),
        (becomes("a", lambda a: a[:-1]), r"medium.hdf5: a has shape \(7, 3, 1\); beside o of shape \(8, 3, 14\)"),
        (becomes("d", lambda a: a[:, :2]), r"medium.hdf5: d has shape \(8, 2\); beside o"),
        (becomes("a", lambda a: a.astype(int)), "medium.hdf5: a is of type int64; it must hold floats"),
        (lambda files: files.pop("d"), "medium.hdf5 lacks 'd'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(damage: Callable[[Files], Any], message: str, tmp_path: Path) -> None:
    files = logged((4, 2))
    damage(files)
    refused("omiga-mujoco", save(tmp_path / NAME, files), tmp_path, message)


def test_an_episode_that_is_too_long_lacks_a_flag(tmp_path: Path) -> None:
    refused("omiga-mujoco", save(tmp_path / NAME, logged((4, 1001))), tmp_path,
            "rows 5 to 1006 have no d before their last one, and episodes end after 1000 steps")  # fmt: skip


def test_truncated_files_and_links_out_of_the_file(tmp_path: Path) -> None:
    path = save(tmp_path / NAME, logged((4, 2)))
    path.write_bytes(path.read_bytes()[:-100])
    refused("omiga-mujoco", path, tmp_path, "cannot be read as HDF5, so it is truncated")
    save(tmp_path / "other.hdf5", logged((4, 2)))
    save(path, {name: array for name, array in logged((4, 2)).items() if name != "o"})
    with h5py.File(path, "r+") as file:
        file["o"] = h5py.ExternalLink(str(tmp_path / "other.hdf5"), "o")
    refused("omiga-mujoco", path, tmp_path, "'o' in .* is a link, and links are not followed")
