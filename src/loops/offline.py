"""Training from a dataset: the offline buffer feeds the learner; the runner only evaluates."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sacred.run import Run
from sacred.utils import SacredInterrupt

from components.offline_buffer import OfflineBuffer
from datasets.dataset import OfflineDataset
from loops.build import build_mac, build_runner, build_schemes, check_learner
from loops.data import build_buffer, check_environment, load_dataset
from loops.evaluate import Evaluator, reference_of
from utils.checkpoint import find_checkpoint, load_state, save_checkpoint
from utils.errors import CheckpointError, ConfigError, TrainingError
from utils.logging import Logger, Statistics
from utils.plotting import plot_learning_curve
from utils.progress import Progress, StopSignals
from utils.rng import load_rng_state, rng_state

# What a continued run may change without becoming another experiment.
FREE_TO_CHANGE = ("t_max", "checkpoint_path", "load_step", "unique_token", "local_results_path", "device", "use_cuda",
                  "buffer_cpu_only", "memory_map", "compile", "loss_chunk", "mongo", "use_tensorboard", "dataset",
                  "save_model_interval", "log_interval", "repeat_id", "label", "hypergroup")  # fmt: skip


def is_plain(value: Any) -> bool:
    """Whether a setting is a number, a text or null, which checkpoints can hold and compare."""
    return value is None or isinstance(value, int | float | str)


def run(args: SimpleNamespace, logger: Logger, sacred_run: Run) -> dict[str, float]:
    """Train `t_max` updates from `dataset`; returns final, best and mean-of-last-ten figures."""
    training = OfflineTraining(args, logger)
    try:
        training.resume()
        with StopSignals() as signals:
            training.loop(signals)
    finally:
        training.close()
    return training.report(sacred_run)


class OfflineTraining:
    """The pieces of one offline run and what it does with them. `t` counts `learner.train` calls."""

    def __init__(self, args: SimpleNamespace, logger: Logger) -> None:
        self.args, self.logger, self.log = args, logger, logger.console_logger
        self.settings = {
            key: value for key, value in vars(args).items() if key not in FREE_TO_CHANGE and is_plain(value)
        }
        self.t = 0
        self.dataset: OfflineDataset = load_dataset(args)
        env_info = self.dataset.env_info()
        learner_class = check_learner(args, env_info)
        self.runner: Any = None
        if args.env is not None:
            self.runner = build_runner(args, logger)
            check_environment(args, self.dataset, self.runner.get_env_info())
        scheme, groups, preprocess = build_schemes(env_info, args)
        self.buffer: OfflineBuffer = build_buffer(args, self.dataset, scheme, groups, preprocess, self.log)
        mac = build_mac(self.buffer.scheme, groups, args)
        if args.window is not None and getattr(mac.agent, "is_recurrent", True):
            raise ConfigError(f"agent={args.agent} is recurrent and learns from whole episodes: set window=None")
        self.learner = learner_class(mac, self.buffer.scheme, logger, args)
        if args.device == "cuda":
            self.learner.cuda()
        self.evaluator: Evaluator | None = None
        if self.runner is not None:
            self.runner.setup(scheme, groups, preprocess, mac)
            reference = reference_of(self.dataset.card["reference"])
            self.evaluator = Evaluator(self.runner, args, logger, reference)
        self.directory: Path = args.results / "models" / args.unique_token
        self.last_checkpoint: Path | None = None
        self._describe_dataset()

    def _describe_dataset(self) -> None:
        returns = self.dataset.card["returns"]
        value = self.evaluator.describe(returns["mean"]) if self.evaluator else f"return {returns['mean']:.2f}"
        self.log.info(
            f"Dataset {self.args.dataset}: {self.dataset.n_transitions} transitions in {self.dataset.n_episodes} "
            f"episodes, {value}, standard deviation {returns['std']:.2f}"
        )

    def loop(self, signals: StopSignals) -> None:
        """Update, evaluate, save; on a signal finish the update, save and raise SacredInterrupt."""
        args = self.args
        progress = Progress(self.t, args.t_max, self.log)
        try:
            if self.evaluator is not None and not self.logger.stats[self.evaluator.key]:
                self._evaluate(progress)  # t = 0; a continued run has done so
            while self.t < args.t_max and signals.received is None:
                self._update()
                progress.advance(self.t)
                if self._due(args.test_interval):
                    self._evaluate(progress)
                if self.t % args.log_interval == 0:
                    self.logger.log_stat("episode", self.t, self.t)
                    self.logger.print_recent_stats()
                if args.save_model and self._due(args.save_model_interval):
                    self.save()  # last, so that it holds everything this update has logged
        finally:
            progress.close()
        if signals.received is not None and self.t < args.t_max:
            self._interrupt(signals.received.name)
        self._check_finite()

    def _due(self, interval: int) -> bool:
        return self.t % interval == 0 or self.t == self.args.t_max

    def _update(self) -> None:
        batch = self.buffer.sample(self.args.batch_size)
        if batch.device != self.args.device:
            batch.to(self.args.device)
        self.t += 1
        try:
            self.learner.train(batch, self.t, self.t)
        except TrainingError as error:
            raise self._with_checkpoint(error) from error

    def _with_checkpoint(self, error: TrainingError) -> TrainingError:
        kept = f"the last good checkpoint is {self.last_checkpoint}" if self.last_checkpoint else "no checkpoint yet"
        return TrainingError(f"{error}; {kept}")

    def _check_finite(self) -> None:
        try:
            self.learner.check_finite(self.t)
        except TrainingError as error:
            raise self._with_checkpoint(error) from error

    def _evaluate(self, progress: Progress) -> None:
        self._check_finite()  # a diverged policy would fail in the environment, which knows nothing of losses
        if self.evaluator is not None:
            progress.show_score(self.evaluator.describe(self.evaluator.evaluate(self.t)))

    def _interrupt(self, signal_name: str) -> None:
        saved = f"continue with checkpoint_path='{self.save().parent}'" if self.args.save_model else "nothing was saved"
        raise SacredInterrupt(f"{signal_name} at update {self.t} of {self.args.t_max}; {saved}")

    def save(self) -> Path:
        """Checkpoint everything a bit-exact continuation needs. Raises TrainingError instead of saving a bad state."""
        self._check_finite()
        state = {
            "t": self.t,
            "learner": self.learner.training_state(),
            "buffer": self.buffer.state_dict(),
            "rng": rng_state(),
            "statistics": {key: [list(point) for point in series] for key, series in self.logger.stats.items()},
            "seed": self.args.seed,
            "settings": self.settings,
            "learner_name": self.args.learner,
            "dataset_checksum": self.dataset.card["checksum"],
        }
        self.last_checkpoint = save_checkpoint(self.directory, self.t, self.learner, state)
        return self.last_checkpoint

    def resume(self) -> None:
        """Continue from `checkpoint_path` where it is set; the earlier metrics are logged again, as one curve.

        Raises CheckpointError where it is missing, damaged, or of another learner or dataset.
        """
        if not self.args.checkpoint_path:
            return
        directory = find_checkpoint(self.args.checkpoint_path, self.args.load_step)
        state = load_state(directory, self.args.device)
        fixed = {"learner_name": self.args.learner, "dataset_checksum": self.dataset.card["checksum"]}
        for key, here in (fixed | {"seed": self.args.seed}).items():
            if state[key] != here:
                raise CheckpointError(
                    f"{directory} was saved with {key} {state[key]}, this run has {here}; use the same"
                )
        self._warn_of_changes(state["settings"])
        if state["t"] >= self.args.t_max:
            raise CheckpointError(
                f"{directory} is at update {state['t']} already; raise t_max={self.args.t_max} above it"
            )
        self.learner.load_models(str(directory))
        self.learner.load_training_state(state["learner"])
        self.buffer.load_state_dict(state["buffer"])
        load_rng_state(state["rng"])
        self.logger.replay(self._without_closing_evaluation(state["statistics"], state["t"]))
        self.t, self.last_checkpoint = state["t"], directory
        self.log.info(f"Continuing {directory} from update {self.t}")

    def _warn_of_changes(self, settings: dict[str, Any]) -> None:
        changed = [
            f"{key} was {old}, now {self.settings.get(key)}"
            for key, old in settings.items()
            if self.settings.get(key) != old
        ]
        if changed:
            self.log.warning(f"Continuing with other settings than the checkpoint's: {'; '.join(changed)}")

    def _without_closing_evaluation(self, statistics: Statistics, t: int) -> Statistics:
        """Leave out an evaluation that took place only because the earlier run ended there."""
        if t % self.args.test_interval == 0:
            return statistics
        return {
            key: [point for point in series if not (key.startswith("test_") and point[0] == t)]
            for key, series in statistics.items()
        }

    def report(self, sacred_run: Run) -> dict[str, float]:
        """Print the headline figures beside the dataset's own return; draw and keep the learning curve."""
        if self.last_checkpoint is not None:
            self.log.info(f"Checkpoint: {os.path.relpath(self.last_checkpoint)}")
        if self.evaluator is None:
            return {}
        summary = self.evaluator.summary()
        for key, value in summary.items():
            self.logger.log_stat(key, value, self.t)
        own = self.dataset.card["returns"]["mean"]
        rows = [("final", summary["final_return"]), ("best", summary["best_return"]),
                ("mean of last 10", summary["last10_return"]), ("dataset", own)]  # fmt: skip
        table = "\n".join(f"  {name:<16} {self.evaluator.describe(value)}" for name, value in rows)
        self.log.info(f"Results over {self.args.test_nepisode} episodes an evaluation\n{table}")
        self._draw(sacred_run, own)
        return summary

    def _draw(self, sacred_run: Run, own: float) -> None:
        assert self.evaluator is not None
        levels = {"dataset": own}
        if self.evaluator.reference is not None:
            levels |= {"random": self.evaluator.reference.random, "expert": self.evaluator.reference.expert}
        picture = self.args.results / "plots" / f"{self.args.unique_token}.png"
        series = [(t, self.evaluator.mean_over_agents(value)) for t, value in self.logger.stats[self.evaluator.key]]
        plot_learning_curve(series, picture, f"{self.args.name} on {self.args.dataset}", levels)
        sacred_run.add_artifact(str(picture), name="learning_curve.png")
        self.log.info(f"Learning curve: {os.path.relpath(picture)}")

    def close(self) -> None:
        """Release the evaluation's environment."""
        if self.runner is not None:
            self.runner.close_env()
