"""`search.py` as a user calls it: what runs, what is skipped and continued, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import CommandLine, status
from tests.fork_server import run_script
from tests.sweeps.sweeping import LONG, SHORT, arguments, begin, kill_all, same, search, steps, wait_for, weights

END = 1000  # updates, enough to be stopped in the middle


def test_a_sweep_runs_what_is_missing(tmp_path: Path, tiny_dataset: Path) -> None:
    """One run of three was done by hand, one is broken, and the rest goes on."""
    cli = CommandLine(tmp_path / "r", tiny_dataset)
    by_hand = ["--config=bc", "--env-config=mpe", "with", *SHORT, "seed=1", f"dataset={tiny_dataset}",
               f"local_results_path={cli.results}", "label=mine"]  # fmt: skip
    assert run_script(Path("src/main.py").resolve(), by_hand).returncode == 0
    words = arguments(cli.results, tiny_dataset, "--backend", "processes", "--workers", "1", "--seeds", "1-2")
    dry = search([*words[:1], "--dry-run", *words[1:]])
    assert dry.returncode == 0, dry.stderr
    done, command = dry.stdout.splitlines()
    assert done == f"# done: bc on {tiny_dataset}, seed 1"
    assert command.startswith("python src/main.py --config=bc --env-config=mpe with dataset=")
    assert command.endswith(" seed=2") and len(cli.runs()) == 1
    result = search(words)
    assert result.returncode == 0, result.stderr
    assert "2 runs, 1 of them done already; at most 1 at once" in result.stdout
    first, second = cli.runs()
    told = json.loads((second / "info.json").read_text())["run"]
    assert status(second) == "COMPLETED" and told["in_sweep"] and told["seed"] == 2
    assert f"{told['score']:.2f} normalised score" in result.stdout and "2 done of 2" in result.stdout
    again = search(["status", *words[words.index("--seeds") :]])
    lines = again.stdout.splitlines()
    assert lines[-1] == "2 done of 2" and lines == result.stdout.splitlines()[-len(lines) :]
    assert not list((cli.results / "sweeps").glob("stop*")) and first != second


def test_a_failing_run_is_named_and_does_not_stop_the_others(tmp_path: Path, tiny_dataset: Path) -> None:
    results = tmp_path / "r"
    words = arguments(results, tiny_dataset, "--backend", "processes", "--workers", "1", "--seeds", "1-2")
    (results / "models").mkdir(parents=True)
    (results / "sacred" / "bc").mkdir(parents=True)
    (results / "sacred" / "matd3_bc").write_text("no folder")  # where matd3_bc's records go
    words[words.index("bc")] = "matd3_bc"
    words.insert(words.index("matd3_bc") + 1, "bc")
    result = search(words)
    assert result.returncode == 1
    assert "2 failed, 2 done of 4" in result.stdout
    assert f"failed: matd3_bc on {tiny_dataset}, seed 1 (exit status 1); it last printed:" in result.stdout
    assert "| error: local_results_path: nothing can be written to" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "error: name the runs by --config FILE, or by --configs"),
        (["run", "--config", "nowhere.yaml"], "error: --config nowhere.yaml: there is no such file"),
        (["run", "--config", "g.yaml", "locally"], "error: 'locally' has no meaning here; leave it out"),
        (["run", "--configs", "bc", "--seeds", "0"], "error: --seeds 0: one number says how many seeds"),
        (["run", "--configs", "bc", "--seeds", "2", "with", "seed=1"], "error: --seeds and the key seed are both"),
        (["run", "--configs", "bc", "--env-config", "mpe", "with", "t_maxx=2"], "has no key 't_maxx'"),
        (["run", "--configs", "bc", "--env-config", "mpe", "--workers", "0"], "error: --workers 0"),
        (["run", "--configs", "bc", "--env-config", "mpe", "--backend", "processes", "--gpus-per-run", "0.5"],
         "error: --gpus-per-run needs --backend ray"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(words: list[str], message: str, tmp_path: Path) -> None:
    if "with" not in words and "--env-config" in words:
        words = [*words, "with", f"local_results_path={tmp_path}"]
    result = search(words)
    assert result.returncode == 1 and message in result.stderr, result.stderr
    assert len(result.stderr.splitlines()) == 1 and not result.stdout


def test_one_signal_lets_runs_save_and_the_same_command_goes_on(tmp_path: Path, tiny_dataset: Path) -> None:
    results = tmp_path / "r"
    keys = (f"t_max={END}", *(key for key in LONG if not key.startswith("t_max=")))
    words = arguments(results, tiny_dataset, "--backend", "processes", "--workers", "1", "--seeds", "5-5", keys=keys)
    sweep = begin(words, tmp_path / "out")
    try:
        wait_for(lambda: steps(results))
        sweep.terminate()
        assert sweep.wait(60) == 130
    finally:
        kill_all(sweep.pid)
    (run,) = CommandLine(results, tiny_dataset).runs()
    assert status(run) == "INTERRUPTED"
    assert "interrupted: the runs were stopped" in (tmp_path / "out").read_text()
    stopped = max(int(step.name) for step in steps(results))
    told = search(["status", *words[words.index("--seeds") :]])
    assert f"at {stopped} of {END}" in told.stdout
    assert search(words).returncode == 0
    whole = tmp_path / "whole"
    assert search([word.replace(str(results), str(whole)) for word in words]).returncode == 0
    assert same(weights(results, 5, END), weights(whole, 5, END))
