"""The games by their environment configurations: collection, and online training."""

import subprocess
from pathlib import Path

import pytest

from datasets.dataset import read_dataset
from tests.command_line import MAIN
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
