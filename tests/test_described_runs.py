"""Checkpoints that say what they are: evaluated, collected with and continued without a repeated configuration."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch as th

import main
from datasets import loading
from loops.build import build
from loops.earlier import check_same, described_layers, earlier_run
from loops.rehearsal import rehearse
from loops.resolve import run_settings
from tests.command_line import MAIN, CommandLine
from tests.fork_server import run_script
from utils.description import read_description, write_description
from utils.errors import CheckpointError, ConfigError, UserError
from utils.logging import Logger
from utils.old_names import OldNames


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path) -> CommandLine:
    """One run, with overrides that evaluating would otherwise have to repeat."""
    cli = CommandLine(tmp_path_factory.mktemp("trained"), tiny_dataset)
    result = cli.run("obs_agent_id=True", "actor_lr=0.004", "env_args.time_limit=25", "label=mine")
    assert result.returncode == 0, result.stderr
    return cli


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return run_script(MAIN, words)


def record(run: Path, file: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / file).read_text())
    return content


def error_of(result: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a refusal."""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert result.returncode == 1 and "Traceback" not in result.stderr
    return line


def test_evaluating_needs_no_flags(trained: CommandLine) -> None:
    folder = trained.checkpoints()[0]
    result = command("with", "evaluate=True", f"checkpoint_path={folder}")
    assert result.returncode == 0, result.stderr
    before, now = trained.runs()[0], trained.runs()[-1]
    scores = [record(run, "metrics.json")["test_return_mean"]["values"][-1] for run in (before, now)]
    assert scores[0] == scores[1] and now.parent == before.parent  # filed as the same algorithm's
    config = record(now, "config.json")
    assert config["obs_agent_id"] and config["hidden_dim"] == 8 and config["label"] == "mine" and config["evaluate"]
    assert record(now, "info.json")["run_description"] == str(folder / "run.json")
    sources = {name for name, _ in record(now, "run.json")["experiment"]["sources"]}
    expected = {"learners/spacql_learner.py", "modules/agents/mlp_ns_agent.py", "controllers/non_shared_controller.py"}
    assert expected | {"main.py"} <= sources


def test_continuing_needs_no_flags_and_says_what_it_continues(trained: CommandLine) -> None:
    folder = trained.checkpoints()[0]
    result = command("with", f"checkpoint_path={folder}", "t_max=25", "load_step=20")
    assert result.returncode == 0 and "other settings" not in result.stderr, result.stderr
    continued = trained.checkpoints()[-1]
    description = read_description(continued / "run.json")
    assert description["continues"] == str(folder / "20") and description["config"]["actor_lr"] == 0.004
    assert description["sacred"]["directory"] == str(trained.runs()[-1])
    assert record(trained.runs()[-1], "info.json")["run_description"] == str(continued / "run.json")
    code = description["code"]
    assert isinstance(code["dirty"], bool | None) and "+" not in code["commit"]


def test_collecting_needs_no_flags_and_draws_its_own_seed(trained: CommandLine, tmp_path: Path) -> None:
    words = ("with", "collect=True", f"collect_to={tmp_path / 'mine.h5'}", "collect_episodes=20")
    result = command(*words, f"checkpoint_path={trained.checkpoints()[0]}")
    assert result.returncode == 0, result.stderr
    config = record(trained.runs()[-1], "config.json")
    assert config["seed"] != 3 and config["obs_agent_id"] and (tmp_path / "mine.h5").is_file()


# -- what is refused, before a run exists ------------------------------------------------------------------------------


def layers(folder: Path, updates: dict[str, Any], alg: str | None = None, env: str | None = None) -> dict[str, Any]:
    """The configuration of a command without both flags, checked as main.py does."""
    updates = {"checkpoint_path": str(folder), **updates}
    earlier = earlier_run(updates, alg)
    assert earlier is not None
    config = described_layers(earlier, alg, env, updates, lambda learner: OldNames())
    final = {**config, **updates}
    check_same(earlier, final, updates, flags=False, warn=lambda line: None)
    return final


PLAY, GO_ON = {"evaluate": True}, {"t_max": 30}
REFUSED: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "a network": ({**PLAY, "hidden_dim": 16}, None, "hidden_dim=16: .* was trained with 8"),
    "a network, continuing": ({**GO_ON, "agent": "rnn_ns"}, None, "agent=rnn_ns: .* was trained with mlp_ns"),
    "inputs": ({**PLAY, "obs_agent_id": False}, None, "obs_agent_id=False"),
    "another output": ({**PLAY, "agent_output_type": "stochastic"}, None, "agent_output_type=tanh_gaussian"),
    "the learner's own": ({**PLAY, "alpha_cql": 9.0}, None, "alpha_cql=9.0"),
    "training": ({**PLAY, "gamma": 0.5}, None, "gamma=0.5"),
    "a learner": ({**GO_ON, "learner": "bc_learner"}, None, "learner=bc_learner"),
    "a name": ({**PLAY, "name": "mine"}, None, "not filed as another algorithm's"),
    "an algorithm": (PLAY, "bc", "--config=bc: .* is of spacql"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_override_that_changes_networks_or_algorithm_is_refused(case: str, trained: CommandLine) -> None:
    updates, alg, words = REFUSED[case]
    with pytest.raises(CheckpointError, match=words):
        layers(trained.checkpoints()[0], updates, alg)


def test_overrides_about_machine_records_and_evaluation_are_taken(trained: CommandLine) -> None:
    given = {"test_nepisode": 3, "use_cuda": False, "action_selector": "gaussian", "gamma": 0.95, "seed": 9}
    folder = trained.checkpoints()[0]
    assert layers(folder, {**PLAY, **given}, alg="spacql").items() >= given.items()
    assert layers(folder, {**PLAY, "agent_output_type": "auto"})["hidden_dim"] == 8  # it becomes what it was
    assert layers(folder, {**GO_ON, "critic_lr": 0.5, "test_interval": 5})["critic_lr"] == 0.5
    assert layers(folder, PLAY, env="mpe")["env_args"]["time_limit"] == 25
    tracked = {"use_wandb": True, "wandb_mode": "online", "wandb_project": "mine", "wandb_team": "us"}
    assert layers(folder, {**PLAY, **tracked}).items() >= tracked.items()
    other = layers(folder, PLAY, env="matrix_game")
    assert other["env"] == "matrix_game" and "time_limit" not in other["env_args"]


def test_nothing_of_an_earlier_command_leaks(trained: CommandLine, tmp_path: Path) -> None:
    path = copy(trained, tmp_path, {"load_weights": "x", "collect_quality": "expert", "render": True, "replay_to": "y"})
    found = layers(path.parent, PLAY)
    assert not found["load_weights"] and not found["render"]
    assert found["collect_quality"] is None and found["replay_to"] is None


def copy(trained: CommandLine, folder: Path, config: dict[str, Any] | None = None, **entries: Any) -> Path:
    """The description of a run with these entries, and those of its configuration, beside an empty checkpoint."""
    (folder / "run" / "20").mkdir(parents=True)
    content = record(trained.checkpoints()[0], "run.json")
    content |= entries
    content["config"] |= config or {}
    return write_description(folder / "run", content)


@pytest.mark.parametrize(
    ("config", "words"),
    [({"hidden_dim": "wide"}, "run.json: hidden_dim=wide: .*; restore it, or write it anew"),
     ({"learner": ["x"]}, "run.json: learner="), ({"env_args": 3}, "run.json: env_args=3")],
)  # fmt: skip
def test_a_description_that_cannot_be_one_is_refused(
    config: dict[str, Any], words: str, trained: CommandLine, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=words):
        layers(copy(trained, tmp_path, config).parent, PLAY)


def test_credentials_are_asked_for_again(trained: CommandLine, tmp_path: Path) -> None:
    folder = copy(trained, tmp_path, {"mongo": "me:***@host:27017:runs"}).parent
    with pytest.raises(ConfigError, match="keeps no credentials: give mongo="):
        layers(folder, PLAY)
    assert layers(folder, {**PLAY, "mongo": None})["mongo"] is None


def test_a_dataset_that_has_moved_is_named(trained: CommandLine, tmp_path: Path) -> None:
    folder = copy(trained, tmp_path, {"dataset": "gone.h5"}, dataset=None).parent
    with pytest.raises(ConfigError, match="the dataset gone.h5 .* is not at .* any more; say where it is"):
        layers(folder, GO_ON)
    assert layers(folder, {**GO_ON, "dataset": str(trained.dataset)})
    by_path = copy(trained, tmp_path / "b", {"dataset": "gone.h5"}, dataset={"path": str(trained.dataset)}).parent
    assert layers(by_path, GO_ON)["dataset"] == str(trained.dataset)  # from another working directory


def test_refusals_leave_no_run(trained: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags of another algorithm, of other networks, a damaged description, and none at all."""
    folder = trained.checkpoints()[0]
    runs, results = trained.runs(), f"local_results_path={trained.results}"
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "20").symlink_to(folder / "20")
    damaged = copy(trained, tmp_path)
    damaged.write_text("{")
    flags = ("--config=spacql", "--env-config=mpe")
    for words, where, sentence in (
        (("--config=cfcql", "--env-config=mpe"), folder, "of spacql and is not filed as another algorithm's"),
        (flags, folder, "hidden_dim=64: the run of"),
        ((), bare, "has no run.json that describes its run"),
        ((), damaged.parent, "is damaged (it is no JSON)"),
        (flags, damaged.parent, "is damaged (it is no JSON)"),
    ):
        argv = ["main.py", *words, "with", "evaluate=True", f"checkpoint_path={where}", results]
        with pytest.raises(CheckpointError) as refusal:
            main.prepare(argv)
        assert sentence in str(refusal.value) and "\n" not in str(refusal.value)
    assert error_of(command("with", "evaluate=True", f"checkpoint_path={bare}")).startswith(f"error: {bare / '20'}")
    assert trained.runs() == runs


def test_what_only_files_tell_is_refused_before_a_run_exists(trained: CommandLine, tmp_path: Path) -> None:
    """Damaged rows of a dataset, a checkpoint at t_max, of another seed, of other held-out episodes."""
    damaged = tmp_path / "damaged.h5"
    shutil.copy(trained.dataset, damaged)
    with h5py.File(damaged, "r+") as file:
        file["reward"][0, 0] += 1
    folder, runs = trained.checkpoints()[0], trained.runs()
    go_on = ("with", f"checkpoint_path={folder}", "load_step=20", f"local_results_path={trained.results}")
    for words, sentence in (
        (trained.arguments(f"dataset={damaged}"), "does not match its checksum"),
        (trained.arguments(f"load_weights={folder}", "hidden_dim=16", "obs_agent_id=True"), "do not fit this run"),
        (go_on, "is at update 20 already; raise t_max=20"),
        ((*go_on, "t_max=30", "seed=9"), "was saved with seed 3, this run has 9"),
        ((*go_on, "t_max=30", "validation_share=0.5"), "it held out 0 episodes"),
    ):
        with pytest.raises(UserError, match=re.escape(sentence)):
            main.prepare(["main.py", *words])
    assert trained.runs() == runs


def test_the_run_gets_the_dataset_that_was_checked(trained: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    read = loading.read_dataset

    def counted(path: Path, **keys: Any) -> Any:
        reads.append(path)
        return read(path, **keys)

    monkeypatch.setattr(loading, "read_dataset", counted)
    config = record(trained.checkpoints()[0], "run.json")["config"]
    dataset = rehearse(config)
    assert dataset is not None and reads == [trained.dataset]
    parts = build(run_settings(config, logging.getLogger("silent")), Logger(logging.getLogger("silent")), dataset)
    parts.runner.close_env()
    assert parts.dataset is dataset and reads == [trained.dataset]  # not read again


def test_checkpoints_of_the_release_before_load_with_the_flags(trained: CommandLine, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "20").symlink_to(trained.checkpoints()[0] / "20")
    words = ("obs_agent_id=True", "evaluate=True", f"checkpoint_path={folder}")
    result = trained.run(*words)
    assert result.returncode == 0, result.stderr
    assert "run_description" not in record(trained.runs()[-1], "info.json")


def test_continued_weights_are_those_of_a_repeated_command(trained: CommandLine) -> None:
    folder = trained.checkpoints()[0]
    where = (f"checkpoint_path={folder}", "load_step=10", "t_max=15")
    assert trained.run("obs_agent_id=True", "actor_lr=0.004", "label=mine", *where).returncode == 0
    assert command("with", *where).returncode == 0
    one, other = (th.load(run / "15" / "agent.th", weights_only=True) for run in trained.checkpoints()[-2:])
    assert all(th.equal(one[key], other[key]) for key in one)
