"""A run's record in the moments in which the run ends: what it says is how the run ended."""

from __future__ import annotations

import datetime
import itertools
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.command_line import CommandLine, status
from tests.fork_server import run_script
from utils.mongo import RunDatabaseObserver
from utils.observers import RunDirectoryObserver, mark_ended

NOW = datetime.datetime(2026, 1, 1)


@pytest.mark.parametrize("ended", ["COMPLETED", "FAILED", "INTERRUPTED"])
@pytest.mark.parametrize("told", [False, True], ids=["before_it_is_told", "while_it_is_written"])
def test_a_second_signal_while_a_run_ends_leaves_its_status(
    told: bool, ended: str, tmp_path: Path, cli: CommandLine
) -> None:
    """Sacred changes the run's status before it tells the observers, and the disk may be slow."""
    fault = {"COMPLETED": "", "FAILED": "raise ValueError('a fault')", "INTERRUPTED": "raise KeyboardInterrupt"}[ended]
    (tmp_path / "script.py").write_text(
        "import os, signal, sys; sys.path.insert(0, 'src'); import main; from loops.training import Training\n"
        "from utils import files; from utils.observers import RunDirectoryObserver\n"
        "flush = files.flush_to_disk\n"
        "def stop(*details):\n"
        "    files.flush_to_disk = flush\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "def tell(self, **details):\n"
        + ("    files.flush_to_disk = stop\n    event(self, **details)\n" if told else "    stop()\n")
        + f"event, RunDirectoryObserver.{ended.lower()}_event = RunDirectoryObserver.{ended.lower()}_event, tell\n"
        "def finish(self):\n"
        f"    {fault or 'pass'}\n"
        "Training.finish = finish\n"
        "sys.exit(main.main(sys.argv))\n"
    )
    result = run_script(tmp_path / "script.py", cli.arguments("t_max=2", "env=None"))
    assert result.returncode == 130 and status(cli.runs()[0]) == ended


@pytest.fixture
def observer(tmp_path: Path) -> RunDirectoryObserver:
    made = RunDirectoryObserver(str(tmp_path))
    made.started_event({"base_dir": str(tmp_path), "sources": []}, "main", {}, NOW, {}, {}, None)
    return made


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED"])
def test_a_database_is_told_how_the_run_ended(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory is told first, and may have taken its time; who posts messages is told nothing twice."""
    told: list[tuple[str, dict[str, Any]]] = []
    database = object.__new__(RunDatabaseObserver)
    for event in ("completed_event", "failed_event", "interrupted_event", "join"):
        monkeypatch.setattr(database, event, lambda event=event, **given: told.append((event, given)))
    poster = SimpleNamespace(join=lambda: None)
    run = SimpleNamespace(status=status, observers=[database, poster], stop_time=NOW, result=3, fail_trace=["trace"])
    mark_ended(run)
    assert [event for event, _ in told] == [f"{status.lower()}_event", "join"]
    assert told[0][1].get("result", 3) == 3 and told[0][1].get("fail_trace", ["trace"]) == ["trace"]


def test_an_older_state_is_not_written_after_a_newer_one(tmp_path: Path, observer: RunDirectoryObserver) -> None:
    """Sacred waits two seconds for its heartbeat's last turn, and ends the run then."""
    beat = {"info": {}, "captured_out": "", "beat_time": NOW, "result": None}
    heartbeat = threading.Thread(target=observer.heartbeat_event, kwargs=beat)
    with observer._lock:
        heartbeat.start()
        heartbeat.join(0.2)
        observer.interrupted_event(NOW, "INTERRUPTED")
    heartbeat.join()
    assert status(next(tmp_path.glob("[0-9]*"))) == "INTERRUPTED"


def test_a_heartbeat_writes_while_the_run_adds_keys(tmp_path: Path, observer: RunDirectoryObserver) -> None:
    """Sacred tells an observer that has failed once of nothing but the run's end, so that its last metrics are lost."""
    series = {f"stat{index}": list(range(300)) for index in range(60)}
    info: dict[str, Any] = {"run": {}} | series
    faults: list[Exception] = []

    def beat() -> None:
        try:
            for _ in range(5):
                observer.heartbeat_event(info, "", NOW, None)
        except RuntimeError as error:
            faults.append(error)

    heartbeat = threading.Thread(target=beat)
    heartbeat.start()
    for index in itertools.count():
        info[f"new{index}"] = info["run"][f"new{index}"] = index
        if not heartbeat.is_alive():
            break
        time.sleep(0.001)
    assert (
        not faults and series.items() <= json.loads((next(tmp_path.glob("[0-9]*")) / "info.json").read_text()).items()
    )
