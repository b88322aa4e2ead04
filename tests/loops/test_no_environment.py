"""Recorded data of no environment at all: written, read, inspected, learned from and judged by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dataset as dataset_command
from datasets.dataset import read_dataset, write_dataset
from loops.build import check_environment
from tests.command_line import MAIN
from tests.datasets.samples import continuous_arrays, continuous_card
from tests.fork_server import run_script
from utils.errors import DatasetError
from utils.settings import Settings

NONE: list[Any] = [None, {"env": None}, {"env": None, "env_args": {}}]


def robot(path: Path, environment: Any = None) -> Path:
    write_dataset(path, *continuous_arrays([4] * 20), {**continuous_card(), "environment": environment})
    return path


@pytest.mark.parametrize("environment", NONE)
def test_a_card_may_state_no_environment(environment: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = robot(tmp_path / "my_robot.h5", environment)
    card = read_dataset(path).card
    assert card["environment"] == {"env": None, "env_args": {}} and card["reference"] is None
    assert dataset_command.main(["inspect", str(path)]) == 0
    printed = capsys.readouterr().out
    assert '"env": null' in printed and "checks of training: passed" in printed
    assert dataset_command.main(["merge", str(path), str(path), "-o", str(tmp_path / "two.h5")]) == 0
    assert read_dataset(tmp_path / "two.h5").n_episodes == 40


@pytest.mark.parametrize("environment", [{}, {"env_args": {}}, {"name": "mpe"}, {"env": 3}, "none", []])
def test_a_card_that_says_nothing_of_it_is_refused(environment: Any, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="environment"):
        robot(tmp_path / "my_robot.h5", environment)
    card = continuous_card()
    del card["environment"]
    with pytest.raises(DatasetError, match="environment"):
        write_dataset(tmp_path / "my_robot.h5", *continuous_arrays([4]), card)


def test_nothing_scores_data_of_no_environment(tmp_path: Path) -> None:
    path = robot(tmp_path / "my_robot.h5")
    settings = Settings(dataset=str(path), env="mpe", env_args={"key": "simple_spread"})
    with pytest.raises(DatasetError, match=r"no environment \(env: null\), so .* in mpe; train with --env-config=none"):
        check_environment(settings, read_dataset(path), {})


def test_robot_logs_are_learned_from_and_judged_by(tmp_path: Path) -> None:
    """The README's command, held-out losses and the value of the policy that it has made."""
    path = robot(tmp_path / "my_robot.h5")
    results = tmp_path / "results"
    keys = (f"dataset={path}", f"local_results_path={results}", "validation_share=0.2", "t_max=4", "test_interval=2",
            "batch_size=8", "hidden_dim=8", "use_cuda=False")  # fmt: skip
    learned = run_script(MAIN, ["--config=bc", "--env-config=none", "with", *keys])
    assert learned.returncode == 0, learned.stderr
    (policy,) = (results / "models").iterdir()
    valued = run_script(MAIN, ["--config=fqe", "--env-config=none", "with", *keys, f"policy_path={policy}"])
    assert valued.returncode == 0, valued.stderr
    for name, figures in (("bc", {"validation_bc_loss"}), ("fqe", {"fqe_value", "fqe_spread"})):
        (run,) = (results / "sacred" / name / "my_robot").glob("[0-9]*")  # filed under the dataset's name
        record = json.loads((run / "run.json").read_text())
        logged = json.loads((run / "metrics.json").read_text())
        assert record["status"] == "COMPLETED" and all(logged[key]["steps"] == [0, 2, 4] for key in figures)
        assert record["result"] == (logged["fqe_value"]["values"][-1] if name == "fqe" else None)
    assert policy.name.startswith("bc_seed") and "_my_robot_" in policy.name
