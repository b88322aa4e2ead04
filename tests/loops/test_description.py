"""A run's own description: complete, readable without the configuration, refused in one sentence where damaged."""

import json
from pathlib import Path

import pytest
import torch as th

from loops.described import described_policy
from tests.command_line import CommandLine
from utils.description import find_description, read_description
from utils.errors import CheckpointError


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
    assert {"learners/spacql_learner.py", "controllers/basic_controller.py"} <= set(description["code"]["sources"])
    [run] = cli.runs()
    assert description["sacred"]["directory"] == str(run)
    assert json.loads((run / "info.json").read_text())["run_description"] == str(path)

    policy = described_policy(str(folder))
    weights = th.load(folder / "20" / "agent.th", weights_only=True)
    assert all(th.equal(value, weights[key]) for key, value in policy.mac.agent.state_dict().items())


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"format": "epymarl-offline run", "format_version": 9}',
                                     '{"format": "epymarl-offline run", "format_version": 1, "name": 3}',
                                     "[" * 100_000])  # fmt: skip
def test_a_damaged_description_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(CheckpointError) as refusal:
        read_description(tmp_path / "run.json")
    assert "\n" not in str(refusal.value)
