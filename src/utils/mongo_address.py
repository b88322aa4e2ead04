"""Addresses of MongoDB databases: what they may say, whether one answers, and what is said where it does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pymongo
import pymongo.errors
import pymongo.uri_parser
from sacred.observers.mongo import get_pattern, parse_mongo_db_arg

from utils.errors import ConfigError, cause
from utils.redact import redacted

ANSWER_MS = 3000  # longest wait for the server's answer to one request
LIMITS: dict[str, Any] = dict.fromkeys(("timeoutMS", "serverSelectionTimeoutMS", "connectTimeoutMS"), ANSWER_MS)
REFUSALS = {13: "no right to read or write", 18: "wrong user or password", 11000: "it has a run of this id",
            13297: "it has this database in other capitals"}  # fmt: skip


@dataclass(frozen=True)
class Address:
    """A database. `shown` is the address without its password, which alone may be printed or recorded."""

    url: str = field(repr=False)
    database: str
    shown: str

    def client(self, answer_ms: int = ANSWER_MS) -> pymongo.MongoClient[Any]:
        """A client whose every request ends within `answer_ms`."""
        return pymongo.MongoClient(self.url, **(LIMITS | {"timeoutMS": answer_ms}))


def parse_address(text: str) -> Address:
    """The database of `[host:port:]db_name`, Sacred's syntax, or of `mongodb://.../db_name`.

    Raises ConfigError, which shows no password, for another syntax, a collection of its own, a run to overwrite and a
    priority.
    """
    shown = str(redacted(text))
    if text.startswith(("mongodb://", "mongodb+srv://")):
        with _refusing(shown):
            uri = pymongo.uri_parser.parse_uri(text)
            pymongo.MongoClient(text, connect=False).close()  # which finds what the parser does not
        if uri["database"] is None:
            raise ConfigError(f"'{shown}' names no database; end it in /db_name, such as /sacred")
        _check_collection(shown, uri["collection"], None)
        return Address(text, uri["database"], shown)
    if re.match(get_pattern(), text) is None:
        raise ConfigError(f"'{shown}' is no MongoDB address; write host:port:db_name, such as localhost:27017:sacred")
    found = parse_mongo_db_arg(text)
    url, database = found.get("url", "localhost:27017"), found.get("db_name", "sacred")
    if not 0 < int(url.rpartition(":")[2]) < 2**16:
        raise ConfigError(f"'{shown}' names a port that there is not; ports are 1 to 65535, MongoDB's is mostly 27017")
    if "priority" in found:  # below the directory's the run would get the directory's number
        raise ConfigError(
            f"'{shown}' gives a priority: leave out the ! and what follows, the database always goes first"
        )
    _check_collection(shown, found.get("collection"), found.get("overwrite"))
    return Address(url, database, f"{url}:{database}")


@contextmanager
def _refusing(shown: str) -> Iterator[None]:
    """Turn what pymongo raises for an address into ConfigError; its own words may hold the password."""
    try:
        yield
    except (pymongo.errors.PyMongoError, ValueError, OSError) as error:  # OSError: of a file with certificates
        reason = cause(error) if isinstance(error, OSError) else type(error).__name__
        raise ConfigError(
            f"'{shown}' is no MongoDB address ({reason}); write mongodb://host:port/db_name, before the "
            "host `user:password@` where there is one, with special characters as %XX, and behind a ? known options"
        ) from None


def _check_collection(shown: str, collection: str | None, overwrite: str | None) -> None:
    """Raise ConfigError for another collection of runs than `runs`, and where a run is to be overwritten.

    Run numbers begin at 1 in each collection of runs, but a database has one collection of metrics, by run number: runs
    of two collections would mix and delete each other's curves.
    """
    remedy = "give another database name instead, such as localhost:27017:mine"
    if overwrite is not None:
        raise ConfigError(f"'{shown}' would overwrite run {overwrite} of the database: {remedy}")
    if collection not in (None, "runs"):
        raise ConfigError(
            f"'{shown}' names the collection {collection}, whose curves would mix with those of `runs`: {remedy}"
        )


def check_mongo(address: Address) -> None:
    """Ask the server whether it can be written to.

    Raises ConfigError where none answers, where it refuses, and where it has the database in other capitals, which
    MongoDB says at the first write alone.
    """
    try:
        with address.client() as client:
            client.admin.command("ping")
            names = [name for name in client.list_database_names() if name.lower() == address.database.lower()]
            if names and address.database not in names:
                raise ConfigError(f"MongoDB at {address.shown} has this database in other capitals; write {names[0]}")
            # changes nothing, as there is no such run, but needs the right to write
            client[address.database]["runs"].update_one({"_id": "none"}, {"$set": {"status": "none"}})
    except pymongo.errors.PyMongoError as error:
        refusal = f"{why(address, error)}; leave out -m and the key `mongo`, as a directory keeps the run anyway"
        raise ConfigError(refusal) from error


def why(address: Address, error: Exception) -> str:
    """What a database has done wrong, without its own words, which may hold anything."""
    reason = type(error).__name__
    if isinstance(error, pymongo.errors.OperationFailure):
        return f"MongoDB at {address.shown} refuses ({REFUSALS.get(error.code or 0, reason)})"
    return f"no MongoDB answers at {address.shown} ({reason})"
