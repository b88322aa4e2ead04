"""Disks and folders that refuse while a run is recorded: one sentence, whole files, and no lost checkpoint."""

from __future__ import annotations

import errno
import io
import json
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sacred import SETTINGS, Experiment

from tests.command_line import CommandLine
from tests.fork_server import run_script
from tests.utils.small_disk import fill, small_disk
from utils.errors import ConfigError, OutputError
from utils.logging import ConsoleHandler, Logger, quiet_threads
from utils.observers import RunDirectoryObserver, check_records, mark_ended, observers


@pytest.fixture(autouse=True)
def no_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "CAPTURE_MODE", "no")


def recorded(folder: Path, during: Callable[[Any], object]) -> tuple[RunDirectoryObserver, Any]:
    """A run whose work is `during`, and its observer."""
    experiment: Any = Experiment("test", save_git_info=False)
    observer = RunDirectoryObserver(str(folder))
    experiment.observers.append(observer)

    def work(_run: Any) -> int:
        for step in range(20):
            _run.log_scalar("loss", step / 3, step)
            _run.info.setdefault("loss", []).append(step)
        during(_run)
        return 3

    experiment.main(work)
    return observer, experiment.run()


def files(observer: RunDirectoryObserver) -> dict[str, Any]:
    """The record's JSON files, all of which must be whole."""
    assert observer.dir is not None
    return {path.name: json.loads(path.read_text()) for path in Path(observer.dir).glob("*.json")}


def test_a_sound_record_is_what_sacred_writes(tmp_path: Path) -> None:
    observer, run = recorded(tmp_path, lambda run: run._emit_heartbeat())
    check_records([observer], "")
    found = files(observer)
    assert sorted(found) == ["config.json", "info.json", "metrics.json", "run.json"]
    assert found["run.json"]["status"] == "COMPLETED" and found["run.json"]["result"] == 3
    assert found["metrics.json"]["loss"]["values"] == [step / 3 for step in range(20)]
    assert len(found["metrics.json"]["loss"]["timestamps"]) == 20
    copies = {name: tmp_path / copy for name, copy in found["run.json"]["experiment"]["sources"]}
    (own,) = (copy for name, copy in copies.items() if name.endswith(Path(__file__).name))
    assert own.read_bytes() == Path(__file__).read_bytes()
    assert not list(tmp_path.rglob(".*"))


def test_a_full_disk_cuts_no_file_short(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "disk", 400) as disk:
        observer, run = recorded(disk, lambda run: (run._emit_heartbeat(), fill(disk)))
        assert run.result == 3
        with pytest.raises(OutputError, match="ended well: cannot write .*json .no space left on device.; free space"):
            check_records([observer], "ended well")
        assert files(observer)["run.json"]["status"] == "RUNNING" and len(files(observer)["metrics.json"]["loss"]) == 3
        assert not list(disk.rglob(".*.writing"))
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1 and said[0].startswith("The record of this run is incomplete: cannot write")
    assert "Traceback" not in caplog.text


def test_a_disk_that_is_freed_gets_the_whole_record(tmp_path: Path) -> None:
    def work(run: Any) -> None:
        filling = fill(disk)
        run.captured_out = "printed while the disk is full\n"
        run._emit_heartbeat()
        filling.unlink()

    with small_disk(tmp_path / "disk", 400) as disk:
        observer, run = recorded(disk, work)
        check_records([observer], "")
        found = files(observer)
        assert found["run.json"]["status"] == "COMPLETED" and len(found["metrics.json"]["loss"]["values"]) == 20
        assert observer.dir is not None and (Path(observer.dir) / "cout.txt").read_text() == run.captured_out


def test_output_that_does_not_fit_is_not_cut(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 400) as disk:
        observer, run = recorded(disk, lambda run: None)
        place = Path(str(observer.dir)) / "cout.txt"
        before = place.read_bytes()
        fill(disk, leave=4096)
        observer.cout += "x" * 100_000
        observer.save_cout()
        assert place.read_bytes() == before and list(observer.unwritten) == ["cout.txt"]


def test_a_folder_that_vanishes_is_not_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    observer, run = recorded(tmp_path / "runs", lambda run: shutil.rmtree(tmp_path / "runs"))
    assert run.result == 3 and not (tmp_path / "runs").exists()
    with pytest.raises(OutputError, match="the record's folder is gone"):
        check_records([observer], "")
    assert "Traceback" not in caplog.text


def test_a_run_whose_record_cannot_begin_is_not_begun(tmp_path: Path, cli: CommandLine) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        result = CommandLine(disk, cli.dataset).run()
    assert result.returncode == 1 and "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: the record of this run is incomplete, so it was not begun: cannot write")
    assert "Recent Stats" not in result.stderr


def test_a_finished_run_without_a_record_says_so_and_keeps_its_checkpoints(tmp_path: Path, cli: CommandLine) -> None:
    (tmp_path / "script.py").write_text(
        "import shutil, sys; sys.path.insert(0, 'src'); import main; from loops.training import Training\n"
        "Training.finish = lambda self: shutil.rmtree(self.args.results / 'sacred')\n"
        "sys.exit(main.main(sys.argv))\n"
    )
    result = run_script(tmp_path / "script.py", cli.arguments("t_max=2", "env=None"))
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert last.startswith("error: the record of this run is incomplete, while the run itself ended well and its check")
    assert "json (the record's folder is gone)" in last and (cli.checkpoints()[0] / "2").is_dir()


def test_a_record_is_marked_at_once_even_in_the_middle_of_a_write(tmp_path: Path) -> None:
    run = SimpleNamespace(status="RUNNING", observers=[])

    def work(run: Any) -> None:
        (observer,) = run.observers
        with observer._lock:
            mark_ended(run)
        assert files(observer)["run.json"]["status"] == "INTERRUPTED"
        observer._lock.release()  # which the process would not come to

    recorded(tmp_path, work)
    mark_ended(None)
    mark_ended(run)


def test_tensorboard_files_that_cannot_be_written_are_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", quiet_threads)
    with small_disk(tmp_path / "disk", 100) as disk:
        logger = Logger(logging.getLogger("test"))
        logger.setup_tb(str(disk / "tb"))
        fill(disk)
        for t in range(3000):
            logger.log_stat("loss", 0.5, t)
        logger.finish()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and said[0].startswith("The TensorBoard files are incomplete from here on: cannot write")
    assert len(logger.stats["loss"]) == 3000


def test_tensorboard_without_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tb_logs").write_text("a file")
    with pytest.raises(OutputError, match="cannot write .*tb_logs/run"):
        Logger(logging.getLogger("test")).setup_tb(str(tmp_path / "tb_logs" / "run"))


def test_temporary_files_without_a_place_are_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="folder of temporary files .no such file or directory.; set TMPDIR"):
        observers(tmp_path, "a", "e", None)


def test_a_console_that_is_full_fails_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "no space left on device")

    ConsoleHandler(Full()).handle(logging.makeLogRecord({"msg": "one line"}))
    assert capsys.readouterr().err == ""
    ConsoleHandler(io.StringIO()).handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))
    assert "Traceback" in capsys.readouterr().err  # a mistake in the program
