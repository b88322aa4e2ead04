"""Sacred's observers: a directory per run and, where configured, MongoDB too (for Omniboard)."""

from __future__ import annotations

import datetime
import errno
import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sacred.dependencies import get_digest
from sacred.observers import FileStorageObserver
from sacred.serializer import flatten

from utils.errors import ConfigError, OutputError, cause
from utils.files import check_writable, output_error, writing_file
from utils.mongo import RunDatabaseObserver, mongo_observer, snapshot
from utils.redact import redacted

LOG = logging.getLogger(__name__)


class RunDirectoryObserver(FileStorageObserver):
    """A file observer whose files are whole at any moment, and which survives a disk that refuses.

    A run id is accepted even where a directory of that name exists: with MongoDB, the database gives the id, which
    counts all its runs, while directories count the runs of one algorithm and environment. The directory is then
    `<id>-2`, `<id>-3`, ...

    What cannot be written is said once and tried again at the next occasion; the run goes on meanwhile. `unwritten`
    holds what is still missing in the directory.
    """

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        super().initialize(*args, **kwargs)
        self.unwritten: dict[str, OutputError] = {}  # by file name
        self._quiet = True  # until the run has started: what fails before is an error, and later ones are said once
        self._metrics: dict[str, dict[str, list[Any]]] = {}
        self._lock = threading.RLock()  # the heartbeat's thread writes too

    # -- the directory ---------------------------------------------------------------------------------------------

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
        with self._missing("run.json"):
            return super().queued_event({**ex_info, "sources": []}, *details, **more)
        return None

    def started_event(self, *details: Any, **more: Any) -> Any:
        """Make the directory and its first files; where they cannot be made, `check_records` says so."""
        self.run_entry = {"status": "RUNNING", "artifacts": [], "resources": []}
        _id = None
        with self._missing("run.json"):
            _id = super().started_event(*details, **more)
        self._quiet = bool(self.unwritten)
        return _id

    def find_or_save(self, filename: str, store_dir: Path) -> Path:
        """Copy a source file unless it is there; a copy that is cut short never gets the name of a whole one."""
        stem, extension = os.path.splitext(os.path.basename(filename))
        store = Path(store_dir) / f"{stem}_{get_digest(filename)}{extension}"
        if not store.exists():
            self._write(store, Path(filename).read_bytes())
        return store

    # -- its files -------------------------------------------------------------------------------------------------

    def save_json(self, obj: Any, filename: str) -> None:
        """Replace a file by what it shall hold now, in one instant."""
        with self._missing(filename), self._lock:  # or an older state could be written after a newer one
            self._write(self._place(filename), json.dumps(flatten(snapshot(obj)), sort_keys=True, indent=2).encode())

    def save_cout(self) -> None:
        """Append what was printed since the last time, all of it or nothing."""
        with self._missing("cout.txt"), open(self._place("cout.txt"), "ab") as file:
            end = file.tell()
            try:
                file.write(self.cout[self.cout_write_cursor :].encode("utf-8", "backslashreplace"))
                file.flush()
            except OSError:
                os.truncate(file.fileno(), end)
                raise
            self.cout_write_cursor = len(self.cout)

    def save_file(self, filename: str, target_name: str | None = None) -> None:
        """Copy an artifact, such as a picture; where it cannot be, there is a warning and no more."""
        name = target_name or os.path.basename(filename)
        try:
            self._write(self._place(name), Path(filename).read_bytes())
        except OSError as error:
            LOG.warning(f"The record has no copy of {filename}: {output_error(self._place(name), error)}")

    def failed_event(self, fail_time: Any, fail_trace: Any) -> None:
        """Keep the failed run's traceback, without credentials."""
        super().failed_event(fail_time=fail_time, fail_trace=redacted(fail_trace))

    def log_metrics(self, metrics_by_name: dict[str, Any], info: dict[str, Any]) -> None:
        """Write all values so far. Sacred would read the old ones back from the file, which may be gone."""
        for name, new in metrics_by_name.items():
            kept = self._metrics.setdefault(name, {"steps": [], "values": [], "timestamps": []})
            kept["steps"] += new["steps"]
            kept["values"] += new["values"]
            kept["timestamps"] += [stamp.isoformat() for stamp in new["timestamps"]]
        if metrics_by_name or "metrics.json" in self.unwritten:
            self.save_json(self._metrics, "metrics.json")

    def end_at_once(self, status: str) -> None:
        """Write the run's entry, with this status where it says RUNNING; for a process that ends at once."""
        self._lock.acquire(timeout=1)  # never released: no heartbeat may write after this
        if self.run_entry is not None:
            if self.run_entry["status"] == "RUNNING":
                now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)  # as Sacred does
                self.run_entry |= {"status": status, "stop_time": now.isoformat()}
            self.save_json(self.run_entry, "run.json")

    def _place(self, filename: str) -> Path:
        """Where a file of the record lies. Raises OSError where its directory is gone, which is not made again."""
        if self.dir is None or not os.path.isdir(self.dir):
            raise FileNotFoundError(errno.ENOENT, "the record's folder is gone", str(self.dir))
        return Path(self.dir) / filename

    def _write(self, path: Path, content: bytes) -> None:
        with self._lock, writing_file(path) as temporary:
            temporary.write_bytes(content)

    @contextmanager
    def _missing(self, filename: str) -> Iterator[None]:
        """Note a file that the operating system refuses to write, until a later attempt succeeds; say it once."""
        try:
            yield
        except OSError as error:
            self.unwritten[filename] = output_error(Path(self.dir or self.basedir) / filename, error)
            if not self._quiet:
                LOG.warning(f"The record of this run is incomplete: {self.unwritten[filename]}; the run goes on")
                self._quiet = True
        else:
            self.unwritten.pop(filename, None)


def check_records(found: Iterable[Any], kept: str) -> None:
    """Raise OutputError where a run directory among these observers lacks something that could not be written.

    kept: what is said of the run itself.
    """
    for observer in found:
        for missing in getattr(observer, "unwritten", {}).values():
            raise OutputError(f"the record of this run is incomplete, {kept}: {missing}")


def mark_ended(run: Any) -> None:
    """Have all observers of a run write how it ended, interrupted if it has not; for a process that ends at once.

    run: Sacred's, None where there is none yet. Its status changes before its observers are told, so that one which
    has ended may still have a record that says RUNNING.
    """
    if run is None or run.status in (None, "QUEUED"):
        return
    others = []
    for observer in run.observers:
        if isinstance(observer, RunDirectoryObserver):
            observer.end_at_once("INTERRUPTED" if run.status == "RUNNING" else run.status)
        else:
            others.append(observer)
    # What the signal has interrupted may hold a lock of theirs, and a server may not answer: they get two seconds.
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)

    def mark(observer: Any) -> None:
        if run.status in ("RUNNING", "INTERRUPTED"):
            observer.interrupted_event(interrupt_time=now, status="INTERRUPTED")
        elif isinstance(observer, RunDatabaseObserver):  # telling it again changes nothing; others post messages
            if run.status == "COMPLETED":
                observer.completed_event(stop_time=run.stop_time, result=run.result)
            elif run.status == "FAILED":
                observer.failed_event(fail_time=now, fail_trace=run.fail_trace or [])
        observer.join()  # a database is told in a thread of its own

    threads = [threading.Thread(target=mark, args=(each,), daemon=True) for each in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=2)
    captured = getattr(getattr(run, "_output_file", None), "buffer", None)
    if isinstance(name := getattr(captured, "name", None), str):
        Path(name).unlink(missing_ok=True)  # the output captured so far, in a temporary file


def mark_all_ended(runs: Iterable[Any]) -> None:
    """`mark_ended` for every run of the process."""
    for run in runs:
        mark_ended(run)


def observers(results: Path, name: str, environment: str, mongo: str | None) -> list[Any]:
    """Observers of a run: a directory, and MongoDB where `mongo` gives an address.

    Raises ConfigError where the directory or the folder of temporary files cannot be written to, or no server answers.
    """
    folder = results / "sacred" / name / environment
    database = [mongo_observer(mongo)] if mongo else []  # before anything is made on the disk
    check_writable(folder, "local_results_path")
    try:
        with tempfile.TemporaryFile():  # Sacred keeps what is printed in one
            pass
    except OSError as error:
        raise ConfigError(
            f"nothing can be written to the folder of temporary files ({cause(error)}); set TMPDIR to another one"
        ) from error
    directory = RunDirectoryObserver(str(folder))
    for each in database:
        each.directory = lambda: directory.dir  # of which it speaks when the database goes
    return [directory, *database]
