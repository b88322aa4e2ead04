"""Sacred's experiment, whose records hold no credentials."""

from __future__ import annotations

from typing import Any

from sacred import Experiment
from sacred.run import Run

from utils.redact import redacted


class RecordedExperiment(Experiment):
    """An experiment whose runs tell their observers of configuration, command line and sources without credentials.

    The run's own configuration, which the main function gets, stays as it is.
    """

    def _create_run(self, *args: Any, **keys: Any) -> Run:
        run: Run = super()._create_run(*args, **keys)  # type: ignore[no-untyped-call]
        for attribute in ("config", "meta_info", "experiment_info", "host_info"):
            setattr(run, attribute, redacted(getattr(run, attribute)))
        return run
