"""A real MongoDB that dies, or answers no more: the run ends well and its directory is whole."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import track
from tests.command_line import ROOT, CommandLine, status
from tests.tracking.idle import idle_until_end
from tests.tracking.tools import Server, wait_until

pytestmark = pytest.mark.slow
LONG = ("t_max=400", "test_interval=200", "save_model_interval=200", "log_interval=20", "learner_log_interval=20")
BEAT = "--beat-interval=0.5"  # between the messages to the server, in seconds


def start(cli: CommandLine, server: Server, log: Path, *updates: str) -> subprocess.Popen[str]:
    command = cli.command(f"mongo={server.address()}", *updates)
    at = command.index("with")
    with open(log, "w") as file:
        return subprocess.Popen([*command[:at], BEAT, *command[at:]], cwd=ROOT, stdout=file, stderr=file, text=True)


def seen(log: Path, words: str) -> bool:
    return words in log.read_text()


def reach(process: subprocess.Popen[str], log: Path, words: str) -> None:
    wait_until(lambda: seen(log, words) or process.poll() is not None, words, 120)
    assert seen(log, words), log.read_text()


def ended(process: subprocess.Popen[str], log: Path, marks: str) -> float:
    """Wait for the run's end; returns the seconds that it has only waited since the log had `marks`.

    What it does then, such as drawing, takes as long as the machine's other work lets it: the clock would measure that.
    """
    reach(process, log, marks)
    idle = idle_until_end(process, 60)
    assert process.returncode == 0, log.read_text()
    return idle


def check_directory(run: Path) -> None:
    """Everything that the run has found is in its own files."""
    metrics = json.loads((run / "metrics.json").read_text())
    assert status(run) == "COMPLETED"
    assert metrics["test_return_mean"]["steps"] == [0, 200, 400]
    assert metrics["final_return"]["steps"] == [400]
    entry = json.loads((run / "run.json").read_text())
    assert entry["result"] is not None and entry["artifacts"] == ["description.json", "learning_curve.png"]
    assert (run / "learning_curve.png").stat().st_size > 1000 and "Recent Stats" in (run / "cout.txt").read_text()


def sentences(log: Path) -> list[str]:
    """What was said of the database."""
    lines = log.read_text().splitlines()
    assert not any("Traceback" in line or "An error ocurred" in line for line in lines), log.read_text()
    return [line for line in lines if "MongoDB" in line]


FIRST, MIDDLE, LAST = (f"| update: {t:>10}" for t in (21, 200, 400))  # as the console prints it


@pytest.mark.parametrize(("stage", "how"), [(FIRST, "killed"), (MIDDLE, "killed"), (LAST, "killed"), (LAST, "silent")])
def test_a_run_outlives_its_database(cli: CommandLine, server: Server, tmp_path: Path, stage: str, how: str) -> None:
    """`silent`: the server is there and answers nothing, as behind a cut cable."""
    log = tmp_path / "log"
    process = start(cli, server, log, *LONG)
    reach(process, log, stage)
    server.process.send_signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
    assert ended(process, log, LAST) < 6  # and the learning curve, which is drawn now, takes the rest of ten seconds
    (said,) = sentences(log)
    (run,) = cli.runs()
    assert "lacks metrics, artifacts and result from here on" in said and f"track.py push {run} -m ADDRESS" in said
    check_directory(run)


def test_what_is_missing_is_pushed_afterwards(cli: CommandLine, tools: Path, tmp_path: Path, capsys: Any) -> None:
    data, log = tmp_path / "mongodb", tmp_path / "log"
    server = Server(tools, data)
    try:
        process = start(cli, server, log, *LONG)
        reach(process, log, MIDDLE)
        wait_until(lambda: server.client["sacred"]["metrics"].count_documents({}) > 0, "metrics in the database", 10)
        server.kill()
        ended(process, log, LAST)
    finally:
        server.close()
    again = Server(tools, data)
    try:
        before = again.client["sacred"]["runs"].find_one()
        assert before is not None and before["status"] == "RUNNING"
        for answer in ("added as run 1", "is there already, as run 1"):
            assert track.main(["push", str(cli.runs()[0]), "-m", again.address()]) == 0
            assert answer in capsys.readouterr().out
        check_database(again, cli.runs()[0])
    finally:
        again.close()


def check_database(server: Server, run: Path) -> None:
    """One run, complete, each metric once."""
    database = server.client["sacred"]
    (document,) = database["runs"].find()
    assert document["status"] == "COMPLETED"
    assert document["result"] == json.loads((run / "run.json").read_text())["result"]
    kept = json.loads((run / "metrics.json").read_text())
    found: dict[Any, Any] = {metric["name"]: metric for metric in database["metrics"].find({"run_id": 1})}
    assert database["metrics"].count_documents({}) == len(kept) == len(found)
    assert all(found[name]["values"] == series["values"] for name, series in kept.items())
    artifacts = database["fs.files"].find({"filename": {"$regex": "^artifact://"}})
    assert sorted(str(file["filename"]).rpartition("/")[2] for file in artifacts) == [
        "description.json", "learning_curve.png",
    ]  # fmt: skip


def test_runs_at_once_have_numbers_of_their_own(cli: CommandLine, server: Server, tmp_path: Path) -> None:
    logs = [tmp_path / f"log{seed}" for seed in range(3)]
    runs = [start(cli, server, log, f"seed={seed}") for seed, log in enumerate(logs)]
    assert [process.wait(timeout=120) for process in runs] == [0, 0, 0]
    documents = list(server.client["sacred"]["runs"].find().sort("_id"))
    assert [document["_id"] for document in documents] == [1, 2, 3]
    assert all(document["status"] == "COMPLETED" and document["experiment"]["sources"] for document in documents)
