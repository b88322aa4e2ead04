"""A run's own description: complete, readable without the configuration, refused in one sentence where damaged."""

import json
import random
from pathlib import Path

import pytest
import torch as th

from datasets.names import DATA_ROOT
from loops.describe import environment_of
from loops.described import described_policy
from tests.command_line import CommandLine
from utils.description import CHECKSUM, find_description, read_description, write_description
from utils.errors import CheckpointError
from utils.settings import Settings


def test_a_run_is_described_beside_its_checkpoints(cli: CommandLine) -> None:
    result = cli.run("obs_agent_id=True")
    assert result.returncode == 0, result.stderr
    [folder] = cli.checkpoints()
    path = find_description(folder)
    assert path == folder / "run.json" == find_description(folder / "20")
    description = read_description(path)
    assert description["algorithm"] == "spacql"
    assert description["config"]["agent_output_type"] == "mean"  # `auto` is resolved
    assert description["config"]["seed"] == 3 and "seed" not in description["config"]["env_args"]
    assert description["env_info"]["action_low"] == [-1.0, -1.0]
    assert description["scheme"]["actions"] == {"shape": [2], "dtype": "float32", "group": "agents"}
    assert description["dataset"]["card"]["checksum"] == description["dataset"]["checksum"]
    assert {"python", "torch", "numpy", "h5py", "sacred"} <= set(description["versions"])
    assert "mpe2" in description["environment"]["versions"]
    assert description["input_statistics"] == f"dataset {description['dataset']['checksum']}"
    assert description["continues"] is None and description["code"].keys() == {"commit", "dirty", "sources"}
    assert {"learners/spacql_learner.py", "controllers/basic_controller.py"} <= set(description["code"]["sources"])
    [run] = cli.runs()
    assert description["sacred"]["directory"] == str(run)
    assert json.loads((run / "info.json").read_text())["run_description"] == str(path)

    policy = described_policy(str(folder))
    weights = th.load(folder / "20" / "agent.th", weights_only=True)
    assert all(th.equal(value, weights[key]) for key, value in policy.mac.agent.state_dict().items())


def test_a_simulator_that_only_other_processes_import_is_named() -> None:
    args = Settings(env="gymma", env_args={"key": "lbforaging:Foraging-8x8-2p-3f-v3", "seed": 1})
    found = environment_of(args, {})
    assert found is not None and found["versions"]["lbforaging"] and "seed" not in found["env_args"]
    other = environment_of(
        Settings(env="gymma", env_args={"key": "h5py:Any-v0"}), {}
    )  # a package that no list here names
    assert other is not None and "h5py" in other["versions"]
    assert environment_of(Settings(env=None, env_args={}), {}) is None


def test_a_description_holds_no_credentials(cli: CommandLine) -> None:
    secret = "hunter2hunter2"
    result = cli.run("t_max=1", "save_model_interval=1", f"label=mongodb://me:{secret}@host/db")
    assert result.returncode == 0, result.stderr
    text = (cli.checkpoints()[-1] / "run.json").read_text()
    assert secret not in text and "mongodb://me:***@host/db" in text


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"format": "epymarl-offline run", "format_version": 9}',
                                     '{"format": "epymarl-offline run", "format_version": 1, "name": 3}',
                                     "[" * 100_000])  # fmt: skip
def test_a_damaged_description_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(CheckpointError) as refusal:
        read_description(tmp_path / "run.json")
    assert "\n" not in str(refusal.value)


def test_every_flipped_bit_of_a_description_is_refused(tmp_path: Path) -> None:
    """A digit of a bound, a size or a seed that became another one is still JSON."""
    whole = (DATA_ROOT / "mpe/simple_spread/policies/expert/run.json").read_bytes()
    content, chance, path = json.loads(whole), random.Random(5), tmp_path / "run.json"
    path.write_bytes(whole)
    assert read_description(path) == content
    for _ in range(200):
        flipped = bytearray(whole)
        flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            found = read_description(path)
        except CheckpointError:
            continue
        # what is accepted says the same: another kind of space between two entries, or no checksum any more
        assert {key: found.get(key) for key in content if key != CHECKSUM} == {
            key: value for key, value in content.items() if key != CHECKSUM
        }


def test_a_description_of_an_earlier_release_has_no_checksum(tmp_path: Path) -> None:
    path = write_description(tmp_path, read_description(DATA_ROOT / "mpe/simple_spread/policies/expert/run.json"))
    content = json.loads(path.read_text())
    del content[CHECKSUM]
    path.write_text(json.dumps(content))
    assert read_description(path) == content
