"""Where Sacred keeps runs: a directory each, and by key a MongoDB beside it (for Omniboard)."""

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

PATIENCE_MS = 3000  # how long a server may take to answer before the run starts


class RunDirectoryObserver(FileStorageObserver):
    """A file observer that accepts another observer's run id even where a directory of that name exists.

    A MongoDB observer is asked first and its id is used for the directory. Ids count runs of the whole database, the
    directories only those of one algorithm and environment, so the name can be taken: then `<id>-2`, `<id>-3`, ...
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
        # Sacred copies sources of a queued run from the working directory, where they need not be.
        return super().queued_event({**ex_info, "sources": []}, *details, **more)


def mongo_observer(address: str) -> MongoObserver:
    """An observer for `[host:port:]db_name[.collection]`, the syntax of Sacred's `-m`."""
    check_mongo(address)
    return MongoObserver(**parse_mongo_db_arg(address))


def check_mongo(address: str) -> None:
    """Ask the server before anything is built. Raises ConfigError for an unreadable address or a silent server."""
    if re.match(get_pattern(), address) is None:
        raise ConfigError(f"'{address}' is no MongoDB address; write host:port:db_name, such as localhost:27017:sacred")
    url = parse_mongo_db_arg(address).get("url", "localhost:27017")
    try:
        client: pymongo.MongoClient[Any] = pymongo.MongoClient(url, serverSelectionTimeoutMS=PATIENCE_MS)
        with client:
            client.admin.command("ping")
    except pymongo.errors.PyMongoError as error:
        raise ConfigError(
            f"no MongoDB answers at {url} ({type(error).__name__}); start it, or leave out -m and the key `mongo`: "
            "the run is kept in its directory all the same"
        ) from error


def observers(results: Path, name: str, environment: str, mongo: str | None) -> list[Any]:
    """The observers of a run: always a directory, MongoDB where `mongo` names one.

    Raises ConfigError where the directory cannot be written to or no server answers.
    """
    folder = results / "sacred" / name / environment
    check_writable(folder, "local_results_path")
    directory = RunDirectoryObserver(str(folder))
    return [directory, mongo_observer(mongo)] if mongo else [directory]
