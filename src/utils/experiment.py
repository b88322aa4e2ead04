"""Sacred's experiment, whose records hold no credentials and all that was printed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from sacred import Experiment, stdout_capturing
from sacred.run import Run

from utils.printing import put
from utils.redact import redacted

SHOW = "--print-config"


class WholeOutput(stdout_capturing.CapturedStdout):
    """What a run printed, to its last line.

    Output reaches Sacred through another process. Sacred asks for it a last time before that process has ended, and of
    a run that failed not at all after the last heartbeat.
    """

    def __init__(self, buffer: Any) -> None:
        super().__init__(buffer)  # type: ignore[no-untyped-call]
        self._lock = threading.RLock()  # the heartbeat's thread reads too

    @property
    def closed(self) -> bool:
        """Whether there is no more to get: Sacred's own says so while the end has not been fetched."""
        return self.final is None and bool(self.buffer.closed)

    def get(self) -> Any:
        """What was printed since the last call."""
        with self._lock:
            return super().get()  # type: ignore[no-untyped-call]

    def finalize(self) -> None:
        """Read the end, before the file is closed."""
        with self._lock:
            super().finalize()  # type: ignore[no-untyped-call]


stdout_capturing.CapturedStdout = WholeOutput  # type: ignore[misc]


def one_at_a_time(function: Callable[[], None]) -> Callable[[], None]:
    """The function, which no thread enters while another is in it."""
    lock = threading.Lock()

    def guarded() -> None:
        with lock:
            function()

    return guarded


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
        run._get_captured_output = one_at_a_time(run._get_captured_output)  # type: ignore[method-assign]
        self.begun += (run,)
        for attribute in ("config", "meta_info", "experiment_info", "host_info"):
            setattr(run, attribute, redacted(getattr(run, attribute)))
        if shows:
            self.print_config()
            put("-" * 79)
        return run
