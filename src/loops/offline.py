"""Training from a dataset: the offline buffer feeds the learner; the runner only evaluates."""

from __future__ import annotations

from typing import Any

from sacred.run import Run

from datasets.dataset import OfflineDataset
from datasets.endings import doubtful_dataset
from loops.build import Parts
from loops.continuation import check_held_out, identity_of
from loops.training import Training
from loops.validation import Validation
from utils.logging import Logger
from utils.progress import Progress

OF_DATA = ("validation_", "fqe_")  # what the data alone tell


def run(parts: Parts, logger: Logger, sacred_run: Run) -> dict[str, float]:
    """Train `t_max` updates from `dataset`; returns final, best and mean-of-last-ten figures."""
    return OfflineTraining(parts, logger).run(sacred_run)


class OfflineTraining(Training):
    """One offline run. `t` counts `learner.train` calls."""

    dataset: OfflineDataset

    def __init__(self, parts: Parts, logger: Logger) -> None:
        super().__init__(parts, logger)
        assert parts.dataset is not None
        self.dataset = parts.dataset
        self.validation = None if parts.validation is None else Validation(parts.learner, parts.validation, self.args)
        self.figures: dict[str, float] = {}  # what the data alone tell, newest
        self._describe_dataset()

    def _describe_dataset(self) -> None:
        returns = self.dataset.card["returns"]
        value = (
            self.evaluator.describe(returns["mean"]) if self.evaluator else f"return per agent {returns['mean']:.2f}"
        )
        self.log.info(
            f"Dataset {self.args.dataset}: {self.dataset.n_transitions} transitions in {self.dataset.n_episodes} "
            f"episodes, {value}, standard deviation {returns['std']:.2f}"
        )
        doubt = doubtful_dataset(self.dataset)
        if doubt is not None:
            self.log.warning(f"Dataset {self.args.dataset}: {doubt}")

    def advance(self) -> None:
        """One update from a fresh batch."""
        batch = self.to_device(self.buffer.sample(self.args.batch_size))
        self.t += 1
        self.learner.train(batch, self.t, self.t)

    def begun(self) -> bool:
        judges = self.validation is not None or hasattr(self.learner, "assess")
        return super().begun() and (not judges or any(key.startswith(OF_DATA) for key in self.logger.stats))

    def _evaluate(self, progress: Progress) -> None:
        """Evaluations in the environment, losses on held-out data, and what the learner can tell from data."""
        super()._evaluate(progress)
        if self.evaluation_due:  # the run that continues this one does all of it
            return
        self.figures = {} if self.validation is None else self.validation.losses()
        if hasattr(self.learner, "assess"):
            self.figures |= self.learner.assess(self.buffer)
        for key, value in self.figures.items():
            self.logger.log_stat(key, value, self.t)
        if self.evaluator is None and self.figures:
            progress.show_score(", ".join(f"{key} {value:.4g}" for key, value in self.figures.items()))

    def report(self, sacred_run: Run) -> dict[str, float]:
        """The headline figures, with those that the data alone tell."""
        summary = super().report(sacred_run)
        if self.figures:
            rows = (f"  {key:<28} {value:.4f}{self._lowest(key)}" for key, value in self.figures.items())
            self.log.info("\n".join(["From the data alone", *rows]))
        return summary | self.figures

    def _lowest(self, key: str) -> str:
        """Where a loss on held-out data was lowest, for people; nothing for other figures."""
        if not key.startswith("validation_"):
            return ""
        value, t = min((value, t) for t, value in self.logger.stats[key])
        return f" (lowest {value:.4f} at {self.unit} {t})"

    def identity(self) -> dict[str, Any]:
        return identity_of(self.args, self.dataset.card["checksum"])

    def buffer_state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.buffer.state_dict()
        return state | {"held_out": held_out(self.parts)}

    def load_buffer_state(self, state: dict[str, Any]) -> None:
        check_held_out(state, held_out(self.parts))
        self.buffer.load_state_dict(state, self.t)

    def levels(self) -> dict[str, float]:
        return {"dataset": self.dataset.card["returns"]["mean"]}

    def title(self) -> str:
        return f"{self.args.name} on {self.args.dataset}"


def held_out(parts: Parts) -> int:
    """Number of held-out episodes; with the seed and the dataset, which a continued run shares, it tells which ones."""
    return 0 if parts.validation is None else len(parts.validation.first_windows())
