"""Sacred's experiment with a name for its records that is known only when the command line has been read."""

from __future__ import annotations

from typing import Any

from sacred import Experiment


class NamedExperiment(Experiment):
    """An experiment whose runs are recorded under `recorded_name`; log lines keep the name it was made with."""

    recorded_name: str | None = None

    def get_experiment_info(self) -> dict[str, Any]:
        """What observers are told of the experiment."""
        found: dict[str, Any] = super().get_experiment_info()
        return found if self.recorded_name is None else found | {"name": self.recorded_name}
