"""Robots' data: local observations made of states, and the table of reference returns."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import dataset as command
from benchmarks.robot_references import uniform_returns
from datasets.dataset import read_dataset
from datasets.references import reference_returns, reference_simulator
from datasets.robot_references import FILES, MEASURED, simulator_of
from envs.mamujoco.robot_env import RobotEnv
from envs.mamujoco.robots import PARTITIONS
from tests.command_line import ROOT

NAME = "mamujoco/HalfCheetah-2x3/expert-20k"


def test_local_observations_are_those_that_the_environment_shows(tmp_path: Path) -> None:
    out = tmp_path / "local.h5"
    assert command.main(["localise", NAME, "--agent-obsk", "0", "--no-torso", "-o", str(out)]) == 0
    there, here = read_dataset(ROOT / "offline_data" / f"{NAME}.h5"), read_dataset(out)
    env_args = here.card["environment"]["env_args"]
    assert (env_args["observations"], env_args["agent_obsk"], env_args["observe_torso"]) == ("local", 0, False)
    assert here.card["shapes"] == {"n_agents": 2, "obs": 6, "state": 17}
    assert here.card["reference"] == there.card["reference"]
    for key in ("actions", "reward", "state", "terminated"):
        np.testing.assert_array_equal(here.arrays[key], there.arrays[key])
    env = RobotEnv(**{key: value for key, value in env_args.items() if key != "seed"})
    env.reset(seed=0)
    for row in (0, 7, 1500):
        env._state = there.arrays["state"][row].astype(np.float64)
        np.testing.assert_array_equal(here.arrays["obs"][row], env.get_obs())


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("bridge/mix", [], "is of no robot of --env-config=mamujoco"),
        ("mamujoco/Ant-2x4/medium-20k", [], "Ant has no local observations with these env_args"),
        (NAME, ["--agent-obsk", "-1"], "agent_obsk must be a whole number of at least 0"),
    ],
)
def test_what_cannot_be_seen_locally_is_refused(
    name: str, words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["localise", name, "--agent-obsk", "0", *words, "-o", str(tmp_path / "no.h5")]) == 1
    assert said in capsys.readouterr().err and not (tmp_path / "no.h5").exists()


def test_every_robot_and_partition_has_a_measured_reference() -> None:
    assert set(MEASURED) == {(key, partition) for key, partitions in PARTITIONS.items() for partition in partitions}
    assert set(FILES) == set(PARTITIONS)
    trained = {pair for pair, found in MEASURED.items() if found.expert is not None}
    folders = {path.name for path in (ROOT / "offline_data" / "mamujoco").iterdir() if (path / "policies").is_dir()}
    assert {"-".join(pair) for pair in trained} == folders
    walker = {"key": "Walker2d", "partition": "2x3"}
    assert reference_returns("mamujoco", walker) is None and reference_simulator("mamujoco", walker) is None
    hopper = {"key": "Hopper", "partition": "3x1"}
    assert reference_simulator("mamujoco", hopper) == {"simulator": simulator_of("Hopper")}
    assert reference_simulator("mpe", {"key": "simple_spread"}) is None


@pytest.mark.parametrize("key", ["Hopper", "Reacher"])
def test_uniform_actions_return_what_the_table_says(key: str) -> None:
    returns, simulator = uniform_returns(key, PARTITIONS[key][0], 60)
    if simulator != simulator_of(key):
        pytest.skip(f"the table is of another simulator than {simulator}")
    found = MEASURED[key, PARTITIONS[key][0]]
    error = np.hypot(returns.std(ddof=1) / 60**0.5, found.random_error)
    assert abs(returns.mean() - found.random) < 4 * error


def test_the_page_shows_the_table() -> None:
    page = (ROOT / "docs" / "reference" / "environments.md").read_text()
    rows = re.findall(r"^\| `(\w+)` `([^`]+)` \| ([^|]+) \| ([^|]*) ?\|", page, re.MULTILINE)
    shown = {(key, partition.replace("\\|", "|")): (random, expert.strip()) for key, partition, random, expert in rows}

    def text(mean: float | None, error: float | None) -> str:
        return "" if mean is None else f"{mean:,.1f} +- {error:.1f}".replace(",", " ")

    assert shown == {
        pair: (text(found.random, found.random_error), text(found.expert, found.expert_error))
        for pair, found in MEASURED.items()
    }
