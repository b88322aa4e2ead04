"""What a sweep makes of runs that were broken off or stored under another name of their dataset."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from sweeps.cells import command
from sweeps.job import continuing
from tests.command_line import CommandLine, status
from tests.sweeps.sweeping import arguments, same, search, steps, weights
from utils.overrides import overrides


def break_off(results: Path, run: Path, step: str) -> None:
    """Leave of a run what one has that was killed after a step."""
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"status": "INTERRUPTED"}))
    for each in steps(results):
        if "_seed4_" in each.parent.name and each.name > step:
            shutil.rmtree(each)


def test_a_run_that_began_from_weights_is_continued(tmp_path: Path, tiny_dataset: Path) -> None:
    cli = CommandLine(tmp_path / "r", tiny_dataset)
    first = arguments(cli.results, tiny_dataset, "--backend", "processes", "--workers", "1", "--seeds", "3-3")
    assert search(first).returncode == 0
    words = [word if word != "3-3" else "4-4" for word in first] + [f"load_weights={cli.checkpoints()[0]}"]
    assert search(words).returncode == 0
    run, whole = cli.runs()[-1], weights(cli.results, 4, 20)
    break_off(cli.results, run, "10")
    dry = search([words[0], "--dry-run", *words[1:]])
    assert dry.returncode == 0 and "checkpoint_path=" in dry.stdout and "load_weights" not in dry.stdout, dry.stderr
    result = search(words)
    assert result.returncode == 0 and "1 done of 1" in result.stdout, result.stdout
    again = cli.runs()[-1]
    told = [json.loads((each / "info.json").read_text())["run"]["identity"] for each in (run, again)]
    assert again != run and status(again) == "COMPLETED" and told[0] == told[1]
    assert same(weights(cli.results, 4, 20), whole)
    assert "1 of them done already" in search(words).stdout


def test_the_words_of_a_continued_run_leave_out_its_weights(tmp_path: Path) -> None:
    words = ("--config=bc", "with", "load_weights=x", "label=load_weights=y")
    assert command(words, "main.py", None) == "python main.py --config=bc with load_weights=x label=load_weights=y"
    further = command(words, "main.py", tmp_path)
    assert further.startswith("python main.py --config=bc with label=load_weights=y ")
    assert "checkpoint_path=" in further and "load_weights=x" not in further
    (tmp_path / "over.yaml").write_text("load_weights: x\n")
    words = ("--config=bc", "with", str(tmp_path / "over.yaml"))
    assert overrides(continuing(words, tmp_path)[2:])["load_weights"] == "" and continuing(words, None) == [*words]


def test_a_dataset_under_another_name_is_the_same_data(tmp_path: Path, tiny_dataset: Path) -> None:
    copy = tmp_path / "renamed.h5"
    shutil.copy(tiny_dataset, copy)
    flags = ("--backend", "processes", "--workers", "1", "--seeds", "1-1", "--env-config", "none")
    assert search(arguments(tmp_path / "r", tiny_dataset, *flags)).returncode == 0
    result = search(arguments(tmp_path / "r", copy, *flags))
    assert result.returncode == 0 and "1 of them done already" in result.stdout, result.stdout
