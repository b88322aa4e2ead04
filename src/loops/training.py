"""What training from a dataset and training in an environment share: intervals, checkpoints, continuation, report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sacred.run import Run
from sacred.utils import SacredInterrupt

from components.episode_buffer import EpisodeBatch
from components.scheme import is_continuous
from datasets.card import NOT_COMPARED
from loops.build import Parts
from loops.describe import describe
from loops.evaluator import Evaluator
from loops.resolve import resolved_outputs
from utils.checkpoint import find_checkpoint, load_state, save_checkpoint
from utils.description import write_description
from utils.errors import CheckpointError, TrainingError
from utils.logging import Logger
from utils.old_names import old_names
from utils.plotting import plot_learning_curve
from utils.progress import Progress, StopSignals
from utils.rng import load_rng_state, rng_state

# What a continued run may change without becoming another experiment.
FREE_TO_CHANGE = ("t_max", "checkpoint_path", "load_step", "unique_token", "local_results_path", "device", "use_cuda",
                  "buffer_cpu_only", "memory_map", "compile", "loss_chunk", "mongo", "use_tensorboard", "dataset",
                  "use_wandb", "wandb_mode", "wandb_project", "wandb_team",
                  "save_model_interval", "log_interval", "repeat_id", "label", "hypergroup",
                  "save_replay_buffer")  # fmt: skip

# Statistics that evaluations log.
OF_EVALUATIONS = ("test_", "validation_", "fqe_")


def is_plain(value: Any) -> bool:
    """Whether a setting is a number, a text or null, which checkpoints can hold and compare."""
    return value is None or isinstance(value, int | float | str)


class Training:
    """One training run. `t` is its clock: updates offline, environment steps online.

    A subclass says how the clock advances.
    """

    unit, clock = "update", "training updates"  # what the clock counts, for progress lines and for pictures

    def __init__(self, parts: Parts, logger: Logger) -> None:
        self.parts = parts
        args = self.args = parts.args
        self.logger, self.log = logger, logger.console_logger
        self.runner, self.learner, self.buffer = parts.runner, parts.learner, parts.buffer
        self.evaluator = parts.evaluator  # None: no evaluation
        self.continuous = is_continuous(parts.env_info)
        env_args = {f"env_args.{key}": value for key, value in args.env_args.items() if key not in NOT_COMPARED}
        settings = {key: value for key, value in vars(args).items() if key not in FREE_TO_CHANGE} | env_args
        self.settings = {key: value for key, value in settings.items() if is_plain(value)}
        self.t = 0
        self.directory: Path = args.results / "models" / args.unique_token
        self.last_checkpoint: Path | None = None
        self.evaluated_for_the_end = False  # whether the last evaluation took place only because the run ended there

    # -- what differs ----------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Move the clock by one step of the loop."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must share with the run that continues it."""
        return {"learner_name": self.args.learner, "dataset_checksum": None, "seed": self.args.seed}

    def buffer_state(self) -> dict[str, Any]:
        """The buffer's part of a checkpoint."""
        raise NotImplementedError

    def load_buffer_state(self, state: dict[str, Any]) -> None:
        """Continue with what `buffer_state` returned."""
        raise NotImplementedError

    def levels(self) -> dict[str, float]:
        """Returns to compare the result with, by what they are called."""
        return {}

    # -- the run ---------------------------------------------------------------------------------------------------

    def run(self, sacred_run: Run) -> dict[str, float]:
        """Train to `t_max`; returns final, best and mean-of-last-ten figures."""
        try:
            self.resume()
            if self.args.save_model:
                self._describe(sacred_run)
            with StopSignals() as signals:
                self.loop(signals)
            self.finish()
        finally:
            self.close()
        return self.report(sacred_run)

    def loop(self, signals: StopSignals) -> None:
        """Advance, evaluate, save; on a signal finish the step, save and raise SacredInterrupt."""
        args = self.args
        progress = Progress(self.t, args.t_max, self.log, unit=self.unit)
        try:
            if self.evaluator is not None and not self.evaluator.history:
                self._evaluate(progress)  # t = 0; a continued run has done so
            while self.t < args.t_max and signals.received is None:
                before = self.t
                self._advance()
                progress.advance(self.t)
                ends = self.t >= args.t_max
                if self._passed(before, args.test_interval) or ends:
                    self.evaluated_for_the_end = not self._passed(before, args.test_interval)
                    self._evaluate(progress)
                if self._passed(before, args.log_interval):
                    self.logger.log_stat("episode", self.episode(), self.t)
                    self.logger.print_recent_stats()
                if args.save_model and (self._passed(before, args.save_model_interval) or ends):
                    self.save()  # last, so that it holds everything this step has logged
        finally:
            progress.close()
        if signals.received is not None and self.t < args.t_max:
            self._interrupt(signals.received.name)
        self._check_finite()

    def episode(self) -> int:
        """Stock's episode counter, which offline counts updates."""
        return self.t

    def finish(self) -> None:
        """What is left to do after a run that reached its end."""

    def _passed(self, before: int, interval: int) -> bool:
        return self.t // interval > before // interval

    def _advance(self) -> None:
        try:
            self.advance()
        except TrainingError as error:
            raise self._with_checkpoint(error) from error

    def _with_checkpoint(self, error: TrainingError) -> TrainingError:
        kept = f"the last good checkpoint is {self.last_checkpoint}" if self.last_checkpoint else "no checkpoint yet"
        return TrainingError(f"{error}; {kept}")

    def _check_finite(self) -> None:
        try:
            if hasattr(self.learner, "check_finite"):  # a stock learner has no such watch
                self.learner.check_finite(self.t)
        except TrainingError as error:
            raise self._with_checkpoint(error) from error

    def _evaluate(self, progress: Progress) -> None:
        self._check_finite()  # a diverged policy would fail in the environment, which knows nothing of losses
        if self.evaluator is not None:
            evaluation = self.evaluator.evaluate(self.t)
            evaluation.log(self.logger)
            progress.show_score(self.evaluator.describe(evaluation.return_mean))

    def _interrupt(self, signal_name: str) -> None:
        saved = "nothing was saved"
        if self.args.save_model:
            if self.last_checkpoint != self.directory / str(self.t):  # else the step that ended has saved all there is
                self.save()
            saved = f"continue with checkpoint_path='{self.directory}'"
        raise SacredInterrupt(f"{signal_name} at {self.unit} {self.t} of {self.args.t_max}; {saved}")

    def _describe(self, sacred_run: Run) -> None:
        """Write `run.json` beside the checkpoints; the Sacred run points to it and keeps a copy."""
        path = write_description(self.directory, describe(self.parts, sacred_run))
        sacred_run.info["run_description"] = str(path)
        sacred_run.add_artifact(str(path), name="description.json")  # Sacred has a run.json of its own

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def save(self) -> Path:
        """Checkpoint everything a continuation needs. Raises TrainingError instead of saving a bad state."""
        self._check_finite()
        state = {
            "t": self.t,
            "learner": self.learner.training_state() if hasattr(self.learner, "training_state") else None,
            "buffer": self.buffer_state(),
            "rng": rng_state(),
            "statistics": {key: [list(point) for point in series] for key, series in self.logger.stats.items()},
            "settings": self.settings,
            "evaluated_for_the_end": self.evaluated_for_the_end,
            **self.identity(),
        }
        if self.evaluator is not None:
            state["evaluations"] = [list(point) for point in self.evaluator.history]
        self.last_checkpoint = save_checkpoint(self.directory, self.t, self.learner, state)
        return self.last_checkpoint

    def to_device(self, batch: EpisodeBatch) -> EpisodeBatch:
        """A training batch, moved to where the learner is."""
        if batch.device != self.args.device:
            batch.to(self.args.device)
        return batch

    def resume(self) -> None:
        """Continue from `checkpoint_path` where it is set; the earlier metrics are logged again, as one curve.

        Raises CheckpointError where it is missing, damaged, or of another learner or dataset.
        """
        if not self.args.checkpoint_path:
            return
        directory = find_checkpoint(self.args.checkpoint_path, self.args.load_step)
        state = load_state(directory)
        for key, here in self.identity().items():
            if state[key] != here:
                raise CheckpointError(
                    f"{directory} was saved with {key} {state[key]}, this run has {here}; use the same"
                )
        self._warn_of_changes(old_names(type(self.learner)).stored(state["settings"]))
        if state["t"] >= self.args.t_max:
            raise CheckpointError(
                f"{directory} is at {self.unit} {state['t']} already; raise t_max={self.args.t_max} above it"
            )
        self.t, self.last_checkpoint = state["t"], directory
        self.learner.load_models(str(directory))
        if state["learner"] is not None:
            self.learner.load_training_state(state["learner"])
        try:
            self.load_buffer_state(state["buffer"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{directory}: its buffer does not fit this run: {error}") from error
        load_rng_state(state["rng"])
        state = _without_closing_evaluation(state)
        self.logger.replay(state["statistics"])
        if self.evaluator is not None:
            self.evaluator.resume(state.get("evaluations"), state["statistics"])
        self.log.info(f"Continuing {directory} from {self.unit} {self.t}")

    def _warn_of_changes(self, settings: dict[str, Any]) -> None:
        chosen = {key: settings[key] for key in ("agent_output_type", "action_selector")}
        before = settings | resolved_outputs(**chosen, continuous=self.continuous)  # earlier releases kept `auto`
        changed = [
            f"{key} was {old}, now {self.settings.get(key)}"
            for key, old in before.items()
            if self.settings.get(key) != old
        ]
        if changed:
            self.log.warning(f"Continuing with other settings than the checkpoint's: {'; '.join(changed)}")

    # -- the end ---------------------------------------------------------------------------------------------------

    def report(self, sacred_run: Run) -> dict[str, float]:
        """Print the headline figures beside `levels()`; draw and keep the learning curve."""
        if self.last_checkpoint is not None:
            self.log.info(f"Checkpoint: {os.path.relpath(self.last_checkpoint)}")
        if self.evaluator is None:
            return {}
        summary = self.evaluator.summary()
        for key, value in summary.items():
            self.logger.log_stat(key, value, self.t)
        rows = [("final", summary["final_return"]), ("best", summary["best_return"]),
                ("mean of last 10", summary["last10_return"]), *self.levels().items()]  # fmt: skip
        table = "\n".join(f"  {name:<16} {self.evaluator.describe(value)}" for name, value in rows)
        self.log.info(f"Results over {self.args.test_nepisode} episodes per evaluation\n{table}")
        self._draw(sacred_run, self.evaluator)
        return summary

    def title(self) -> str:
        """What the learning curve is of."""
        return str(self.args.name)

    def _draw(self, sacred_run: Run, evaluator: Evaluator) -> None:
        levels = self.levels()
        if evaluator.reference is not None:
            levels |= {"random": evaluator.reference.random, "expert": evaluator.reference.expert}
        picture = self.args.results / "plots" / f"{self.args.unique_token}.png"
        plot_learning_curve(evaluator.history, picture, self.title(), self.clock, levels)
        sacred_run.add_artifact(str(picture), name="learning_curve.png")
        self.log.info(f"Learning curve: {os.path.relpath(picture)}")

    def close(self) -> None:
        """Release the environments."""
        if self.runner is not None:
            self.runner.close_env()


def _without_closing_evaluation(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's state without an evaluation that took place only because the earlier run ended there."""
    if not state["evaluated_for_the_end"]:
        return state
    kept = dict(state)
    kept["statistics"] = {
        key: [point for point in series if not (key.startswith(OF_EVALUATIONS) and point[0] == state["t"])]
        for key, series in state["statistics"].items()
    }
    if "evaluations" in state:
        kept["evaluations"] = [point for point in state["evaluations"] if point[0] != state["t"]]
    return kept
