"""`track.py` with a database in memory: every finished run once, and nothing of what is unfinished or damaged."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import mongomock
import pymongo.errors
import pytest
import yaml

import track
from tests.command_line import ROOT
from tests.tracking.tools import PACKAGES
from tests.utils.test_mongo import busy, in_memory, recorded
from utils import upload
from utils.mongo import RunDatabaseObserver
from utils.mongo_address import parse_address

ADDRESS = "localhost:27017:sacred"


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("track.check_mongo", lambda address: None)
    return in_memory(monkeypatch)


@pytest.fixture
def run(database: Any, tmp_path: Path) -> Path:
    """A finished run's directory; the database in which it was recorded too is another one."""
    recorded(RunDatabaseObserver(parse_address("localhost:27017:live")), busy(tmp_path), tmp_path / "runs")
    return tmp_path / "runs" / "1"


def push(*folders: Path) -> int:
    return track.main(["push", *map(str, folders), "-m", ADDRESS])


def content(database: Any) -> dict[str, list[Any]]:
    return {name: list(database[name].find()) for name in ("runs", "metrics", "fs.files", "fs.chunks")}


def test_a_pushed_run_equals_one_that_was_recorded_at_once(
    database: Any, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(run) == 0
    assert capsys.readouterr().out == f"{run}: added as run 1\n"
    (pushed,), (live,) = database["runs"].find(), database.client["live"]["runs"].find()
    apart = {"experiment", "artifacts", "info", "heartbeat", "start_time", "stop_time"}  # ids, and a clock's rounding
    assert pushed.keys() == live.keys()
    assert {key: pushed[key] for key in pushed.keys() - apart} == {key: live[key] for key in live.keys() - apart}
    assert abs((pushed["start_time"] - live["start_time"]).total_seconds()) < 0.01
    assert pushed["experiment"]["name"] == "algorithm on dataset" and len(pushed["experiment"]["sources"])
    (metric,), (as_live,) = database["metrics"].find(), database.client["live"]["metrics"].find()
    assert (metric["steps"], metric["values"], len(metric["timestamps"])) == (as_live["steps"], as_live["values"], 3)
    assert isinstance(metric["timestamps"][0], datetime) and pushed["info"]["metrics"][0]["id"] == str(metric["_id"])
    file = database["fs.files"].find_one({"_id": pushed["artifacts"][0]["file_id"]})
    assert file["filename"] == "artifact://runs/1/curve.png" and file["contentType"] == "image/png"
    assert database["fs.chunks"].find_one({"files_id": file["_id"]})["data"] == b"picture"


def test_a_second_push_adds_nothing(database: Any, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert push(run) == 0
    before = content(database)
    moved = run.parent.parent / "moved" / "9"  # where a run lies does not matter
    shutil.copytree(run.parent, moved.parent)
    shutil.move(moved.parent / "1", moved)
    assert push(run, moved) == 0
    assert capsys.readouterr().out.count("is there already, as run 1") == 2
    assert content(database) == before


def test_a_run_that_was_recorded_is_not_pushed(database: Any, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert track.main(["push", str(run), "-m", "localhost:27017:live"]) == 0
    assert "is there already, as run 1" in capsys.readouterr().out


def test_a_copy_that_ends_early_is_completed(database: Any, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a live record has left: an earlier part of the metrics under ids of its own, the status RUNNING."""
    live = database.client["live"]
    live["runs"].update_one({"_id": 1}, {"$set": {"status": "RUNNING", "artifacts": [], "result": None}})
    live["metrics"].update_one({}, {"$set": {"steps": [0], "values": [0.0]}})
    for _ in range(2):
        assert track.main(["push", str(run), "-m", "localhost:27017:live"]) == 0
    assert capsys.readouterr().out == f"{run}: added as run 1\n{run}: is there already, as run 1\n"
    (document,), (metric,) = live["runs"].find(), live["metrics"].find()
    assert (document["status"], document["result"], metric["steps"]) == ("COMPLETED", 1.5, [0, 1, 2])
    assert live["fs.files"].count_documents({"filename": "artifact://runs/1/curve.png"}) == 1


@pytest.mark.parametrize("method", ["_store_artifact", "_store_metrics"])
def test_an_upload_that_is_cut_off_is_completed(
    database: Any, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    whole = getattr(upload.Uploader, method)

    def cut(self: Any, *details: Any) -> Any:
        whole(self, *details)
        raise pymongo.errors.AutoReconnect("gone")

    with monkeypatch.context() as patch:
        patch.setattr(upload.Uploader, method, cut)
        assert push(run) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no MongoDB answers at localhost:27017:sacred (AutoReconnect)" in error
    assert push(run) == 0
    assert {name: len(found) for name, found in content(database).items() if name in ("runs", "metrics")} == {
        "runs": 1, "metrics": 1,
    }  # fmt: skip
    assert database["fs.files"].count_documents({"filename": "artifact://runs/1/curve.png"}) == 1
    assert database["runs"].find_one()["status"] == "COMPLETED"


def test_an_upload_by_two_programs_at_a_time_is_named(
    database: Any, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other one writes a file between this one's deletion and its own attempt."""
    delete = upload.gridfs.GridFS.delete

    def overtaken(self: Any, file_id: Any) -> None:
        delete(self, file_id)
        self.put(b"picture", _id=file_id)

    with monkeypatch.context() as patch:
        patch.setattr(upload.gridfs.GridFS, "delete", overtaken)
        assert push(run) == 1
    sentence = f"error: {run} is being uploaded by another program; repeat the command when that has ended\n"
    assert capsys.readouterr().err == sentence
    assert push(run) == 0


def edit(name: str, **changes: Any) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        found = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps(found | changes))

    return damage


def remove(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


def write(name: str, text: str) -> Callable[[Path], int]:
    return lambda run: (run / name).write_text(text)


SERIES = {"steps": [0, 1, 2], "values": [0.0], "timestamps": ["2026-01-01T00:00:00"] * 3}
DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "still running": (edit("run.json", status="RUNNING"), "has not ended (status RUNNING)"),
    "queued": (edit("run.json", status="QUEUED"), "has not ended (status QUEUED)"),
    "no run": (lambda run: shutil.rmtree(run), "is no run; give a directory such as"),
    "no file run.json": (remove("run.json"), "is no run"),
    "checkpoints": (
        write("run.json", '{"format": "epymarl-offline run", "sacred": {"directory": "/r/sacred/bc/1"}}'),
        "holds a run's checkpoints; give its record, /r/sacred/bc/1",
    ),
    "checkpoints of a run in a database": (
        write("run.json", '{"format": "epymarl-offline run", "sacred": {"directory": "", "databases": ["a.runs"]}}'),
        "it has no record on this disk, for a database keeps it",
    ),
    "checkpoints of an unknown run": (
        write("run.json", '{"format": "epymarl-offline run", "sacred": 3}'),
        "give its record, a directory such as",
    ),
    "half a file": (write("run.json", '{"status": "COMP'), "run.json is damaged: it is no JSON"),
    "a list": (write("config.json", "[1]"), "config.json is damaged: it holds no mapping"),
    "no configuration": (remove("config.json"), "is incomplete: config.json cannot be read"),
    "no host": (edit("run.json", host=3), "its entry 'host' is missing or no dict"),
    "no time": (edit("run.json", start_time="yesterday"), "yesterday is no time"),
    "no output": (remove("cout.txt"), "cout.txt cannot be read"),
    "lost metrics": (remove("metrics.json"), "metrics.json lacks values of 'loss'"),
    "fewer values": (edit("metrics.json", loss=SERIES), "'loss' has lists of unequal length"),
    "no series": (edit("metrics.json", loss=[1]), "'loss' is no series of values"),
    "lost artifact": (remove("curve.png"), "it has no file 'curve.png', one of its artifacts"),
    "artifact elsewhere": (edit("run.json", artifacts=["../../secret"]), "it has no file '../../secret'"),
    "lost source": (lambda run: shutil.rmtree(run.parent / "_sources"), "_sources/"),
    "a pipe": (lambda run: ((run / "cout.txt").unlink(), os.mkfifo(run / "cout.txt")), "cout.txt is no regular file"),
    "a number of 40 digits": (edit("info.json", score=10**40), "holds a value that MongoDB cannot store"),
    "half a character": (edit("config.json", label="\ud800"), "holds a value that MongoDB cannot store"),
    "nesting": (write("info.json", "[" * 100_000), "info.json is damaged: it is no JSON"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_an_unfinished_or_damaged_run_is_refused_in_one_sentence(
    database: Any, run: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    damage, words = DAMAGE[name]
    damage(run)
    assert push(run) == 1
    error = capsys.readouterr().err
    assert words in error and error.startswith(f"error: {run}") and error.count("\n") == 1
    assert not any(content(database).values())


def test_a_link_in_place_of_an_artifact_is_not_followed(database: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (run / "curve.png").unlink()
    (run / "curve.png").symlink_to(tmp_path / "secret")
    assert push(run) == 1 and not content(database)["fs.files"]


def test_a_run_that_cannot_be_stored_does_not_hold_up_the_next(
    database: Any, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(run.parent, tmp_path / "other")) / "1"
    edit("info.json", score=10**40)(other)
    assert push(other, run) == 1
    said = capsys.readouterr()
    assert "cannot store" in said.err and "added as run 1" in said.out


def test_a_name_that_is_too_long_is_one_sentence(database: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert push(Path("x" * 5000)) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_sound_runs_are_pushed_beside_damaged_ones(
    database: Any, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(tmp_path / "none", run) == 1
    said = capsys.readouterr()
    assert "none is no run" in said.err and "added as run 1" in said.out


def test_numbers_go_on_after_the_newest(database: Any, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database["runs"].insert_many([{"_id": 7}, {"_id": "text"}])
    assert push(run) == 0 and "added as run 8" in capsys.readouterr().out


def test_a_run_that_is_too_large_is_refused(
    database: Any, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise pymongo.errors.DocumentTooLarge("17 MB")

    monkeypatch.setattr(mongomock.Collection, "replace_one", refuse)
    assert push(run) == 1
    assert f"error: {run} does not fit into MongoDB" in capsys.readouterr().err


def test_columns_are_given_once_and_those_of_others_stay(database: Any, capsys: pytest.CaptureFixture[str]) -> None:
    kept = database["omniboard.custom.columns"]
    kept.insert_one({"name": "seed", "config_path": "config.seed"})
    for _ in range(2):
        assert track.main(["columns", "-m", ADDRESS]) == 0
    found = {column["name"]: column["config_path"] for column in kept.find()}
    assert found == track.COLUMNS | {"seed": "config.seed"} and kept.count_documents({}) == len(track.COLUMNS)


@pytest.mark.parametrize("command", [["push", "/"], ["columns"]])
def test_a_database_that_is_not_there_is_one_sentence(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert track.main([*command, "-m", "mongodb://me:hush@@localhost/db"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: 'mongodb://me:***@localhost/db' is no MongoDB address") and "hush" not in error


def test_a_server_that_is_not_there_is_one_sentence(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()  # the real client
    monkeypatch.setattr("utils.mongo_address.LIMITS", {"serverSelectionTimeoutMS": 50})
    assert track.main(["push", str(run), "-m", "mongodb://me:hush@127.0.0.1:1/db"]) == 1
    error = capsys.readouterr().err
    assert "no MongoDB answers at mongodb://me:***@127.0.0.1:1/db (ServerSelectionTimeoutError); start it" in error
    assert "hush" not in error and error.count("\n") == 1


def test_the_compose_file_lets_only_this_machine_in() -> None:
    services = yaml.safe_load((ROOT / "examples" / "docker-compose.yml").read_text())["services"]
    ports = [port for service in services.values() for port in service["ports"]]
    assert ports == ["127.0.0.1:27017:27017", "127.0.0.1:9000:9000"]
    assert services["omniboard"]["restart"] == "unless-stopped"  # it ends where MongoDB is not there in time
    version = next(word for word in services["omniboard"]["command"] if word.startswith("omniboard@"))
    assert version in PACKAGES and version in (ROOT / "docs" / "tracking.md").read_text()  # the one that is tested
