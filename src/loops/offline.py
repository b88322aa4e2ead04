"""Training from a dataset: the offline buffer feeds the learner; the runner only evaluates."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sacred.run import Run

from components.offline_buffer import OfflineBuffer
from datasets.dataset import OfflineDataset
from datasets.loading import build_buffer, check_environment, data_statistics, load_dataset
from learners.base_learner import BaseLearner
from loops.build import build_learner, build_mac, build_runner, build_schemes, check_learner, check_recurrence
from loops.evaluate import Evaluator, reference_of
from loops.training import Training
from utils.logging import Logger


def run(args: SimpleNamespace, logger: Logger, sacred_run: Run) -> dict[str, float]:
    """Train `t_max` updates from `dataset`; returns final, best and mean-of-last-ten figures."""
    return OfflineTraining(args, logger).run(sacred_run)


class OfflineTraining(Training):
    """The pieces of one offline run. `t` counts `learner.train` calls."""

    def __init__(self, args: SimpleNamespace, logger: Logger) -> None:
        super().__init__(args, logger)
        self.dataset: OfflineDataset = load_dataset(args)
        env_info = self.dataset.env_info()
        learner_class = check_learner(args, env_info)
        self.runner = None
        if args.env is not None:
            self.runner = build_runner(args, logger)
            check_environment(args, self.dataset, self.runner.get_env_info())
        scheme, groups, preprocess = build_schemes(env_info, args)
        extras = getattr(learner_class, "EXTRAS", ())  # stock's learners have none
        self.buffer: OfflineBuffer = build_buffer(args, self.dataset, scheme, groups, preprocess, self.log, extras)
        mac = build_mac(self.buffer.scheme, groups, args)
        check_recurrence(mac, args)
        self.learner = build_learner(learner_class, mac, self.buffer.scheme, logger, args)
        if isinstance(self.learner, BaseLearner) or args.input_norm == "dataset":  # stock's learners need none
            self.learner.use_statistics(data_statistics(self.dataset, self.buffer, args.gamma))
        if args.device == "cuda":
            self.learner.cuda()
        self.evaluator = None
        if self.runner is not None:
            self.runner.setup(scheme, groups, preprocess, mac)
            reference = reference_of(self.dataset.card["reference"])
            self.evaluator = Evaluator(self.runner, args, logger, reference)
        self._describe_dataset()

    def _describe_dataset(self) -> None:
        returns = self.dataset.card["returns"]
        value = self.evaluator.describe(returns["mean"]) if self.evaluator else f"return {returns['mean']:.2f}"
        self.log.info(
            f"Dataset {self.args.dataset}: {self.dataset.n_transitions} transitions in {self.dataset.n_episodes} "
            f"episodes, {value}, standard deviation {returns['std']:.2f}"
        )

    def advance(self) -> None:
        """One update from a fresh batch."""
        batch = self.to_device(self.buffer.sample(self.args.batch_size))
        self.t += 1
        self.learner.train(batch, self.t, self.t)

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"dataset_checksum": self.dataset.card["checksum"]}

    def buffer_state(self) -> dict[str, Any]:
        return self.buffer.state_dict()

    def load_buffer_state(self, state: dict[str, Any]) -> None:
        self.buffer.load_state_dict(state, self.t)

    def levels(self) -> dict[str, float]:
        return {"dataset": self.dataset.card["returns"]["mean"]}

    def title(self) -> str:
        return f"{self.args.name} on {self.args.dataset}"
