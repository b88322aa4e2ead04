"""Sacred's observers: a directory per run and, where configured, MongoDB too (for Omniboard)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sacred.observers import FileStorageObserver

from utils.files import check_writable
from utils.mongo import mongo_observer


class RunDirectoryObserver(FileStorageObserver):
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


def observers(results: Path, name: str, environment: str, mongo: str | None) -> list[Any]:
    """Observers of a run: a directory, and MongoDB where `mongo` gives an address.

    Raises ConfigError where the directory cannot be written to or no server answers.
    """
    folder = results / "sacred" / name / environment
    check_writable(folder, "local_results_path")
    directory = RunDirectoryObserver(str(folder))
    return [directory, mongo_observer(mongo, lambda: directory.dir)] if mongo else [directory]
