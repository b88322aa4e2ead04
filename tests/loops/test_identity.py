"""A run that is continued stays the run that it is, also for sweeps and reports; weights count by their content."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from loops.configured import configured
from loops.identity import run_identity
from reporting.groups import compared
from reporting.sacred_runs import read_sacred
from tests.command_line import MAIN, CommandLine
from tests.fork_server import run_script
from utils.description import CHECKSUM, read_description, write_description
from utils.errors import ConfigError

SMALL = ("t_max=20", "test_interval=10", "learner_log_interval=5", "batch_size=32", "save_model_interval=10",
         "hidden_dim=8", "use_cuda=False", "log_interval=10")  # fmt: skip
MEMORY = (*SMALL, "mac=basic_mac", "agent=rnn", "window=5", "burn_in=3", "obs_last_action=True")
LEFT_OPEN: dict[str, tuple[str, tuple[str, ...]]] = {"spacql": ("spacql", ()), "memory": ("bc", MEMORY)}


def quiet(sentence: str) -> None:
    """Ignore a sentence for the log."""


def told(run: Path) -> str:
    """The identity in a run's record."""
    return str(json.loads((run / "info.json").read_text())["run"]["identity"])


def continued(folder: Path, **updates: Any) -> str | None:
    """The identity of a run that goes on from step 10 by `checkpoint_path` alone and these overrides."""
    given = {"checkpoint_path": str(folder), "load_step": 10, **updates}
    return run_identity(configured(None, None, given, False, quiet, quiet).final)


def begun(cli: CommandLine, alg: str, **updates: Any) -> str | None:
    """The identity of a new run with the small configuration."""
    given = {"dataset": str(cli.dataset), "seed": 3, "hidden_dim": 8, **updates}
    return run_identity(configured(alg, "mpe", given, False, quiet, quiet).final)


def older(folder: Path, **entries: Any) -> None:
    """Make a description one of an earlier commit, which kept no keys as they were given."""
    content = {key: value for key, value in read_description(folder / "run.json").items() if key != CHECKSUM}
    content.pop("given", None)
    write_description(folder, content | entries)


@pytest.mark.parametrize("case", LEFT_OPEN)
def test_a_run_continued_as_its_last_line_says_is_the_same_run(case: str, cli: CommandLine) -> None:
    alg, words = LEFT_OPEN[case]
    assert cli.run(*words, config=alg).returncode == 0
    [run], [folder] = cli.runs(), cli.checkpoints()
    result = run_script(MAIN, ["with", f"checkpoint_path={folder}", "load_step=10"])
    assert result.returncode == 0 and "other settings" not in result.stderr, result.stderr
    again = cli.runs()[-1]
    assert again != run and told(again) == told(run)
    assert compared(read_sacred(again)) == compared(read_sacred(run))
    assert read_description(cli.checkpoints()[-1] / "run.json")["identity"] == told(run)
    assert len({told(run), continued(folder, gamma=0.9), continued(folder, t_max=30)}) == 3
    assert continued(folder, label="mine") == told(run)


def test_a_description_of_an_earlier_commit_keeps_its_identity_where_nothing_changed(cli: CommandLine) -> None:
    assert cli.run().returncode == 0
    [run], [folder] = cli.runs(), cli.checkpoints()
    older(folder)
    assert continued(folder) == told(run) == continued(folder, agent_output_type="auto")
    assert len({told(run), continued(folder, gamma=0.9), continued(folder, validation_share=0.1)}) == 3
    older(folder, identity="of another configuration")  # which was continued with more updates, by hand
    assert continued(folder) == "of another configuration" != continued(folder, gamma=0.9)
    older(folder, identity=None)
    assert continued(folder) not in (None, told(run))


def test_weights_to_start_from_count_by_their_content(cli: CommandLine, tmp_path: Path) -> None:
    assert cli.run(*SMALL, config="bc").returncode == 0
    source = cli.checkpoints()[0]
    shutil.copytree(source, tmp_path / "copy")
    newest = begun(cli, "bc", load_weights=str(source))
    assert newest == begun(cli, "bc", load_weights=str(tmp_path / "copy"), load_step=20)
    assert newest == begun(cli, "bc", load_weights=str(source / "20"))
    assert len({newest, begun(cli, "bc"), begun(cli, "bc", load_weights=str(source), load_step=10)}) == 3
    shutil.copytree(source / "10", source / "30")
    assert begun(cli, "bc", load_weights=str(source)) == begun(cli, "bc", load_weights=str(source), load_step=10)


def test_a_run_that_began_from_weights_is_continued_as_the_same_run(cli: CommandLine) -> None:
    assert cli.run(*SMALL, config="bc").returncode == 0
    source = cli.checkpoints()[0]
    assert cli.run(*SMALL, f"load_weights={source}", "load_step=10", "seed=4", config="bc").returncode == 0
    run, folder = cli.runs()[-1], cli.checkpoints()[-1]
    shutil.rmtree(source)  # they are not needed again
    result = run_script(MAIN, ["with", f"checkpoint_path={folder}", "load_step=10"])
    assert result.returncode == 0 and "New run from" not in result.stderr, result.stderr
    again = cli.runs()[-1]
    assert told(again) == told(run) and compared(read_sacred(again)) == compared(read_sacred(run))
    assert continued(folder, gamma=0.9) != told(run)
    with pytest.raises(ConfigError, match="give one of the two"):
        continued(folder, load_weights=str(folder))


def test_a_valued_policy_counts_by_its_content(cli: CommandLine, tmp_path: Path) -> None:
    assert cli.run(*SMALL, "agent_output_type=tanh_gaussian", config="bc").returncode == 0
    policy = cli.checkpoints()[0]
    shutil.copytree(policy, tmp_path / "copy")
    assert cli.run(*SMALL, f"policy_path={policy}", config="fqe").returncode == 0
    run, folder = cli.runs()[-1], cli.checkpoints()[-1]
    newest = begun(cli, "fqe", policy_path=str(policy))
    assert newest == begun(cli, "fqe", policy_path=str(tmp_path / "copy"), policy_step=20)
    assert newest != begun(cli, "fqe", policy_path=str(policy), policy_step=10)
    assert read_description(folder / "run.json")["given"]["agent_output_type"] == "auto"
    shutil.copytree(policy / "10", policy / "30")
    assert newest != begun(cli, "fqe", policy_path=str(policy))
    assert run_script(MAIN, ["with", f"checkpoint_path={folder}", "load_step=10"]).returncode == 0
    assert told(cli.runs()[-1]) == told(run) != continued(folder, gamma=0.9)
    older(folder, identity="by its path")
    assert continued(folder) == "by its path"
