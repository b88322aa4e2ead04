"""The online loop through the command line: train, save, continue, record."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from datasets.dataset import read_dataset
from tests.command_line import CommandLine, status

# 20 rollouts of 4 episodes of 5 steps
SMALL = ("t_max=400", "test_interval=200", "test_nepisode=8", "batch_size_run=4", "env_args.time_limit=5",
         "save_model_interval=200", "log_interval=200", "learner_log_interval=40", "runner_log_interval=100",
         "hidden_dim=8", "batch_size=16", "updates_per_run=2", "buffer_size=50")  # fmt: skip


def metrics(run: Path) -> dict[str, dict[str, list[float]]]:
    return dict(json.loads((run / "metrics.json").read_text()))


def test_a_run_trains_evaluates_and_leaves_checkpoints(cli: CommandLine) -> None:
    result = cli.run(*SMALL, config="matd3")
    assert result.returncode == 0, result.stderr
    run = cli.runs()[0]
    assert status(run) == "COMPLETED"
    logged = metrics(run)
    assert logged["test_return_mean"]["steps"] == [0, 200, 400]
    assert logged["return_mean"]["steps"] and logged["critic_loss"]["steps"]
    checkpoints = sorted(int(path.name) for path in cli.checkpoints()[0].iterdir() if path.is_dir())
    assert checkpoints == [200, 400]


RUNNERS, ONLINE = ("episode", "vector", "parallel"), ("iql", "vdn_ns", "qmix", "matd3")
# Each learner, and each runner with discrete and with continuous actions; the other pairs are slow tests.
QUICK = {("iql", "episode"), ("vdn_ns", "parallel"), ("qmix", "vector"), *(("matd3", runner) for runner in RUNNERS)}
PAIRS = [
    pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.slow) for pair in itertools.product(ONLINE, RUNNERS)
]


@pytest.mark.parametrize(("config", "runner"), PAIRS)
def test_every_online_learner_trains_on_every_runner(runner: str, config: str, cli: CommandLine) -> None:
    at_once = "batch_size_run=1" if runner == "episode" else "batch_size_run=2"
    keys = [key for key in SMALL if key.partition("=")[0] not in ("batch_size_run", "t_max", "test_interval")]
    key = "env_args.key=simple_speaker_listener_v4"
    actions = f"env_args.continuous_actions={config == 'matd3'}"
    result = cli.run(
        *keys, at_once, f"runner={runner}", "t_max=40", "test_interval=40", "test_nepisode=2", "batch_size=2", key,
        actions, config=config,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    run = cli.runs()[0]
    assert status(run) == "COMPLETED"
    logged = metrics(run)
    assert logged["test_return_mean"]["steps"] == [0, 40]
    assert any(key.endswith("_loss") for key in logged)


def test_a_run_continues_from_its_checkpoint_with_its_replay_buffer(cli: CommandLine) -> None:
    first = cli.run(*SMALL, "t_max=200", "save_replay_buffer=True", config="matd3")
    assert first.returncode == 0, first.stderr
    again = cli.run(*SMALL, f"checkpoint_path={cli.checkpoints()[0]}", config="matd3")
    assert again.returncode == 0, again.stderr
    assert "starts empty" not in again.stderr
    assert metrics(cli.runs()[-1])["test_return_mean"]["steps"] == [0, 200, 400]
    without = cli.run(*SMALL, "t_max=600", f"checkpoint_path={cli.checkpoints()[-1]}", config="matd3")
    assert without.returncode == 0 and "it starts empty" in without.stderr
    other = cli.run(*SMALL, "env_args.time_limit=6", f"checkpoint_path={cli.checkpoints()[0]}", config="matd3")
    assert other.returncode == 1 and "its buffer does not fit this run" in other.stderr
    assert "env_args.time_limit was 5, now 6" in other.stderr


def test_a_run_too_short_to_learn_says_so(cli: CommandLine) -> None:
    result = cli.run(*SMALL, "t_max=40", "batch_size=500", config="matd3")
    assert result.returncode == 0 and "Nothing was learned: t_max=40 steps never filled" in result.stderr
    again = cli.run(*SMALL, "t_max=60", "batch_size=500", f"checkpoint_path={cli.checkpoints()[0]}", config="matd3")
    assert again.returncode == 0, again.stderr
    assert "Nothing was learned since step 40: t_max=60 steps never filled a batch of 500 steps" in again.stderr


def test_a_learner_that_forgets_each_rollout_misses_no_replay_buffer(cli: CommandLine) -> None:
    keys = ("window=None", "updates_per_run=1", "batch_size=4", "buffer_size=4")
    words = [key for key in SMALL if key.partition("=")[0] not in ("updates_per_run", "batch_size", "buffer_size")]
    first = cli.run(*words, *keys, "t_max=40", config="ippo")
    assert first.returncode == 0, first.stderr
    again = cli.run(*words, *keys, "t_max=60", f"checkpoint_path={cli.checkpoints()[0]}", config="ippo")
    assert again.returncode == 0 and "Continuing" in again.stderr and "starts empty" not in again.stderr, again.stderr


def test_training_episodes_become_a_dataset(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "replay.h5"
    keys = [key for key in SMALL if not key.startswith("runner_log_interval")]
    result = cli.run(
        *keys, "runner_log_interval=1", f"replay_to={path}", "collect_quality=medium-replay", config="matd3"
    )
    assert result.returncode == 0, result.stderr
    dataset = read_dataset(path)
    assert (dataset.n_transitions, dataset.n_episodes) == (400, 80)
    assert dataset.card["quality"] == "medium-replay" and "replay_to=" in dataset.card["made_by"]["command"]
    assert "every training episode of matd3" in dataset.card["behaviour"]
    assert dataset.arrays["reward"].shape == (480, 3)
    logged = metrics(cli.runs()[0])["return_mean"]["values"]
    assert dataset.card["returns"]["mean"] == pytest.approx(sum(logged) / len(logged), rel=1e-5)
    trained = cli.run(f"dataset={path}", "env_args.time_limit=5")
    assert trained.returncode == 0, trained.stderr
    again = cli.run(*SMALL, f"replay_to={path}", config="matd3")
    assert again.returncode == 1 and "exists already" in again.stderr


@pytest.mark.parametrize(
    ("updates", "sentence"),
    [
        (("runner=episode", "batch_size_run=1", "replay_to=x"), "recording needs runner=vector"),
        (("burn_in=3",), "set window=None instead"),
        (("env=None",), "learns in an environment, and env is None"),
        (("env=None", "dataset=mine.h5"), "give one, or set offline=True to learn from dataset=mine.h5"),
        (("window=None", "buffer_size=8"), "batch_size=16 episodes never fit buffer_size=8"),
        (("env_args.continuous_actions=False",), "learner=matd3_learner handles continuous actions"),
    ],
)
def test_what_cannot_be_trained_is_refused(cli: CommandLine, updates: tuple[str, ...], sentence: str) -> None:
    result = cli.run(*SMALL, *updates, config="matd3")
    assert result.returncode == 1 and sentence in result.stderr, result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("error:")]) == 1


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("spacql_discrete", "the critic loss of SPaCQLLearner stopped being finite at update 2 (seen at t=20)"),
        ("qmix", "the q loss of QLearner stopped being finite at update 2 (seen at t=80)"),
    ],
)
def test_a_diverged_policy_is_not_played_again(config: str, words: str, cli: CommandLine) -> None:
    rarely = [f"{key}=100000" for key in ("learner_log_interval", "log_interval", "test_interval")]
    kept = [key for key in SMALL if key.partition("=")[0] not in [name.partition("=")[0] for name in rarely]]
    online = ("offline=False", "input_norm=none", "actor_update_interval=1", "actor_lr=1e30")
    own = {"spacql_discrete": online, "qmix": ("q_lr=1e30",)}[config]
    result = cli.run(*kept, *rarely, *own, "runner=vector", "env_args.continuous_actions=False", config=config)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert words in last and last.count("no checkpoint yet") == 1
