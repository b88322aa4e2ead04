"""Sacred's experiment, whose records hold no credentials."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sacred import Experiment
from sacred.run import Run

from utils.printing import put
from utils.redact import redacted

SHOW = "--print-config"


class RecordedExperiment(Experiment):
    """An experiment whose runs tell their observers of configuration, command line and sources without credentials.

    The configuration that the main function gets stays as it is. Set once the command line has been read: shown, the
    lines that show it; recorded_name, what runs are recorded under, while log lines keep the experiment's own name;
    dataset, what was read and checked for the run before it exists; unread, the sentence that names what the command
    line gives and the run does not read; together, the runs of several seeds that are trained as one. begun: the runs
    so far.
    """

    shown: Iterable[str] = ()
    recorded_name: str | None = None
    dataset: Any = None
    unread: str | None = None
    together: Any = None
    begun: tuple[Run, ...] = ()

    def get_experiment_info(self) -> dict[str, Any]:
        """What observers are told of the experiment."""
        found: dict[str, Any] = super().get_experiment_info()  # type: ignore[no-untyped-call]
        return found if self.recorded_name is None else found | {"name": self.recorded_name}

    def print_config(self) -> None:
        """Print the configuration with its comments."""
        put("\n".join(self.shown))

    def _create_run(
        self,
        command_name: Any = None,
        config_updates: Any = None,
        named_configs: Any = (),
        info: Any = None,
        meta_info: Any = None,
        options: Any = None,
    ) -> Run:
        given = dict(options or {})
        # Sacred would print the configuration before the credentials are out of it.
        shows = given.pop(SHOW, False)
        run: Run = super()._create_run(command_name, config_updates, named_configs, info, meta_info, given)  # type: ignore[no-untyped-call]
        run.meta_info["options"][SHOW] = shows
        self.begun += (run,)
        for attribute in ("config", "meta_info", "experiment_info", "host_info"):
            setattr(run, attribute, redacted(getattr(run, attribute)))
        if shows:
            self.print_config()
            put("-" * 79)
        return run
