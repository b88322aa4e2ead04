"""Robots by the command line: MAPPO trains them, its policy is evaluated, continued and collected with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from datasets.dataset import read_dataset
from tests.command_line import MAIN
from tests.fork_server import run_script
from utils.description import write_description

SMALL = ("env_args.time_limit=8", "batch_size_run=3", "hidden_dim=8", "test_nepisode=2")
ROLLOUT = ("batch_size=3", "buffer_size=3", "epochs=2", "minibatch=12", "t_max=48", "learner_log_interval=1")


def run(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_script(MAIN, [*words, f"local_results_path={tmp_path / 'results'}", "use_cuda=False"])


@pytest.mark.parametrize("runner", ["vector", pytest.param("parallel", marks=pytest.mark.slow)])
def test_mappo_moves_a_robot_and_its_policy_is_used(runner: str, tmp_path: Path) -> None:
    robot = ("--env-config=mamujoco", "with", "env_args.key=Hopper", "env_args.partition=3x1", *SMALL, "seed=3")
    trained = run(tmp_path, "--config=mappo", *robot, *ROLLOUT, f"runner={runner}")
    assert trained.returncode == 0, trained.stderr
    (folder,) = (tmp_path / "results" / "models").iterdir()
    description = json.loads((folder / "run.json").read_text())
    assert description["environment"]["simulator"]["robot"] == "hopper.xml"
    assert description["input_statistics"] == "everything that was played in training"
    (record,) = (tmp_path / "results").glob("sacred/*/*/1/metrics.json")
    logged = json.loads(record.read_text())
    assert {"actor_loss", "critic_loss", "approx_kl", "clip_fraction", "entropy"} <= set(logged)
    if runner == "parallel":
        return
    description["environment"]["simulator"]["mujoco"] = "2.1.0"
    write_description(folder, description)
    again = run(tmp_path, "with", "evaluate=True", f"checkpoint_path={folder}")
    assert again.returncode == 0 and "another simulator (mujoco is 2.1.0 there" in again.stderr, again.stderr
    path = tmp_path / "data.h5"
    words = ("collect=True", f"collect_to={path}", "collect_episodes=5", "exploration_noise=0.05")
    collected = run(tmp_path, "with", *words, f"checkpoint_path={folder}")
    assert collected.returncode == 0, collected.stderr
    data = read_dataset(path)
    assert data.card["behaviour"].startswith("gaussian actions (noise 0.05) of mappo")
    assert np.abs(data.arrays["actions"]).max() <= 1.0 and data.card["shapes"]["obs"] == 14
    offline = ("--config=bc", *robot, f"dataset={path}", "t_max=4", "batch_size=4")
    other = run(tmp_path, *offline, "env_args.observations=local")
    assert other.returncode == 1 and "env_args.observations is full there and local here" in other.stderr


def test_what_is_not_one_rollout_is_refused(tmp_path: Path) -> None:
    refused = run(tmp_path, "--config=ippo", "--env-config=mamujoco", "with", *SMALL, "seed=3")
    assert refused.returncode == 1 and "set batch_size=3 buffer_size=3" in refused.stderr
