"""Command line for MongoDB: `python src/track.py push|columns ... -m ADDRESS`.

See docs/tracking.md.
"""

from utils import signals
from utils.printing import Parser, open_closed_streams, put

if __name__ == "__main__":
    open_closed_streams()
    signals.end_at_once_on_signals()  # before the imports that follow, which take seconds

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pymongo.errors

warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # sacred imports it; nothing a user can mend

from utils.errors import OutputError, UserError
from utils.finished_run import RunError, read_finished
from utils.memory import memory_errors
from utils.mongo_address import Address, check_mongo, parse_address, why
from utils.upload import Uploader

UPLOAD_MS = 60_000  # longest wait for one request: nothing but the upload waits for it
# Omniboard's columns of what tells runs apart: where each stands in a run's document.
COLUMNS = {
    name: f"info.run.{name}"
    for name in ("algorithm", "dataset", "environment", "seed", "score", "best", "score_is", "commit")
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Return the exit status: 1, with a sentence on stderr, where something was refused."""
    address = None
    try:
        arguments = _parser().parse_args(argv)
        address = parse_address(arguments.mongo_db)
        with memory_errors("close other programs, or push fewer runs at a time"):
            return int(arguments.run(arguments, address))
    except UserError as error:
        signals.say(f"error: {error}")
    except pymongo.errors.PyMongoError as error:
        assert address is not None  # nothing is asked of a database before
        signals.say(f"error: {why(address, error)}; repeat the command when that is mended, nothing is lost")
    return 1


def _push(arguments: argparse.Namespace, address: Address) -> int:
    """Upload every run that is whole; say of each other one why not."""
    runs, refused = [], 0
    for folder in arguments.runs:
        try:
            runs.append(read_finished(Path(folder)))
        except RunError as error:
            refused = 1
            signals.say(f"error: {error}")
    if runs:
        _check(address)
        with address.client(UPLOAD_MS) as client:
            uploader = Uploader(client, address)
            for run in runs:
                try:
                    number, added = uploader.push(run)
                except OutputError as error:
                    refused = 1
                    signals.say(f"error: {error}")
                    continue
                put(f"{run.folder}: {'added as' if added else 'is there already, as'} run {number}")
    return refused


def _columns(arguments: argparse.Namespace, address: Address) -> int:
    """Give Omniboard its columns; those that somebody made by the same names stay as they are."""
    _check(address)
    with address.client() as client:
        kept = client[address.database]["omniboard.custom.columns"]
        for name, path in COLUMNS.items():
            kept.update_one({"name": name}, {"$setOnInsert": {"config_path": path}}, upsert=True)
    put(f"{address.shown}: Omniboard has the columns {', '.join(COLUMNS)}; reload its page")
    return 0


def _check(address: Address) -> None:
    try:
        check_mongo(address)
    except UserError as error:
        reason = str(error).partition("; ")[0]
        raise OutputError(f"{reason}; start it or mend -m, then repeat the command") from error


def _parser() -> Parser:
    parser = Parser(prog="track.py", description="Bring finished runs into MongoDB, for Omniboard.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    push = commands.add_parser("push", help="upload finished runs, once each")
    push.add_argument(
        "runs", nargs="+", metavar="RUN", help="a directory such as results/sacred/spacql/simple_spread/1"
    )
    push.set_defaults(run=_push)
    columns = commands.add_parser("columns", help="give Omniboard a column for each field that tells runs apart")
    columns.set_defaults(run=_columns)
    for command in (push, columns):
        command.add_argument(
            "-m", "--mongo_db", required=True, metavar="ADDRESS",
            help="host:port:db_name or mongodb://user:password@host:port/db_name",
        )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
