"""The command line as a user meets it: real processes, their files and their words."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch as th
from PIL import Image

from datasets.dataset import read_dataset
from tests.command_line import MAIN, ROOT, CommandLine, status
from tests.fork_server import run_script
from utils.manifest import MANIFEST


def metrics(run: Path) -> dict[str, dict[str, list[float]]]:
    content: dict[str, dict[str, list[float]]] = json.loads((run / "metrics.json").read_text())
    return content


def equal_states(first: Path, second: Path) -> bool:
    """Whether two files of tensors, numbers and containers hold the same bits."""

    def same(a: object, b: object) -> bool:
        if isinstance(a, th.Tensor) and isinstance(b, th.Tensor):
            return a.dtype == b.dtype and th.equal(a, b)
        if isinstance(a, dict) and isinstance(b, dict):
            return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
        if isinstance(a, list | tuple) and isinstance(b, list | tuple):
            return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
        return a == b

    return same(th.load(first, weights_only=True), th.load(second, weights_only=True))


def test_training_leaves_a_completed_run_a_checkpoint_and_a_curve(cli: CommandLine) -> None:
    result = cli.run_afresh()
    assert result.returncode == 0, result.stderr
    (run,) = cli.runs()
    assert status(run) == "COMPLETED"
    recorded = metrics(run)
    assert recorded["test_return_mean"]["steps"] == [0, 10, 20]
    assert recorded["test_normalised_score"]["steps"] == [0, 10, 20]
    for key in ("critic_loss", "actor_loss", "k_eff", "w_1", "u_3", "q_data", "q_policy", "penalty", "actor_grad_norm"):
        assert recorded[key]["values"], key
    assert run.parent.name == "simple_spread" and run.parent.parent.name == "spacql"
    assert Image.open(run / "learning_curve.png").size[0] > 400
    assert sorted(path.name for path in cli.checkpoints()[0].iterdir()) == ["10", "20", "run.json"]
    for words in ("final", "best", "mean of last 3", "dataset", "normalised score", "Checkpoint:"):
        assert words in result.stderr + result.stdout
    entry = json.loads((run / "run.json").read_text())
    assert (
        entry["result"]
        == recorded["test_normalised_score"]["values"][-1]
        == recorded["final_normalised_score"]["values"][0]
    )
    assert recorded["final_return"]["values"][0] == pytest.approx(recorded["test_return_mean"]["values"][-1])
    assert entry["experiment"]["name"] == "spacql on tiny"
    told = json.loads((run / "info.json").read_text())["run"]
    assert (told["algorithm"], told["dataset"], told["seed"]) == ("spacql", "tiny", 3)
    best = recorded["best_normalised_score"]["values"][0]
    assert (told["score"], told["best"]) == (round(entry["result"], 2), round(best, 2))
    assert told["score_is"] == "normalised score" and re.fullmatch(r"[0-9a-f]{10}(\+changes)?|unknown", told["commit"])
    assert 0 < told["cpu_seconds"] < 100
    assert not list((run / "info.json").read_text().split("py/object")[1:])  # plain numbers, no pickled scalars


def test_resuming_is_bit_exact(cli: CommandLine, tmp_path: Path) -> None:
    """train(2N) == train(N) + resume + train(N): weights, optimisers, targets, streams, metrics."""
    whole, half = CommandLine(tmp_path / "whole", cli.dataset), CommandLine(tmp_path / "half", cli.dataset)
    assert whole.run_afresh().returncode == 0  # the others fork: that changes nothing either
    assert half.run("t_max=15").returncode == 0  # not where the whole run evaluates: that evaluation is left out
    resumed = half.run(f"checkpoint_path={half.checkpoints()[0]}")
    assert resumed.returncode == 0, resumed.stderr
    expected, got = whole.checkpoints()[0] / "20", half.checkpoints()[1] / "20"
    assert sorted(file.name for file in expected.iterdir()) == sorted(file.name for file in got.iterdir())
    for file in expected.glob("*.th"):
        assert equal_states(file, got / file.name), file.name
    for key, series in metrics(whole.runs()[0]).items():
        again = metrics(half.runs()[1])[key]
        assert (again["steps"], again["values"]) == (series["steps"], series["values"]), key


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_marks_the_run_and_can_be_continued(cli: CommandLine, number: signal.Signals) -> None:
    updates = ("t_max=200000", "test_interval=200000", "save_model_interval=200000", "log_interval=10")
    interrupted = cli.run(*updates, signals=[("Recent Stats", number)])  # it trains
    assert interrupted.returncode == 130
    assert "Traceback" not in interrupted.stderr and f"interrupted: {number.name}" in interrupted.stderr
    assert status(cli.runs()[0]) == "INTERRUPTED"
    (step,) = cli.checkpoints()[0].glob("[0-9]*")
    assert (step / "train_state.th").is_file()
    resumed = cli.run(f"checkpoint_path={cli.checkpoints()[0]}", f"t_max={int(step.name) + 5}")
    assert resumed.returncode == 0, resumed.stderr


def test_evaluate_scores_a_checkpoint_as_training_did_and_draws_a_gif(cli: CommandLine) -> None:
    assert cli.run().returncode == 0
    where = f"checkpoint_path={cli.checkpoints()[0]}"
    assert cli.run("evaluate=True", where).returncode == 0
    trained, evaluated = (metrics(run)["test_return_mean"] for run in cli.runs())
    assert evaluated["steps"] == [20] and evaluated["values"] == [trained["values"][-1]]
    drawn = cli.run("evaluate=True", "render=True", where)
    assert drawn.returncode == 0, drawn.stderr
    assert metrics(cli.runs()[-1])["test_return_mean"]["values"] == [trained["values"][-1]]  # the GIF's is not counted
    (gif,) = cli.results.glob("replays/*.gif")
    assert Image.open(gif).n_frames >= 25  # type: ignore[attr-defined]
    alone = cli.run("evaluate=True", "render=True", "runner=episode", "batch_size_run=1", "test_nepisode=2", where)
    assert alone.returncode == 0, alone.stderr
    assert [Image.open(gif).n_frames >= 25 for gif in cli.results.glob("replays/*.gif")] == [True, True]  # type: ignore[attr-defined]


def test_a_diverging_run_stops_with_a_sentence_and_keeps_its_last_good_checkpoint(cli: CommandLine) -> None:
    first = cli.run("t_max=10")
    assert first.returncode == 0
    result = cli.run(f"checkpoint_path={cli.checkpoints()[0]}", "critic_lr=1e30", "t_max=40")
    assert result.returncode == 1
    assert "stopped being finite at update" in result.stderr and "last good checkpoint is" in result.stderr
    assert "Traceback" not in result.stderr
    assert status(cli.runs()[-1]) == "FAILED"
    assert [path for folder in cli.checkpoints() for path in folder.glob("[0-9]*")] == [cli.checkpoints()[0] / "10"]


def test_divergence_is_seen_before_an_evaluation_or_the_end(cli: CommandLine) -> None:
    result = cli.run("alpha_cql=1e38", "t_max=4", "save_model=False")
    assert result.returncode == 1 and "the critic loss of SPaCQLLearner stopped being finite" in result.stderr


def test_continuing_adopts_the_seed_and_refuses_another(cli: CommandLine) -> None:
    assert cli.run("t_max=10").returncode == 0
    where = f"checkpoint_path={cli.checkpoints()[0]}"
    refused = cli.run(where, "seed=4")
    assert refused.returncode == 1 and "was saved with seed 3, this run has 4" in refused.stderr
    words = [word for word in cli.arguments(where, "actor_lr=0.002") if not word.startswith("seed=")]
    continued = run_script(MAIN, words)
    assert continued.returncode == 0, continued.stderr
    assert json.loads((cli.runs()[-1] / "config.json").read_text())["seed"] == 3
    assert "actor_lr was 0.003, now 0.002" in continued.stderr


def test_collecting_with_a_policy_needs_weights_only_and_draws_its_own_seed(cli: CommandLine, tmp_path: Path) -> None:
    assert cli.run("t_max=10", "save_model_interval=10").returncode == 0
    (step,) = cli.checkpoints()[0].glob("[0-9]*")
    for name in ("train_state.th", MANIFEST):  # what stock EPyMARL saves has neither
        (step / name).unlink()
    made = tmp_path / "mine.h5"
    updates = ("collect=True", "collect_episodes=20", f"collect_to={made}", f"checkpoint_path={cli.checkpoints()[0]}")
    words = cli.arguments(*updates, "action_selector=gaussian", "exploration_noise=0.3")
    result = run_script(MAIN, [word for word in words if not word.startswith("seed=")])
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(f"{step} holds no {MANIFEST}") == 1
    card = read_dataset(made).card
    assert card["made_by"]["seed"] != 3 and card["behaviour"].startswith("gaussian actions (noise 0.3) of spacql, ")


def test_none_where_a_key_takes_it_is_no_warning(cli: CommandLine) -> None:
    result = cli.run("env=None", "grad_norm_clip=None", "t_max=1")
    assert result.returncode == 0 and "Changed type" not in result.stderr + result.stdout


def test_overrides_may_come_from_a_json_file(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "overrides.json").write_text('{"critic_lr": 1e-05}')
    shown = run_script(MAIN, [*cli.arguments(verb=("print_config",)), str(tmp_path / "overrides.json")])
    assert shown.returncode == 0 and "critic_lr = 1e-05" in shown.stdout + shown.stderr


def test_sigterm_during_collection_marks_the_run(cli: CommandLine, tmp_path: Path) -> None:
    updates = ("collect=True", "collect_episodes=200000", f"collect_to={tmp_path / 'large.h5'}", "batch_size_run=100")
    process = subprocess.Popen(cli.command(*updates, config="random"), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None and any("Started run" in line for line in process.stderr)
    time.sleep(0.5)  # wherever it is by then
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in errors
    assert status(cli.runs()[0]) == "INTERRUPTED" and not list(tmp_path.glob("*.h5"))


@pytest.mark.parametrize(
    "updates",
    [
        ("mac=basic_mac", "agent=rnn", "input_norm=none", "window=None", "batch_size=4"),
        ("obs_last_action=True", "window=2"),
        ("mac=basic_mac", "agent=mlp", "obs_agent_id=True", "train_reward=agent0", "cql_penalty=logsumexp"),
        ("partial_replacement=average_single", "memory_map=True", "runner=episode", "batch_size_run=1", "t_max=5"),
    ],
    ids=lambda updates: updates[0],
)
def test_parts_can_be_combined(cli: CommandLine, updates: tuple[str, ...]) -> None:
    result = cli.run("test_nepisode=3", *updates)
    assert result.returncode == 0, result.stderr


def test_a_damaged_dataset_is_refused(cli: CommandLine, tmp_path: Path) -> None:
    content = cli.dataset.read_bytes()
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(content[: len(content) // 2])
    result = cli.run(f"dataset={damaged}")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert str(damaged) in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("config", ["bc", "bc_discrete"])
def test_swapping_the_learner_is_swapping_the_config(cli: CommandLine, tmp_path: Path, config: str) -> None:
    updates = ["t_max=20", "test_interval=10", "learner_log_interval=5", "batch_size=32", "save_model_interval=10"]
    if config == "bc_discrete":
        discrete = tmp_path / "discrete.h5"
        updates += ["env_args.continuous_actions=False", f"dataset={discrete}"]
        made = cli.run("collect=True", "collect_episodes=40", f"collect_to={discrete}", updates[-2], config="random")
        assert made.returncode == 0, made.stderr
    result = cli.run(*updates, config=config)
    assert result.returncode == 0, result.stderr
    recorded = metrics(cli.runs()[-1])
    assert recorded["test_return_mean"]["steps"] == [0, 10, 20]
    assert recorded["bc_loss"]["steps"] == [1, 6, 11, 16]
    early, late = (cli.checkpoints()[-1] / step / "agent.th" for step in ("10", "20"))
    assert not equal_states(early, late)


def test_training_needs_no_simulator(cli: CommandLine) -> None:
    result = cli.run("env=None")
    assert result.returncode == 0, result.stderr
    (run,) = cli.runs()
    assert "critic_loss" in metrics(run) and "test_return_mean" not in metrics(run)


def test_collecting_never_overwrites(cli: CommandLine) -> None:
    before = cli.dataset.read_bytes()
    result = cli.run("collect=True", "collect_episodes=4", f"collect_to={cli.dataset}", config="random")
    assert result.returncode == 1 and "exists already" in result.stderr
    assert cli.dataset.read_bytes() == before


def test_print_config_shows_a_file_and_its_base_together(cli: CommandLine) -> None:
    shown = cli.run(verb=("print_config",), config="cfcql")
    lines = {line.strip().partition(" #")[0] for line in (shown.stdout + shown.stderr).splitlines()}
    assert {"name = 'cfcql'", "ensemble_size = 2", "partial_replacement = 'full'", "critic_lr = 0.01"} <= lines
    assert not any(line.startswith("base =") for line in lines)


def test_sacred_verbs_and_flags_work(cli: CommandLine, tmp_path: Path) -> None:
    shown = cli.run("critic_lr=0.007", verb=("print_config",))
    assert shown.returncode == 0 and "critic_lr = 0.007" in shown.stdout + shown.stderr
    for dataset in ("mpe/simple_spread/random", "offline_data/mpe/simple_spread/random.h5"):
        tuned = cli.run(f"dataset={dataset}", verb=("print_config",), config="cfcql")
        assert "t_max = 10005" in tuned.stdout + tuned.stderr  # the paper's, by name and by path, and for a relative
        plain = cli.run(f"dataset={dataset}", "tuned=none", verb=("print_config",), config="cfcql")
        assert "t_max = 2000" in plain.stdout + plain.stderr
    extra = run_script(MAIN, [*cli.arguments("t_max=5"), "-F", str(tmp_path / "extra"), "-c", "a comment"])
    assert extra.returncode == 0
    assert status(tmp_path / "extra" / "1") == "COMPLETED"
    count = len(cli.runs())
    assert run_script(MAIN, [*cli.arguments("t_max=5"), "-u"]).returncode == 0
    assert len(cli.runs()) == count  # unobserved
