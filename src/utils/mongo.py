"""MongoDB's copy of a run, for Omniboard: it never holds the run up, and it may end before the run does."""

from __future__ import annotations

import hashlib
import json
import logging
import mimetypes
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymongo
import pymongo.errors
from sacred.dependencies import get_digest
from sacred.observers import MongoObserver
from sacred.observers.mongo import force_bson_encodeable
from sacred.serializer import flatten

from utils.mongo_address import LIMITS, Address, check_mongo, parse_address, why
from utils.redact import redacted

LOG = logging.getLogger(__name__)
END_S = 5.0  # longest wait at the end of a run, for all that is still to be sent
KEY = "run_key"  # the entry of a run's document that its directory determines

Job = Callable[[], None]


def run_key(start_time: str, host: dict[str, Any], config: Any) -> str:
    """What tells a run from all others, however it gets into the database.

    start_time: ISO format. config: as Sacred writes it to config.json.
    """
    text = json.dumps([start_time, host.get("hostname"), config], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def next_number(runs: Any) -> int:
    """The number of a new run; those that `--id` has named have none."""
    newest = runs.find_one({"_id": {"$type": "number"}}, {"_id": 1}, sort=[("_id", pymongo.DESCENDING)])
    return 1 if newest is None else int(newest["_id"]) + 1


def without_series(info: dict[str, Any], metrics: set[str]) -> dict[str, Any]:
    """A run's `info` without the values and steps that are metrics too: a document may hold 16 MB."""
    return {key: value for key, value in info.items() if key not in metrics and key.removesuffix("_T") not in metrics}


def snapshot(entry: dict[str, Any]) -> dict[str, Any]:
    """A run's entry or `info` as it is now: the run may add to its mappings and lists while a thread writes it."""
    return {key: value.copy() if isinstance(value, dict | list) else value for key, value in list(entry.items())}


def store_source(files: Any, name: str, path: Path) -> Any:
    """Upload a source file unless the database has it; returns its id. files: a GridFS."""
    digest = get_digest(str(path))
    found = files.find_one({"filename": name, "metadata.md5": digest})
    return files.put(path.read_bytes(), filename=name, metadata={"md5": digest}) if found is None else found._id


def content_type(name: str) -> str | None:
    """The kind of a file, from its name; for the browser that shows it."""
    return mimetypes.guess_type(name)[0]


class RunDatabaseObserver(MongoObserver):
    """Records a run in MongoDB, from a thread of its own.

    The first request that fails is the last one: from there on the run's directory is its only record, and one
    sentence says so. The run itself waits for no answer but the one that gives it its number, and END_S at its end.
    directory: where the run's own files are, None while it is not known.
    """

    run_entry: Any  # the run's document

    def __init__(self, address: Address, directory: Callable[[], str | None] = lambda: None) -> None:
        super().__init__(url=address.url, db_name=address.database, **LIMITS)
        self.address, self.directory = address, directory
        self.lost = False
        self._key: str | None = None
        self._series: list[dict[str, str]] = []  # what Omniboard finds metrics by: {"name": ..., "id": ...}
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    # -- the beginning ---------------------------------------------------------------------------------------------

    def started_event(self, ex_info: dict[str, Any], command: str, host_info: dict[str, Any], start_time: Any,
                      config: Any, meta_info: Any, _id: Any) -> Any:  # fmt: skip
        """Make the run's document; returns its number, which becomes the run's, None where the server has gone."""
        sources = [(name, Path(ex_info["base_dir"]) / name) for name, _ in ex_info["sources"]]
        self._key = run_key(start_time.isoformat(), host_info, flatten(config))
        try:
            super().started_event({**ex_info, "sources": []}, command, host_info, start_time, config, meta_info, _id)
        except pymongo.errors.PyMongoError as error:
            self._lose(why(self.address, error))
            return _id
        self._thread = threading.Thread(target=self._work, name="MongoDB", daemon=True)
        self._thread.start()
        self._later(lambda: self._store_sources(sources))
        return self.run_entry["_id"]

    def save_sources(self, ex_info: dict[str, Any]) -> list[Any]:
        """Nothing yet: they follow when the run has its number."""
        return []

    def insert(self) -> None:
        """Make the document. A run without an id gets the next number; Sacred's way fails behind ids that are texts."""
        if self._key is not None:  # a run that is only queued has no key yet
            self.run_entry[KEY] = self._key
        given = self.run_entry.get("_id")
        while True:
            self.run_entry["_id"] = next_number(self.runs) if given is None else given
            try:
                super().insert()
                return
            except pymongo.errors.DuplicateKeyError:  # another run has taken it in this moment
                if given is not None:
                    raise

    def _store_sources(self, sources: list[tuple[str, Path]]) -> None:
        stored = [[name, store_source(self.fs, name, path)] for name, path in sources]
        self.run_entry["experiment"]["sources"] = stored

    # -- the run, whose threads only leave jobs here -----------------------------------------------------------------

    def log_metrics(self, metrics_by_name: dict[str, Any], info: dict[str, Any]) -> None:
        self._later(lambda: MongoObserver.log_metrics(self, metrics_by_name, {"metrics": self._series}))

    def heartbeat_event(self, info: dict[str, Any], captured_out: str, beat_time: Any, result: Any) -> None:
        now = snapshot(info)
        self._later(lambda: self._beat(now, captured_out, beat_time, result))

    def _beat(self, info: dict[str, Any], captured_out: str, beat_time: Any, result: Any) -> None:
        known = {series["name"] for series in self._series}
        info = without_series(info, known) | {"metrics": list(self._series)}
        super().heartbeat_event(info, captured_out, beat_time, result)

    def artifact_event(self, name: str, filename: str, metadata: Any = None, content_type: str | None = None) -> None:
        try:
            content = Path(filename).read_bytes()  # at once, as the file may be replaced
        except OSError as error:
            LOG.warning(f"MongoDB's copy of this run has no {name}: {error.strerror}")
            return
        self._later(lambda: self._store_artifact(name, content, metadata, content_type))

    def _store_artifact(self, name: str, content: bytes, metadata: Any, kind: str | None) -> None:
        path = f"artifact://{self.runs.name}/{self.run_entry['_id']}/{name}"
        file = self.fs.put(content, filename=path, metadata=metadata, content_type=kind or content_type(name))
        self.run_entry["artifacts"].append({"name": name, "file_id": file})
        self.save()

    def resource_event(self, filename: str) -> None:
        self._later(lambda: MongoObserver.resource_event(self, filename))

    # -- the end -----------------------------------------------------------------------------------------------------

    def completed_event(self, stop_time: Any, result: Any) -> None:
        self._later(lambda: MongoObserver.completed_event(self, stop_time, result))

    def interrupted_event(self, interrupt_time: Any, status: str) -> None:
        self._later(lambda: MongoObserver.interrupted_event(self, interrupt_time, status))

    def failed_event(self, fail_time: Any, fail_trace: Any) -> None:
        self._later(lambda: MongoObserver.failed_event(self, fail_time, redacted(fail_trace)))

    def join(self) -> None:
        """Wait until everything is sent, or given up."""
        if self._thread is None:
            return
        self._jobs.put(None)
        self._thread.join(END_S)
        if self._thread.is_alive() and not self.lost:
            self._lose(f"MongoDB at {self.address.shown} has not taken all within {END_S:.0f} s of the run's end")
        self._thread = None

    # -- requests, in the thread ---------------------------------------------------------------------------------------

    def save(self) -> None:
        self.runs.update_one({"_id": self.run_entry["_id"]}, {"$set": self.run_entry})

    def final_save(self, attempts: int) -> None:
        self.run_entry = force_bson_encodeable(self.run_entry)
        self.save()

    def _later(self, job: Job) -> None:
        if self._thread is not None and not self.lost:
            self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None and not self.lost:
            try:
                job()
            except pymongo.errors.PyMongoError as error:
                self._lose(why(self.address, error))
            except Exception as error:  # a record that cannot be made must not end without a word, as threads do
                self._lose(f"MongoDB's copy of this run cannot be written ({type(error).__name__}: {error})")

    def _lose(self, reason: str) -> None:
        self.lost = True
        number = None if self.run_entry is None else self.run_entry.get("_id")
        missing = (
            "it has nothing of this run" if self._thread is None
            else f"its copy of the run, number {number}, lacks metrics, artifacts and result from here on"
        )  # fmt: skip
        LOG.warning(
            f"{reason}: {missing}; the directory has them, and when the run has ended "
            f"`python src/track.py push {self.directory() or 'DIRECTORY'} -m ADDRESS` adds them"
        )


def mongo_observer(text: str, directory: Callable[[], str | None] = lambda: None) -> RunDatabaseObserver:
    """The observer for a database's address.

    directory: where the run's own files are. Raises ConfigError for an address that is none, and where no server
    answers or it refuses.
    """
    address = parse_address(text)
    check_mongo(address)
    return RunDatabaseObserver(address, directory)
