"""Sacred's observers: a directory per run and, where configured, MongoDB too (for Omniboard)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pymongo
import pymongo.errors
from sacred.observers import FileStorageObserver, MongoObserver
from sacred.observers.mongo import get_pattern, parse_mongo_db_arg

from utils.errors import ConfigError
from utils.files import check_writable
from utils.redact import redacted

PATIENCE_MS = 3000  # longest wait for the server's answer before a run starts


class _WithoutCredentials:
    """An observer that keeps no credentials of a failed run's traceback."""

    def failed_event(self, fail_time: Any, fail_trace: Any) -> None:
        super().failed_event(fail_time=fail_time, fail_trace=redacted(fail_trace))  # type: ignore[misc]


class RunDatabaseObserver(_WithoutCredentials, MongoObserver):
    """A MongoDB observer."""


class RunDirectoryObserver(_WithoutCredentials, FileStorageObserver):
    """A file observer that accepts a run id even where a directory of that name exists.

    With MongoDB, the database gives the run id, which counts all its runs. Directories count the runs of one algorithm
    and environment, so the name may be taken; the directory is then `<id>-2`, `<id>-3`, ...
    """

    def _make_run_dir(self, _id: Any) -> None:
        if _id is None:
            super()._make_run_dir(None)
            return
        os.makedirs(self.basedir, exist_ok=True)
        self.dir = None
        name, attempt = str(_id), 1
        while True:
            try:
                self._make_dir(name)
                return
            except FileExistsError:
                attempt += 1
                name = f"{_id}-{attempt}"

    def queued_event(self, ex_info: dict[str, Any], *details: Any, **more: Any) -> Any:
        # Sacred would copy the sources of a queued run from the working directory, where they may not be.
        return super().queued_event({**ex_info, "sources": []}, *details, **more)


def mongo_observer(address: str) -> MongoObserver:
    """A MongoDB observer for `[host:port:]db_name[.collection]`, the syntax of Sacred's `-m`.

    Raises ConfigError for another syntax and where no server answers.
    """
    check_mongo(address)
    return RunDatabaseObserver(**parse_mongo_db_arg(address))


def check_mongo(address: str) -> None:
    """Test the connection before a run is built. Raises ConfigError for a wrong address and where no server answers."""
    if re.match(get_pattern(), address) is None:
        raise ConfigError(f"'{address}' is no MongoDB address; write host:port:db_name, such as localhost:27017:sacred")
    url = parse_mongo_db_arg(address).get("url", "localhost:27017")
    try:
        client: pymongo.MongoClient[Any] = pymongo.MongoClient(url, serverSelectionTimeoutMS=PATIENCE_MS)
        with client:
            client.admin.command("ping")
    except pymongo.errors.PyMongoError as error:
        raise ConfigError(
            f"no MongoDB answers at {url} ({type(error).__name__}); start it, or leave out -m and the key `mongo`, "
            "as a directory keeps the run anyway"
        ) from error


def observers(results: Path, name: str, environment: str, mongo: str | None) -> list[Any]:
    """Observers of a run: a directory, and MongoDB where `mongo` gives an address.

    Raises ConfigError where the directory cannot be written to or no server answers.
    """
    folder = results / "sacred" / name / environment
    database = [mongo_observer(mongo)] if mongo else []  # before anything is made on the disk
    check_writable(folder, "local_results_path")
    return [RunDirectoryObserver(str(folder)), *database]
