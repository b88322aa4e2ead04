"""One thread a process, and a tiny dataset that the command-line tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch as th

from tests.command_line import CommandLine

os.environ["OMP_NUM_THREADS"] = "1"
th.set_num_threads(1)


def collected(folder: Path, *updates: str) -> Path:
    """Forty random episodes of Cooperative Navigation, made by the command that makes datasets."""
    path = folder / "tiny.h5"
    result = CommandLine(folder / "results", path).run(
        "collect=True", "collect_episodes=40", f"collect_to={path}", "batch_size_run=20", "seed=1", *updates,
        config="random",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return path


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collected(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def tiny_discrete_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collected(tmp_path_factory.mktemp("discrete"), "env_args.continuous_actions=False")


@pytest.fixture
def cli(tmp_path: Path, tiny_dataset: Path) -> CommandLine:
    return CommandLine(tmp_path / "results", tiny_dataset)


@pytest.fixture
def discrete_cli(tmp_path: Path, tiny_discrete_dataset: Path) -> CommandLine:
    return CommandLine(tmp_path / "results", tiny_discrete_dataset)
