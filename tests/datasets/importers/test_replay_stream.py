"""Any format's data of our particle tasks are replayed: columns that do not fit together are found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets.exporters import export_dataset
from datasets.importers import replay_stream
from tests.datasets.importers.foreign import imported, refused
from tests.datasets.importers.test_omar import EPISODES, LENGTH, Files, logged

Episodes = dict[str, np.ndarray]
SPREAD = {"env": "mpe", "env_args": json.dumps({"key": "simple_spread"})}
NOTE = "transitions were replayed in the simulator and lead to the logged ones"


def episodes(files: Files) -> Episodes:
    """OMAR's rows as episodes: obs (E, L + 1, N, O), actions (E, L, N, A), reward (E, L, N)."""

    def cut(kind: str) -> np.ndarray:
        rows = np.stack([files[f"{kind}_{i}"] for i in range(3)], 1)
        return rows.reshape(EPISODES, LENGTH, *rows.shape[1:])

    obs = np.concatenate([cut("obs"), cut("next_obs")[:, -1:]], 1)
    return {"obs": obs, "actions": cut("acs"), "reward": cut("rews"), "terminated": np.zeros(EPISODES, bool)}


def save(path: Path, found: Episodes) -> Path:
    arrays = {
        f"{key}_{i}": found[key].reshape(-1, *found[key].shape[2:])[:, i]
        for key in ("obs", "actions", "reward")
        if found[key].ndim > 2
        for i in range(3)
    }
    if found["reward"].ndim == 2:
        arrays["reward"] = found["reward"].reshape(-1)
    n_actions = found.get("n_actions")
    arrays |= {"action_low": -1.0, "action_high": 1.0} if n_actions is None else {"n_actions": n_actions}
    lengths = np.full(EPISODES, found["actions"].shape[1])
    np.savez(path, lengths=lengths, terminated=found["terminated"], **arrays)
    return path


def change(key: str, make: Callable[[np.ndarray], np.ndarray]) -> Callable[[Episodes], None]:
    return lambda found: found.__setitem__(key, make(found[key]))


def starts_anew(obs: np.ndarray) -> np.ndarray:
    """An environment that resets itself: the final observation is another episode's first one."""
    return np.concatenate([obs[:, :-1], np.roll(obs, -2, axis=0)[:, :1]], axis=1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("actions", lambda a: np.roll(a, 1, axis=1)), "those of row .* do, so actions stand one row too late"),
        (change("actions", lambda a: np.roll(a, -1, axis=1)), "those of row .* do, so actions stand one row too early"),
        (change("actions", lambda a: a[:, :, [1, 0, 2]]), "is not what obs and actions lead to in simple_spread .* of"),
        (change("reward", lambda a: np.roll(a, 1, axis=1)), "reward of agent . is .* and simple_spread pays .* there"),
        (change("reward", lambda a: np.roll(a.mean(2), 1, axis=1)), "reward of agent . is .* and simple_spread pays"),
        (
            change("obs", starts_anew),
            r"row 25, the episode's final row, .* \(12 of 12 such rows differ\); it may be the next",
        ),
        (change("terminated", lambda a: ~a), "terminated is 1 on row 24, and simple_spread has no terminals"),
    ],
)
def test_a_column_that_does_not_fit_is_found(
    damage: Callable[[Episodes], None], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_stream, "_SAMPLE", 60)
    found = episodes(logged("simple_spread"))
    damage(found)
    path = save(tmp_path / "log.npz", found)
    refused("numpy", path, tmp_path, message, **SPREAD)
    assert imported("numpy", path, tmp_path).n_episodes == EPISODES  # which nobody says to be of that task


@pytest.mark.parametrize("scalarise", [None, lambda a: a.mean(2), lambda a: a.sum(2), lambda a: a[..., 0]])
def test_sound_data_are_replayed(scalarise: Callable[[np.ndarray], np.ndarray] | None, tmp_path: Path) -> None:
    found = episodes(logged("simple_spread"))
    if scalarise is not None:
        found["reward"] = scalarise(found["reward"])
    dataset = imported("numpy", save(tmp_path / "log.npz", found), tmp_path, **SPREAD)
    notes = dataset.card["made_by"]["notes"]
    assert f"{9 * EPISODES} {NOTE}" in notes[-1]  # eight inside of each episode, and its last
    if scalarise is None:
        export_dataset("minari", dataset, tmp_path / "there-v0")
        assert NOTE in imported("minari", tmp_path / "there-v0", tmp_path).card["made_by"]["notes"][-1]


def test_a_prey_that_is_not_here_is_not_replayed(tmp_path: Path) -> None:
    path = save(tmp_path / "log.npz", episodes(logged("simple_tag")))
    arguments = {"key": "simple_tag"}
    assert (
        NOTE in imported("numpy", path, tmp_path, env="mpe", env_args=json.dumps(arguments)).card["made_by"]["notes"][0]
    )
    arguments["prey"] = str(tmp_path / "nowhere.safetensors")
    notes = imported("numpy", path, tmp_path, env="mpe", env_args=json.dumps(arguments)).card["made_by"]["notes"]
    assert notes == [f"nothing was replayed, as the prey's file {arguments['prey']} is not here"]


def shortened(found: Episodes) -> None:
    for key, rows in (("obs", 3), ("actions", 2), ("reward", 2)):
        found[key] = found[key][:, :rows]


def widened(found: Episodes) -> None:
    found["obs"] = np.concatenate([found["obs"], found["obs"][..., :3]], axis=3)


def made_discrete(found: Episodes) -> None:
    found["actions"] = np.zeros((*found["actions"].shape[:3], 1), np.int64)
    found["n_actions"] = np.array(5)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (widened, "observations are 21 numbers of 3 agents, and simple_spread shows 18 to 3"),
        (made_discrete, "its actions are discrete"),
        (shortened, "a step is judged by those before and after it, and no episode has three"),
    ],
)
def test_a_note_says_why_nothing_is_replayed(damage: Callable[[Episodes], None], why: str, tmp_path: Path) -> None:
    found = episodes(logged("simple_spread"))
    damage(found)
    notes = imported("numpy", save(tmp_path / "log.npz", found), tmp_path, **SPREAD).card["made_by"]["notes"]
    assert notes == [f"nothing was replayed, as {why}"]


def test_a_note_says_where_no_task_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "log.npz", episodes(logged("simple_spread")))
    for arguments, why in (
        (None, "env_args name no key; those of simple_spread, "),
        ({"key": "simple_adversary"}, "the key simple_adversary is another task's"),
        ({"key": "simple_tag", "control": "all"}, "control is all, where predators are replayed"),
    ):
        given = {} if arguments is None else {"env_args": json.dumps(arguments)}
        (note,) = imported("numpy", path, tmp_path, env="mpe", **given).card["made_by"]["notes"]
        assert note.startswith(f"nothing was replayed, as {why}")
