"""MongoDB's copy of a run, with a database in memory: what it holds, how it is lost, and what is never said of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mongomock
import pymongo.errors
import pytest
from mongomock.gridfs import enable_gridfs_integration
from sacred import SETTINGS, Experiment

from utils import mongo
from utils.errors import ConfigError
from utils.experiment import RecordedExperiment
from utils.mongo import RunDatabaseObserver
from utils.mongo_address import parse_address
from utils.observers import RunDirectoryObserver

PASSWORD = "hush%40"


def in_memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A database in memory that every client finds."""
    monkeypatch.setitem(SETTINGS, "CAPTURE_MODE", "no")
    enable_gridfs_integration()
    client: Any = mongomock.MongoClient()
    monkeypatch.setattr("pymongo.MongoClient", lambda *a, **k: client)
    return client["sacred"]


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Any:
    return in_memory(monkeypatch)


def recorded(observer: Any, main: Callable[..., Any], folder: Path) -> Any:
    """A run that the observer and a directory record; returns Sacred's run."""
    experiment = RecordedExperiment("test", save_git_info=False)
    experiment.recorded_name = "algorithm on dataset"
    experiment.observers.extend([observer, RunDirectoryObserver(str(folder))])
    experiment.main(main)
    return experiment.run()


def busy(folder: Path) -> Callable[..., float]:
    """The main function of a run with metrics and an artifact."""
    file = folder / "picture.png"
    file.write_bytes(b"picture")

    def main(_run: Any) -> float:
        for t in range(3):
            _run.log_scalar("loss", t / 2, t)
            for key, value in (("loss", t / 2), ("loss_T", t)):
                _run.info.setdefault(key, []).append(value)
        _run.info["run"] = {"score": 1.5}
        _run.add_artifact(str(file), name="curve.png")
        return 1.5

    return main


def test_the_copy_holds_what_the_directory_holds(database: Any, tmp_path: Path) -> None:
    recorded(RunDatabaseObserver(parse_address("localhost:27017:sacred")), busy(tmp_path), tmp_path / "runs")
    (run,) = database["runs"].find()
    (metric,) = database["metrics"].find()
    assert (run["experiment"]["name"], run["status"], run["result"]) == ("algorithm on dataset", "COMPLETED", 1.5)
    assert (metric["run_id"], metric["name"], metric["steps"], metric["values"]) == (1, "loss", [0, 1, 2], [0, 0.5, 1])
    # A document holds 16 MB at most: series are metrics and nothing else.
    assert run["info"] == {"run": {"score": 1.5}, "metrics": [{"name": "loss", "id": str(metric["_id"])}]}
    (artifact,) = run["artifacts"]
    file = database["fs.files"].find_one({"_id": artifact["file_id"]})
    assert artifact["name"] == "curve.png" and file["filename"] == "artifact://runs/1/curve.png"
    assert "test_mongo.py" in [Path(name).name for name, _ in run["experiment"]["sources"]]


def test_numbers_go_on_beside_ids_that_are_texts(database: Any, tmp_path: Path) -> None:
    """A run of `--id` has one; Sacred would add 1 to it."""
    database["runs"].insert_many([{"_id": 4}, {"_id": "mine"}, {"_id": "7"}])
    recorded(RunDatabaseObserver(parse_address("localhost:27017:sacred")), lambda: 1, tmp_path)
    assert database["runs"].find_one({"_id": 5})["status"] == "COMPLETED"


def test_a_number_that_another_run_takes_is_passed_over(
    database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database["runs"].insert_one({"_id": 1})
    free = iter([1, 2])
    monkeypatch.setattr(mongo, "next_number", lambda runs: next(free))
    recorded(RunDatabaseObserver(parse_address("localhost:27017:sacred")), lambda: 1, tmp_path)
    assert [run["_id"] for run in database["runs"].find()] == [1, 2]


def test_sources_are_stored_once(database: Any, tmp_path: Path) -> None:
    for _ in range(2):
        recorded(RunDatabaseObserver(parse_address("localhost:27017:sacred")), lambda: 1, tmp_path)
    first, second = (run["experiment"]["sources"] for run in database["runs"].find())
    assert first == second and database["fs.files"].count_documents({}) == len(first) > 0


def failing(method: str) -> type[RunDatabaseObserver]:
    """An observer whose server goes away at one of its requests."""

    def gone(self: Any, *_: Any, **__: Any) -> None:
        raise pymongo.errors.AutoReconnect(f"mongodb://me:{PASSWORD}@host says no")

    return type("Failing", (RunDatabaseObserver,), {method: gone})


@pytest.mark.parametrize(
    ("method", "missing"),
    [
        ("insert", "it has nothing of this run"),
        ("_store_sources", "its copy of the run, number 1, lacks"),
        ("_beat", "its copy of the run, number 1, lacks"),
        ("_store_artifact", "its copy of the run, number 1, lacks"),
        ("final_save", "its copy of the run, number 1, lacks"),
    ],
)
def test_a_run_ends_well_whenever_its_database_goes(
    database: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, method: str, missing: str
) -> None:
    address = parse_address(f"mongodb://me:{PASSWORD}@localhost/sacred")
    observer = failing(method)(address, lambda: "results/1")
    run = recorded(observer, busy(tmp_path), tmp_path / "runs")
    assert run.status == "COMPLETED" and run.result == 1.5
    (said,) = [record.message for record in caplog.records if record.name == "utils.mongo"]
    assert missing in said and "python src/track.py push results/1 -m ADDRESS" in said
    assert "AutoReconnect" in said and "mongodb://me:***@localhost/sacred" in said and "hush" not in caplog.text
    (folder,) = [path for path in (tmp_path / "runs").iterdir() if path.name.isdigit()]
    assert {"run.json", "metrics.json", "curve.png", "info.json"} <= {path.name for path in folder.iterdir()}


def test_a_silent_server_holds_nothing_up(
    database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A request hangs: the run goes on at once, and waits no longer than END_S when it has ended."""
    monkeypatch.setattr(mongo, "END_S", 0.2)
    released, passed = threading.Event(), 0.0

    class Silent(RunDatabaseObserver):
        def _store_sources(self, sources: Any) -> None:
            released.wait(20)

    def main(_run: Any) -> None:
        nonlocal passed
        begin = time.monotonic()
        busy(tmp_path)(_run)
        passed = time.monotonic() - begin

    begin = time.monotonic()
    recorded(Silent(parse_address("localhost:27017:sacred")), main, tmp_path / "runs")
    assert passed < 0.5 and time.monotonic() - begin < 5
    assert "has not taken all within 0 s of the run's end" in caplog.text
    released.set()


def test_a_record_that_cannot_be_made_says_so(database: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(RunDatabaseObserver):
        def _beat(self, *_: Any) -> None:
            raise ValueError("no such thing")

    recorded(Broken(parse_address("localhost:27017:sacred")), busy(tmp_path), tmp_path / "runs")
    assert "MongoDB's copy of this run cannot be written (ValueError: no such thing)" in caplog.text


def test_an_artifact_that_is_gone_is_a_warning(database: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    observer = RunDatabaseObserver(parse_address("localhost:27017:sacred"))
    with caplog.at_level(logging.WARNING):
        observer.artifact_event("curve.png", str(tmp_path / "none.png"))
    assert "has no curve.png: No such file or directory" in caplog.text and not observer.lost


@pytest.mark.parametrize(
    ("text", "shown", "database"),
    [
        ("localhost:27017:sacred", "localhost:27017:sacred", "sacred"),
        ("sacred", "localhost:27017:sacred", "sacred"),
        ("host:1:db.runs", "host:1:db", "db"),
        (f"mongodb://me:{PASSWORD}@host:1/db", "mongodb://me:***@host:1/db", "db"),
        ("mongodb://host/db?authSource=admin", "mongodb://host/db?authSource=admin", "db"),
    ],
)
def test_addresses(text: str, shown: str, database: str) -> None:
    address = parse_address(text)
    assert (address.shown, address.database) == (shown, database)
    assert "hush" not in repr(address)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not an address", "write host:port:db_name"),
        (f"me:{PASSWORD}@host:1:db", "'me:***@host:1:db' is no MongoDB address"),
        (f"mongodb://me:{PASSWORD}@host", "'mongodb://me:***@host' names no database"),
        ("mongodb://me:hush@@host/db", "is no MongoDB address (InvalidURI)"),
        ("mongodb://me:hu:sh@host:x/db", "is no MongoDB address"),
        ("mongodb://me:hush@host:99999/db", "mongodb://host:port/db_name, before the host `user:password@`"),
        ("mongodb://me@host/db", "is no MongoDB address (ConfigurationError)"),
        ("mongodb://host/db?tls=true&tlsCAFile=/none", "is no MongoDB address (no such file or directory)"),
        ("host:99999:db", "'host:99999:db' names a port that there is not"),
        ("host:0:db", "'host:0:db' names a port that there is not"),
        ("host:1:db!5", "'host:1:db!5' gives a priority"),
        ("host:1:db.mine", "'host:1:db.mine' names the collection mine"),  # its curves would mix with those of `runs`
        ("host:1:db.runs:99", "would overwrite run 99 of the database: give another database name instead"),
        (f"mongodb://me:{PASSWORD}@host/db.mine", "'mongodb://me:***@host/db.mine' names the collection mine"),
    ],
)
def test_refused_addresses_show_no_password(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_address(text)
    assert words in str(refusal.value) and "hush" not in str(refusal.value) and "hu:sh" not in str(refusal.value)


@pytest.mark.parametrize(
    ("code", "words"), [(13, "refuses (no right to read or write)"), (18, "refuses (wrong user or password)")]
)
def test_a_refusing_server_is_named(database: Any, monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise pymongo.errors.OperationFailure("not you", code)

    monkeypatch.setattr(mongomock.Collection, "update_one", refuse)
    monkeypatch.setattr(mongomock.MongoClient, "admin", Pong(), raising=False)
    with pytest.raises(ConfigError, match="MongoDB at localhost:1:db refuses") as refusal:
        mongo.mongo_observer("localhost:1:db")
    assert words in str(refusal.value)


def test_a_database_in_other_capitals_is_refused_before_the_run(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongomock.MongoClient, "admin", Pong(), raising=False)
    database["runs"].insert_one({"_id": 1})
    with pytest.raises(ConfigError, match="localhost:1:Sacred has this database in other capitals; write sacred"):
        mongo.mongo_observer("localhost:1:Sacred")
    mongo.mongo_observer("localhost:1:sacred")


class Pong:
    def command(self, name: str) -> dict[str, float]:
        return {"ok": 1.0}


def test_an_experiment_without_a_name_of_its_own_keeps_the_first() -> None:
    assert RecordedExperiment("test", save_git_info=False).get_experiment_info()["name"] == "test"
    assert isinstance(RecordedExperiment("test", save_git_info=False), Experiment)
