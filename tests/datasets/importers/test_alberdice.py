"""AlberDICE's buffers: what an import keeps, which terminals it corrects, what it refuses."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataset import main
from datasets.dataset import OfflineDataset, read_dataset
from datasets.importers import alberdice
from datasets.importers.alberdice import import_alberdice
from envs.bridge import BridgeEnv, bridge_tables
from envs.matrix_game import MatrixGameEnv
from tests.datasets.games import BRIDGE_MIX, BRIDGE_OPTIMUM, XOR_BUFFERS, needs_published, write_buffer
from utils.errors import DatasetError


def xor_folder(tmp_path: Path) -> Path:
    env = MatrixGameEnv(episode_limit=5, reward_scalarisation="mean")
    return write_buffer(tmp_path / "mmdp" / "xor", env, [[(0, 1)] * 5, [(1, 1), (0, 0)]])


def bridge_folder(tmp_path: Path, start_adjacent: bool = True) -> Path:
    env = BridgeEnv(episode_limit=10, start_adjacent=start_adjacent, reward_scalarisation="mean")
    return write_buffer(tmp_path / "b" / "bridge", env, [BRIDGE_OPTIMUM, [(3, 4)] * 10])


def imported(folder: Path, tmp_path: Path) -> OfflineDataset:
    import_alberdice(folder, tmp_path / "imported.h5")
    return read_dataset(tmp_path / "imported.h5")


def test_xor_never_terminates(tmp_path: Path) -> None:
    dataset = imported(xor_folder(tmp_path), tmp_path)
    assert dataset.n_episodes == 2 and dataset.n_transitions == 10 and not dataset.arrays["terminated"].any()
    assert dataset.card["made_by"]["time_limits_corrected"] == 2 and dataset.card["counts"]["time_limits"] == 2
    assert dataset.card["environment"] == {"env": "matrix_game", "env_args": {"key": "xor"}}
    np.testing.assert_array_equal(dataset.arrays["reward"][6:9], [[-2, -2], [0, 0], [0, 0]])
    assert dataset.arrays["state"].shape == (12, 4) and dataset.card["n_actions"] == 2


def test_bridge_terminates_where_both_agents_are_home(tmp_path: Path) -> None:
    dataset = imported(bridge_folder(tmp_path), tmp_path)
    lengths = np.diff(dataset.episode_offsets) - 1
    assert lengths.tolist() == [8, 10]
    assert np.flatnonzero(dataset.arrays["terminated"]).tolist() == [7]
    assert dataset.card["made_by"]["time_limits_corrected"] == 1
    assert dataset.card["returns"]["max"] == pytest.approx(-1.23545, abs=1e-5)
    assert dataset.card["environment"] == {"env": "bridge", "env_args": {"start_adjacent": True}}
    again = imported(bridge_folder(tmp_path / "apart", start_adjacent=False), tmp_path)
    assert again.card["environment"]["env_args"] == {"start_adjacent": False}


def change(name: str, edit: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    """An edit of one of a folder's arrays, in place or by what it returns."""

    def apply(folder: Path) -> None:
        array = np.load(folder / f"{name}.npy")
        edited = edit(array)
        np.save(folder / f"{name}.npy", array if edited is None else edited)

    return apply


def put(index: tuple, value: float) -> Callable[[np.ndarray], None]:
    return lambda array: array.__setitem__(index, value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "reward.npy").unlink(), "reward.npy does not exist; an AlberDICE buffer holds obs"),
        (lambda folder: (folder / "state.npy").write_bytes(b"no array"), "state.npy is no array of numbers"),
        (lambda folder: np.save(folder / "obs.npy", np.array([{}]), allow_pickle=True), "obs.npy is no array"),
        (change("avail_actions", lambda a: a[0]), r"avail_actions.npy has shape \(11, 2, 5\); it must be"),
        (change("reward", lambda a: a[:, :-1]), r"reward.npy has shape \(2, 10, 1\); .* must be \(2, 11, 1\)"),
        (change("state", lambda a: a[..., :7]), r"obs.npy has shape \(2, 11, 2, 8\); .* must be \(2, 11, 2, 7\)"),
        (change("filled", put((0, 3), 0)), "filled.npy must be ones from each episode's first row on"),
        (change("filled", put((0,), 0)), "filled.npy must be ones from each episode's first row on"),
        (change("actions", put((0, 2, 0), 5)), r"actions.npy must hold .* from 0 to 4 \(row 2 of episode 0\)"),
        (change("obs", put((1, 2, 0), np.nan)), "episode 1 of .*: obs holds a value that is not finite .* on row 2"),
        (change("avail_actions", put((1, 2, 0), 2)), "episode 1 of .*avail_actions.npy: 'avail_actions' is 2 on row 2"),
        (change("terminated", put((1, 9), 2)), "episode 1 of .*terminated.npy: 'terminated' is 2 on row 9"),
        (change("terminated", put((1, 2), 1)), "is 1 at row 2 of episode 1, whose last step is row 9"),
        (change("terminated", put((0, 7), 0)), "is 0 at the end of episode 0, which has both agents on their goals"),
        (change("state", put((0, 8, 0), 1)), "is 1 at the end of episode 0, which has an agent off its goal before"),
        (change("state", put((0, 0, 3), 4)), "state.npy has other goals than"),
        (change("state", put((0, 0, 1), 4)), "state.npy has other first places than"),
    ],
)
def test_a_malformed_folder_is_one_sentence(damage: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    folder = bridge_folder(tmp_path)
    damage(folder)
    with pytest.raises(DatasetError, match=message) as raised:
        import_alberdice(folder, tmp_path / "out.h5")
    assert "\n" not in str(raised.value) and str(folder) in str(raised.value)
    assert not (tmp_path / "out.h5").exists()


def test_episodes_go_through_memory_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bridge_folder(tmp_path)
    for file in folder.glob("*.npy"):
        np.save(file, np.tile(np.load(file), (3000, *[1] * (np.load(file).ndim - 1))))
    size = sum(file.stat().st_size for file in folder.glob("*.npy"))
    monkeypatch.setattr(alberdice, "_BLOCK", 1 << 16)
    tracemalloc.start()
    source = alberdice.IMPORTER.open(folder, {})
    n_steps = sum(len(episode.arrays["reward"]) - 1 for episode in source.episodes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_steps % 3000 == 0 and peak < 0.05 * size
    assert source.notes == ["3000 time limits were flagged as terminals and are none now; 3000 terminals"]
    assert source.card["made_by"] == {"time_limits_corrected": 3000}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("state", put((0, 2), 1)), "state.npy has other states than"),
        (change("reward", put((0, 2), -2)), "reward.npy has other rewards than the XOR game pays"),
    ],
)
def test_the_two_state_variant_is_no_xor_game(damage: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    folder = xor_folder(tmp_path)
    damage(folder)
    with pytest.raises(DatasetError, match=message):
        import_alberdice(folder, tmp_path / "out.h5")


def test_other_games_and_missing_folders_are_refused(tmp_path: Path) -> None:
    env = MatrixGameEnv(key="penalty", episode_limit=2)
    folder = write_buffer(tmp_path / "penalty", env, [[(0, 0), (3, 3)]])
    with pytest.raises(DatasetError, match="has 4 actions and states of 4 numbers, the XOR game 2 and 4"):
        import_alberdice(folder, tmp_path / "out.h5")
    with pytest.raises(DatasetError, match="is no folder; give one that holds obs.npy"):
        import_alberdice(tmp_path / "nowhere", tmp_path / "out.h5")


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = bridge_folder(tmp_path), str(tmp_path / "bridge.h5")
    assert main(["import-alberdice", str(folder), "-o", out]) == 0
    printed = " ".join(capsys.readouterr().out.split())  # lines are broken at the terminal's width
    assert "1 time limits were flagged as terminals" in printed and "2 episodes, 18 transitions" in printed
    assert main(["verify", out]) == 0
    assert main(["import-alberdice", str(folder), "-o", out]) == 1
    assert "exists already" in capsys.readouterr().err


@needs_published
@pytest.mark.parametrize("name", ["02_20", "00_02_20"])
def test_published_xor_sets(name: str, tmp_path: Path) -> None:
    dataset = imported(XOR_BUFFERS / f"buffer_{name}", tmp_path)
    assert dataset.n_episodes == 100 and dataset.n_transitions == 5000
    assert dataset.card["made_by"]["time_limits_corrected"] == 100 and dataset.card["counts"]["terminals"] == 0
    returns = dataset.card["returns"]
    expected = {"02_20": (50.0, 0.0), "00_02_20": (33.29, 3.38)}[name]
    assert (returns["mean"], returns["std"]) == pytest.approx(expected, abs=1e-3)


@needs_published
def test_published_bridge_mix_is_the_tables_game(tmp_path: Path) -> None:
    """All 28 885 published transitions, with their rewards, are those of `bridge_tables`."""
    dataset, tables = imported(BRIDGE_MIX, tmp_path), bridge_tables()
    assert dataset.n_episodes == 1000 and dataset.n_transitions == 28_885
    assert dataset.card["made_by"]["time_limits_corrected"] == 491 and dataset.card["counts"]["terminals"] == 509
    returns = dataset.card["returns"]
    assert (returns["mean"], returns["std"]) == pytest.approx((-9.464, 8.652), abs=1e-3)
    assert (returns["min"], returns["max"]) == pytest.approx((-24.295, -1.23545), abs=1e-3)
    rows = dataset.arrays["state"]
    index = {tuple(row): state for state, row in enumerate(tables.states.tolist())}
    states = np.array([index[tuple(row)] for row in rows.tolist()])
    steps = np.ones(len(states), bool)
    steps[dataset.episode_offsets[1:] - 1] = False
    here = np.flatnonzero(steps)
    action = dataset.arrays["actions"][here, :, 0] @ [5, 1]
    np.testing.assert_array_equal(tables.next_state[states[here], action], states[here + 1])
    done = tables.done[states[here], action]
    np.testing.assert_array_equal(done, dataset.arrays["terminated"][here] == 1)
    assert len(np.unique(states[here])) == 174
    ends = np.isin(here, dataset.episode_offsets[1:] - 2)  # the step that ends an episode pays 0
    expected = np.where(ends, 0.0, tables.reward[states[here], action])
    np.testing.assert_allclose(dataset.arrays["reward"][here, 0], expected, atol=1e-6)
