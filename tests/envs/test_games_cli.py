"""The games by their environment configurations: collection, and online training."""

import subprocess
from pathlib import Path

import pytest

from datasets.dataset import read_dataset, write_dataset
from tests.command_line import MAIN, ROOT
from tests.fork_server import run_script


def run(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_script(MAIN, [*words, f"local_results_path={tmp_path / 'results'}", "seed=0", "use_cuda=False"])


@pytest.mark.parametrize(("env", "mean"), [("matrix_game", 0.0), ("bridge", -17.56)])
def test_random_agents_collect(env: str, mean: float, tmp_path: Path) -> None:
    path = tmp_path / "random.h5"
    updates = ("collect=True", "collect_episodes=200", f"collect_to={path}", "batch_size_run=50")
    result = run(tmp_path, "--config=random", f"--env-config={env}", "with", *updates)
    assert result.returncode == 0, result.stderr
    card = read_dataset(path).card
    returns = card["returns"]
    assert abs(returns["mean"] - mean) < 4 * returns["std"] / 200**0.5
    assert (card["counts"]["time_limits"] == 200) == (env == "matrix_game")


def test_qmix_trains_in_bridge_and_is_refused_pictures_before_it_is_evaluated(tmp_path: Path) -> None:
    updates = ("t_max=600", "batch_size=4", "test_nepisode=2", "buffer_size=20")
    result = run(tmp_path, "--config=qmix", "--env-config=bridge", "with", *updates)
    assert result.returncode == 0, result.stderr
    (checkpoints,) = (tmp_path / "results" / "models").iterdir()
    words = ("evaluate=True", "render=True", f"checkpoint_path={checkpoints}")
    drawn = run(tmp_path, "--config=qmix", "--env-config=bridge", "with", *words, "batch_size_run=2", "test_nepisode=2")
    assert drawn.returncode == 1 and "over 2 episodes" not in drawn.stderr
    assert "cannot be drawn: leave out render=True" in drawn.stderr.splitlines()[-1], drawn.stderr


def test_data_without_a_state_are_learned_from_beside_an_environment_that_has_one(tmp_path: Path) -> None:
    """Their state is all observations side by side, as that of OMIGA's robots is; no policy reads it."""
    bundled = read_dataset(ROOT / "offline_data" / "bridge" / "mix.h5")
    arrays = {key: array for key, array in bundled.arrays.items() if key != "state"}
    card = {key: value for key, value in bundled.card.items() if not key.startswith("state_")}
    write_dataset(tmp_path / "own.h5", arrays, bundled.episode_offsets, card)
    assert read_dataset(tmp_path / "own.h5").env_info()["state_shape"] != bundled.env_info()["state_shape"]
    updates = (f"dataset={tmp_path / 'own.h5'}", "t_max=5", "test_nepisode=4", "batch_size_run=2")
    result = run(tmp_path, "--config=qmix_cql", "--env-config=bridge", "with", *updates)
    assert result.returncode == 0, result.stderr
    (checkpoints,) = (tmp_path / "results" / "models").iterdir()
    played = run(tmp_path, "with", "evaluate=True", f"checkpoint_path={checkpoints}")
    assert played.returncode == 0, played.stderr
