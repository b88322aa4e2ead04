"""`search.py` as a user calls it: what runs, what is skipped and continued, what is refused."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.cells import cells_of
from sweeps.driver import Sweep, job_of
from sweeps.grid import short_form
from sweeps.job import MAIN, Job
from sweeps.standing import Standing, trained_together
from sweeps.table import View
from sweeps.worker import DONE, FAILED, Outcome
from tests.command_line import ROOT, CommandLine, status
from tests.fork_server import run_script
from tests.sweeps.sweeping import (
    LONG,
    SEARCH,
    SHORT,
    arguments,
    begin,
    kill_all,
    same,
    search,
    steps,
    wait_for,
    weights,
)

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


def test_seeds_that_are_trained_together_are_runs_like_others(tmp_path: Path, tiny_dataset: Path) -> None:
    cli = CommandLine(tmp_path / "r", tiny_dataset)
    words = arguments(cli.results, tiny_dataset, "--backend", "processes", "--workers", "1", "--seeds", "1-3")
    one = [word if word != "1-3" else "1-1" for word in words]
    assert search(one).returncode == 0
    dry = search(["run", "--together", "--dry-run", *words[1:]])
    assert dry.returncode == 0, dry.stderr
    done, command = dry.stdout.splitlines()
    assert done.endswith("seed 1") and command.endswith(" 'seeds=[2,3]'") and "seed=2" not in command
    result = search(["run", "--together", *words[1:]])
    assert result.returncode == 0 and "3 done of 3" in result.stdout, result.stderr
    assert sorted(json.loads((run / "config.json").read_text())["seed"] for run in cli.runs()) == [1, 2, 3]
    assert all(status(run) == "COMPLETED" for run in cli.runs())
    assert len(list((cli.results / "sweeps" / "output").iterdir())) == 2  # of seed 1, and of the others
    again = search(words)
    assert "3 runs, 3 of them done already" in again.stdout and len(cli.runs()) == 3


def test_only_runs_that_have_not_begun_are_trained_together(tmp_path: Path, tiny_dataset: Path) -> None:
    words = arguments(tmp_path, tiny_dataset)
    choices = short_form(["bc"], [str(tiny_dataset)], None, words[words.index("with") + 1 :])
    standings = [Standing(cell) for cell in cells_of(choices, [1, 2, 3, 4, 5], print, together=True)]
    standings[1].losses, standings[3].what = 1, DONE
    groups = trained_together(standings)
    assert [[each.cell.seed for each in group] for group in groups] == [[1, 3, 5], [2]]
    job = job_of([each.cell for each in groups[0]])
    assert job.words[-1] == "seeds=[1,3,5]" and len(job.locks) == 3 and job_of([groups[1][0].cell]).mates == ()


def test_of_seeds_trained_together_those_that_ended_well_are_done(tmp_path: Path, tiny_dataset: Path) -> None:
    words = arguments(tmp_path, tiny_dataset)
    choices = short_form(["bc"], [str(tiny_dataset)], None, words[words.index("with") + 1 :])
    cells = cells_of(choices, [1, 2], print, together=True)

    class OneOfTwo:
        """Does the first seed's run alone, and says that the process failed."""

        jobs: list[Job] = []

        def capacity(self) -> int:
            return 1

        def submit(self, job: Job) -> None:
            self.jobs.append(job)
            assert run_script(MAIN, list(cells[0].words)).returncode == 0

        def ended(self, seconds: float) -> list[tuple[Job, Outcome]]:
            return [(self.jobs[-1], Outcome(FAILED, "exit status 1", ("seed 2: stopped being finite",)))]

        def close(self) -> None: ...

    shown = io.StringIO()
    backend = OneOfTwo()
    assert Sweep(cells, backend, View(shown, 1), tmp_path / "stop", together=True).run() == 1
    assert len(backend.jobs) == 1 and "1 done, 1 failed of 2" in shown.getvalue()
    assert f"all of it: {cells[0].places.output}" in shown.getvalue() and "| seed 2: stopped" in shown.getvalue()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "error: name the runs by --config FILE, or by --configs"),
        (["run", "--config", "nowhere.yaml"], "error: --config nowhere.yaml: there is no such file"),
        (["run", "--config", "g.yaml", "locally"], "error: 'locally' has no meaning here; leave it out"),
        (["run", "--configs", "bc", "lr=0.1"], "error: --configs lr=0.1: this is an override; overrides follow the"),
        (["run", "--configs", "bc", "--datasets", "a", "t_max=5"], "error: --datasets t_max=5: this is an override;"),
        (["status", "--configs", "bc", "--seeds", "1-3", "t_max=5"], "error: --seeds t_max=5: this is an override;"),
        (["run", "--configs", "bc", "--env-config", "mpe", "t_max=5"], "error: 't_max=5' has no meaning here"),
        (["run", "--configs", "bc", "--seeds", "0"], "error: --seeds 0: one number says how many seeds"),
        (["run", "--configs", "bc", "--seeds", "2", "with", "seed=1"], "error: --seeds and the key seed are both"),
        (["run", "--configs", "bc", "--env-config", "mpe", "with", "t_maxx=2"], "has no key 't_maxx'"),
        (["run", "--configs", "bc", "--env-config", "mpe", "--workers", "0"], "error: --workers 0"),
        (["run", "--together", "--configs", "alberdice", "--env-config", "mpe"], "cannot train several at once"),
        (["run", "--together", "--configs", "bc", "--env-config", "mpe", "with", "seed=1"], "--together goes with"),
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
    assert not list(tmp_path.iterdir()), "nothing is made before all flags are checked"


def test_what_no_run_reads_is_said_once(tmp_path: Path) -> None:
    flags = ("--dry-run", "--seeds", "2")
    words = arguments(tmp_path / "r", Path("mpe/simple_spread/random-100k"), *flags, keys=("epsilon_start=0.3",))
    result = search(words)
    assert result.stderr == "warning: epsilon_start=0.3 is given and not read by this run of bc\n"
    assert len(result.stdout.splitlines()) == 2


@pytest.mark.parametrize("full", [False, True])
def test_runs_go_on_where_nobody_can_see_them(tmp_path: Path, tiny_dataset: Path, full: bool) -> None:
    results = tmp_path / "r"
    words = arguments(results, tiny_dataset, "--backend", "processes", "--workers", "1", "--seeds", "1-1")
    read, write = os.pipe()
    os.close(read)
    with open("/dev/full" if full else write, "wb") as closed:
        result = subprocess.run([sys.executable, str(SEARCH), *words], stdout=closed, stderr=subprocess.PIPE, text=True,
                                cwd=ROOT)  # fmt: skip
    (run,) = CommandLine(results, tiny_dataset).runs()
    assert status(run) == "COMPLETED"
    assert (result.returncode, result.stderr.count("\n")) == ((1, 1) if full else (0, 0)), result.stderr
    if full:
        os.close(write)
        assert result.stderr.startswith("error: standard output cannot be written (no space left on device); the runs")


def test_one_signal_lets_runs_save_and_the_same_command_goes_on(tmp_path: Path, tiny_dataset: Path) -> None:
    results = tmp_path / "r"
    keys = (f"t_max={END}", *(key for key in LONG if not key.startswith("t_max=")))
    words = arguments(results, tiny_dataset, "--backend", "processes", "--workers", "1", "--seeds", "5-6", keys=keys)
    sweep = begin(words, tmp_path / "out")
    try:
        wait_for(lambda: steps(results))
        sweep.terminate()
        assert sweep.wait(60) == 130
    finally:
        kill_all(sweep.pid)
    (run,) = CommandLine(results, tiny_dataset).runs()
    assert status(run) == "INTERRUPTED"
    said, stopped = (tmp_path / "out").read_text(), max(int(step.name) for step in steps(results))
    assert "interrupted: the runs were stopped and have saved, but for those that wait; the same" in said
    assert f"seed 5: stopped, at {stopped} of {END}" in said and "seed 6: stopped" not in said
    assert "1 stopped, 1 waiting of 2" in said
    told = search(["status", *words[words.index("--seeds") :]])
    assert f"at {stopped} of {END}" in told.stdout
    again = search(words)
    assert again.returncode == 0 and f"seed 5: goes on at update {stopped}" in again.stdout
    assert "seed 5: begun" not in again.stdout and "seed 6: begun" in again.stdout
    whole = tmp_path / "whole"
    assert search([word.replace(str(results), str(whole)) for word in words]).returncode == 0
    assert same(weights(results, 5, END), weights(whole, 5, END))
