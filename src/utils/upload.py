"""Finished runs into MongoDB, from their directories: once each, and complete however often an upload was cut off."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import bson
import bson.errors
import gridfs
import gridfs.errors
import pymongo
import pymongo.errors
from sacred.observers import MongoObserver
from sacred.observers.mongo import force_bson_encodeable

from utils.errors import OutputError, cause, one_line
from utils.finished_run import FINISHED, FinishedRun
from utils.manifest import Damage, regular_file
from utils.mongo import KEY, content_type, next_number, run_key, store_source, without_series
from utils.mongo_address import Address
from utils.redact import redacted

_LARGEST_DOCUMENT = 16 * 2**20  # bytes


class Uploader:
    """A database that finished runs are added to, as `RunDatabaseObserver` would have recorded them."""

    def __init__(self, client: pymongo.MongoClient[Any], address: Address) -> None:
        """Make sure that two uploads at a time cannot add one run twice. Raises PyMongoError."""
        database = client[address.database]
        self.runs, self.metrics, self.files = database["runs"], database["metrics"], gridfs.GridFS(database)
        self.runs.create_index(KEY, unique=True, sparse=True)

    def push(self, run: FinishedRun) -> tuple[int, bool]:
        """Upload a run; returns its number in the database, and whether anything was missing there.

        A copy that ends before the run did, because the database went away or an upload was cut off, is completed.
        Raises PyMongoError, and OutputError for a run with more than MongoDB takes, with a file that cannot be read, or
        that another program uploads at the same time.
        """
        _check(run)
        try:
            return self._push(run)
        except bson.errors.InvalidDocument as error:
            raise _too_large(run) from error
        except gridfs.errors.FileExists as error:
            raise OutputError(
                f"{run.folder} is being uploaded by another program; repeat the command when that has ended"
            ) from error
        except (OSError, Damage) as error:
            reason = cause(error) if isinstance(error, OSError) else error.reason
            raise OutputError(
                f"{run.folder} cannot be uploaded, as one of its files cannot be read ({reason}); repeat the command "
                "when it can"
            ) from error

    def _push(self, run: FinishedRun) -> tuple[int, bool]:
        key = run_key(run.entry["start_time"].isoformat(), run.entry["host"], run.config)
        number, status = self._reserve(key)
        if status in FINISHED:
            return number, False
        document = {**_document(run), "_id": number, KEY: key}
        document["experiment"]["sources"] = [
            [name, store_source(self.files, f"{document['experiment'].get('base_dir', '')}/{name}", path)]
            for name, path in run.sources.items()
        ]
        document["artifacts"] = [self._store_artifact(number, key, name, path) for name, path in run.artifacts.items()]
        document["info"]["metrics"] = self._store_metrics(number, key, run)
        self.runs.replace_one({"_id": number}, force_bson_encodeable(document))  # last: the status says it is whole
        return number, True

    def _reserve(self, key: str) -> tuple[int, str]:
        """The number of the run with this key, a new one where there is none, and its status."""
        while True:
            found = self.runs.find_one({KEY: key}, {"status": 1})
            if found is not None:
                return found["_id"], str(found.get("status"))
            number = next_number(self.runs)
            try:
                self.runs.insert_one({"_id": number, KEY: key, "status": "RUNNING"})
            except pymongo.errors.DuplicateKeyError:  # by another program, in this moment
                continue
            return number, "RUNNING"

    def _store_artifact(self, number: int, key: str, name: str, path: Path) -> dict[str, Any]:
        """Its id follows from the run, so that a second attempt replaces what a first one has left."""
        file = _object_id(key, "artifact", name)
        filename = f"artifact://{self.runs.name}/{number}/{name}"
        for earlier in self.files.find({"filename": filename}):
            self.files.delete(earlier._id)
        self.files.delete(file)  # and the parts of one that was cut off
        with regular_file(path) as content:
            self.files.put(content, _id=file, filename=filename, content_type=content_type(name))
        return {"name": name, "file_id": file}

    def _store_metrics(self, number: int, key: str, run: FinishedRun) -> list[dict[str, str]]:
        """All series of a run; returns what Omniboard finds them by."""
        index = []
        for name, series in run.metrics.items():
            metric = _object_id(key, "metric", name)
            self.metrics.replace_one({"_id": metric}, {"run_id": number, "name": name, **series}, upsert=True)
            index.append({"name": name, "id": str(metric)})
        kept = [bson.ObjectId(entry["id"]) for entry in index]
        self.metrics.delete_many({"run_id": number, "_id": {"$nin": kept}})
        return index


def _check(run: FinishedRun) -> None:
    """Raise OutputError, before anything is sent, for values that MongoDB cannot store and for too many of them."""
    try:
        sizes = [len(bson.encode(force_bson_encodeable(each))) for each in (_document(run), *run.metrics.values())]
    except (bson.errors.BSONError, OverflowError, ValueError, TypeError, RecursionError) as error:
        raise OutputError(
            f"{run.folder} holds a value that MongoDB cannot store ({one_line(error)}); its directory keeps it"
        ) from error
    if max(sizes) > _LARGEST_DOCUMENT:
        raise _too_large(run)


def _too_large(run: FinishedRun) -> OutputError:
    return OutputError(
        f"{run.folder} does not fit into MongoDB, where one document may hold 16 MB; its directory keeps it"
    )


def _document(run: FinishedRun) -> dict[str, Any]:
    """A run's document, without what is stored elsewhere and without the credentials that old records may hold."""
    optional: dict[str, Any] = {
        key: run.entry[key] for key in ("stop_time", "result", "fail_trace") if key in run.entry
    }
    found: dict[str, Any] = redacted({
        "experiment": dict(run.entry["experiment"]),
        "format": MongoObserver.VERSION,
        "command": run.entry["command"],
        "host": run.entry["host"],
        "start_time": run.entry["start_time"],
        "heartbeat": run.entry.get("heartbeat") or run.entry.get("stop_time"),
        "config": run.config,
        "meta": run.entry["meta"],
        "status": run.entry["status"],
        "resources": run.entry.get("resources", []),
        "captured_out": run.output,
        "info": without_series(run.info, set(run.metrics)),
        **optional,
    })  # fmt: skip
    return found


def _object_id(*words: str) -> bson.ObjectId:
    return bson.ObjectId(hashlib.sha256("\0".join(words).encode()).digest()[:12])
