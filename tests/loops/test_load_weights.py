"""New runs from a checkpoint's weights, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch as th

from tests.command_line import CommandLine, status

SMALL = ("t_max=20", "test_interval=10", "learner_log_interval=5", "batch_size=32", "save_model_interval=10",
         "hidden_dim=8", "use_cuda=False", "log_interval=10", "seed=3")  # fmt: skip
OTHER = "mpe/simple_spread/random-100k"
ONLINE = ("offline=False", "t_max=400", "test_interval=200", "batch_size_run=4", "buffer_size=50", "dataset=None",
          "save_model_interval=400", "runner=vector")  # fmt: skip


def scores(cli: CommandLine) -> list[float]:
    """What the newest run's evaluations gave."""
    metrics = json.loads((cli.runs()[-1] / "metrics.json").read_text())["test_return_mean"]
    assert metrics["steps"][0] == 0 or len(metrics["steps"]) == 1
    return list(metrics["values"])


def changed(cli: CommandLine) -> bool:
    """Whether the newest run's policies differ from those of the run before it."""
    newest = [max(run.glob("[0-9]*"), key=lambda step: int(step.name)) / "agent.th" for run in cli.checkpoints()[-2:]]
    old, new = (th.load(file, weights_only=True) for file in newest)
    return any(not th.equal(old[key], new[key]) for key in old)


def keys(*updates: str) -> list[str]:
    """The small configuration with `updates` over it, the last of a key counting."""
    return list({update.partition("=")[0]: update for update in (*SMALL, *updates)}.values())


# Which run is first and which starts from its weights, and what the second says that it loaded.
CASES = {
    "offline to online": (("spacql", "ensemble_size=3"), ("spacql", "ensemble_size=3", *ONLINE), "policies, critic, "),
    "another learner": (("bc", "agent_output_type=tanh_gaussian"), ("comadice",), "policies, "),
    "another dataset": (("spacql", "ensemble_size=3"), ("bc", f"dataset={OTHER}"), "policies, "),
    "inputs as they are": (("bc", "input_norm=dataset"), ("matd3_bc", "input_norm=none"), "policies, "),
}


@pytest.mark.parametrize("case", CASES)
def test_a_new_run_begins_with_the_policy_of_its_weights_and_trains_on(case: str, cli: CommandLine) -> None:
    (before, *own), (after, *updates), loaded = CASES[case]
    first = cli.run(*keys(*own), config=before)
    assert first.returncode == 0, first.stderr
    expected = scores(cli)[-1]
    result = cli.run(*keys(*updates, f"load_weights={cli.checkpoints()[0]}", "seed=4"), config=after)
    assert result.returncode == 0, result.stderr
    assert status(cli.runs()[-1]) == "COMPLETED" and len(scores(cli)) == 3
    assert scores(cli)[0] == pytest.approx(expected, rel=1e-6) and changed(cli)
    said = " ".join(result.stderr.split())  # the console wraps lines
    assert said.count("New run from the weights in") == 1
    assert f"loaded {loaded}each" in said and "optimisers, schedules, running statistics" in said
    assert "holds no manifest" not in result.stderr


def test_a_run_that_began_so_is_continued_as_any_other(cli: CommandLine) -> None:
    assert cli.run(*keys(), config="bc").returncode == 0
    assert cli.run(*keys(f"load_weights={cli.checkpoints()[0]}", "load_step=11"), config="bc").returncode == 0
    whole = cli.run(*keys(f"load_weights={cli.checkpoints()[0]}", "load_step=11", "t_max=30"), config="bc")
    assert whole.returncode == 0 and f"weights in {cli.checkpoints()[0] / '10'}:" in " ".join(whole.stderr.split())
    continued = cli.run(*keys(f"checkpoint_path={cli.checkpoints()[1]}", "t_max=30"), config="bc")
    assert continued.returncode == 0 and "with other settings" not in continued.stderr, continued.stderr
    one, other = (th.load(run / "30" / "agent.th", weights_only=True) for run in cli.checkpoints()[2:])
    assert all(th.equal(one[key], other[key]) for key in one)


def test_what_cannot_start_from_weights_is_refused_in_one_sentence(cli: CommandLine) -> None:
    assert cli.run(*keys(), config="bc").returncode == 0
    folder = cli.checkpoints()[0]
    where = f"load_weights={folder}"
    wrong = {
        "another size": (keys("hidden_dim=16", where), "do not fit this run (fc1.weight has shape"),
        "another output": (keys("agent_output_type=tanh_gaussian", where), "trained with agent_output_type=mean"),
        "continuing too": (keys(f"checkpoint_path={folder}", where, "t_max=30"), "give one of the two"),
        "evaluating": (keys("evaluate=True", where), "evaluate=True trains nothing"),
        "nowhere": (keys("load_weights=/no/such/place"), "load_weights=/no/such/place: there is no such directory"),
        "another dataset": (keys(f"checkpoint_path={folder}", f"dataset={OTHER}", "t_max=30"),
                            "start a new run from its weights: load_weights="),
    }  # fmt: skip
    for case, (updates, sentence) in wrong.items():
        result = cli.run(*updates, config="bc")
        (error,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
        assert result.returncode == 1 and sentence in error and "Traceback" not in result.stderr, (case, error)


def test_a_damaged_checkpoint_is_neither_continued_nor_evaluated_nor_learned_from(
    cli: CommandLine, tmp_path: Path
) -> None:
    assert cli.run(*keys(), config="bc").returncode == 0
    folder = cli.checkpoints()[0]
    file = folder / "20" / "agent.th"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(bytes(content))
    collect = ("collect=True", f"collect_to={tmp_path / 'x.h5'}", "collect_episodes=4")
    for updates in (("evaluate=True",), ("t_max=30",), collect):
        result = cli.run(*keys(f"checkpoint_path={folder}", *updates), config="bc")
        assert result.returncode == 1 and result.stderr.splitlines()[-1].startswith(f"error: {file} is damaged")
    result = cli.run(*keys(f"load_weights={folder}"), config="bc")
    assert result.returncode == 1 and f"the newest whole checkpoint is {folder / '10'}" in result.stderr
