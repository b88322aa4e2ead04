"""What training from a dataset and training in an environment share: intervals, checkpoints, continuation, report."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sacred.run import Run
from sacred.utils import SacredInterrupt

from components.episode_buffer import EpisodeBatch
from components.scheme import is_continuous
from loops import continuation
from loops.build import Parts
from loops.describe import describe, point_to
from loops.evaluator import PER_AGENT, Evaluator
from utils.checkpoint import find_checkpoint, save_checkpoint
from utils.description import write_description
from utils.errors import OutputError, TrainingError, UserError
from utils.files import output_error
from utils.logging import Logger
from utils.plotting import drawing, plot_learning_curve
from utils.progress import Progress
from utils.rng import load_rng_state, rng_state
from utils.signals import Interrupted, StopSignals, check


class Training:
    """One training run. `t` is its clock, which a subclass advances: updates offline, environment steps online."""

    # What the clock counts: for progress lines, for pictures, and its name in printed statistics.
    unit, clock, clock_name = "update", "training updates", "update"

    def __init__(self, parts: Parts, logger: Logger) -> None:
        self.parts = parts
        args = self.args = parts.args
        self.logger, self.log = logger, logger.console_logger
        logger.clock = self.clock_name
        self.runner, self.learner, self.buffer = parts.runner, parts.learner, parts.buffer
        self.evaluator = parts.evaluator  # None: no evaluation
        if self.evaluator is not None:
            logger.note = self.evaluator.note()
        self.continuous = is_continuous(parts.env_info)
        self.settings = continuation.compared_settings(args)
        self.changed: list[str] = []  # settings, at each continuation that led here
        self.t = 0
        self.directory: Path = args.results / "models" / args.unique_token
        self.last_checkpoint: Path | None = None
        self.evaluation_due = False  # whether a signal came during the evaluation at `t`
        self.evaluated_for_the_end = False  # whether the last evaluation took place only because the run ended there

    # -- what differs ----------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Move the clock by one step of the loop."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must share with the run that continues it."""
        return continuation.identity_of(self.args, None)

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
            self.start()
            if self.changed:
                sacred_run.info.setdefault("run", {})["changed"] = self.changed
            if self.args.save_model:
                self._describe(sacred_run)
            with StopSignals() as signals:
                self.loop(signals)
                summary = self.report(sacred_run)
                self.finish()
                check("outside the training loop; it saves nothing, what the run saved before stays")
        finally:
            self.close()
        return summary

    def loop(self, signals: StopSignals) -> None:
        """Advance, evaluate, save; on a signal finish the step, save and raise SacredInterrupt."""
        progress = Progress(self.t, self.args.t_max, self.log, unit=self.unit)
        try:
            self.begin(progress)
            while self.t < self.args.t_max and signals.received is None:
                before = self.t
                self._advance()
                progress.advance(self.t)
                self.after(before, progress)
        finally:
            progress.close()
        self.end(signals)

    def begin(self, progress: Progress) -> None:
        """Evaluate at t = 0; a continued run has done so, unless a signal came before its end."""
        if self.evaluation_due or not self.begun():
            self._evaluate(progress)

    def after(self, before: int, progress: Progress) -> None:
        """Evaluate, log and save where it is time after a step of the loop, which began at `before`."""
        args, ends = self.args, self.t >= self.args.t_max
        if self._passed(before, args.test_interval) or ends:
            self.evaluated_for_the_end = not self._passed(before, args.test_interval)
            self._evaluate(progress)
        if self._passed(before, args.log_interval):
            self._log_clock()
            self.logger.print_recent_stats()
        if args.save_model and (self._passed(before, args.save_model_interval) or ends):
            self.save()  # last, so that it holds everything this step has logged

    def end(self, signals: StopSignals) -> None:
        """Save and raise SacredInterrupt where a signal has ended the loop. Raises TrainingError for a bad state."""
        if signals.received is not None and (self.t < self.args.t_max or self.evaluation_due):
            self._interrupt(signals.received.name)
        self._check_finite()

    def begun(self) -> bool:
        """Whether the evaluation before the first step has taken place, here or in the run that this one continues."""
        return self.evaluator is None or bool(self.evaluator.history)

    def _log_clock(self) -> None:
        """Log what is counted beside `t`."""

    def finish(self) -> None:
        """What is left to do after a run that reached its end."""

    def _passed(self, before: int, interval: int) -> bool:
        return self.t // interval > before // interval

    def _advance(self) -> None:
        self.checked(self.advance)

    def checked(self, work: Callable[[], object]) -> None:
        """Do some work of the learner; an error that ends training names the last good checkpoint."""
        try:
            work()
        except TrainingError as error:
            raise self._with_checkpoint(error) from error

    def _with_checkpoint(self, error: UserError) -> UserError:
        kept = f"the last good checkpoint is {self.last_checkpoint}" if self.last_checkpoint else "no checkpoint yet"
        if self.last_checkpoint and not os.path.isdir(self.last_checkpoint):
            kept = f"the last checkpoint, {self.last_checkpoint}, is gone"
        return type(error)(f"{error}; {kept}")

    def _check_finite(self) -> None:
        if hasattr(self.learner, "check_finite"):  # a stock learner has no such watch
            self.checked(lambda: self.learner.check_finite(self.t))

    def _evaluate(self, progress: Progress) -> None:
        self._check_finite()  # a diverged policy would fail in the environment, which knows nothing of losses
        if self.evaluator is None:
            return
        try:
            evaluation = self.evaluator.evaluate(self.t)
        except Interrupted:
            self.evaluation_due = True  # the run that continues this one plays it
            return
        self.evaluation_due = False
        evaluation.log(self.logger)
        progress.show_score(self.evaluator.describe(evaluation.return_mean))

    def _interrupt(self, signal_name: str) -> None:
        saved = "nothing was saved"
        if self.args.save_model:
            if self.last_checkpoint != self.directory / str(self.t):  # else the step that ended has saved all there is
                self.save()
            saved = (
                f"{'continue' if self.t < self.args.t_max else 'evaluate=True'} with checkpoint_path='{self.directory}'"
            )
        raise SacredInterrupt(f"{signal_name} at {self.unit} {self.t} of {self.args.t_max}; {saved}")

    def _describe(self, sacred_run: Run) -> None:
        """Write `run.json` beside the checkpoints; the Sacred run points to it and keeps a copy."""
        try:
            path = write_description(self.directory, describe(self.parts, sacred_run, self.last_checkpoint))
        except OSError as error:
            raise output_error(self.directory, error) from error
        point_to(sacred_run, path)

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def save(self) -> Path:
        """Checkpoint everything a continuation needs.

        Raises TrainingError instead of saving a bad state, OutputError where the disk refuses.
        """
        self._check_finite()
        state = {
            "t": self.t,
            "learner": self.learner.training_state() if hasattr(self.learner, "training_state") else None,
            "buffer": self.buffer_state(),
            "rng": rng_state(),
            "statistics": {key: [list(point) for point in series] for key, series in self.logger.stats.items()},
            "settings": self.settings,
            "changed": self.changed,
            "evaluated_for_the_end": self.evaluated_for_the_end,
            **self.identity(),
        }
        if self.evaluation_due and not self.evaluated_for_the_end:
            state["evaluation_due"] = True
        if self.evaluator is not None:
            state["evaluations"] = [list(point) for point in self.evaluator.history]
        if self.last_checkpoint and not os.path.isdir(self.last_checkpoint):
            self.log.warning(f"{self.last_checkpoint} is gone, removed by something else; saving step {self.t} anew")
        try:
            self.last_checkpoint = save_checkpoint(self.directory, self.t, self.learner, state)
        except OutputError as error:
            raise self._with_checkpoint(error) from error
        return self.last_checkpoint

    def to_device(self, batch: EpisodeBatch) -> EpisodeBatch:
        """A training batch, moved to where the learner is."""
        if batch.device != self.args.device:
            batch.to(self.args.device)
        return batch

    def start(self) -> None:
        """Continue from `checkpoint_path`, else begin a new run from the weights in `load_weights`, where one is set.

        Raises CheckpointError where what it names is missing, damaged, or does not fit this run.
        """
        self.resume()
        if self.args.load_weights and not self.args.checkpoint_path:
            continuation.start_from_weights(self.learner, self.args, self.continuous, self.log)

    def resume(self) -> None:
        """Continue from `checkpoint_path` where it is set; the earlier metrics are logged again, as one curve.

        Raises CheckpointError where it is missing, damaged, or of another learner or dataset.
        """
        if not self.args.checkpoint_path:
            return
        directory = find_checkpoint(self.args.checkpoint_path, self.args.load_step)
        state = continuation.state_to_continue(directory, self.identity(), self.args.t_max, self.unit, self.continuous)
        self.changed = continuation.all_changes(state, type(self.learner), self.settings, self.unit, self.log)
        self.t, self.last_checkpoint = state["t"], directory
        self.evaluation_due = state.get("evaluation_due", False) and self.evaluator is not None
        continuation.load_learner(self.learner, directory, state["learner"])
        continuation.load_part(directory, "buffer", lambda: self.load_buffer_state(state["buffer"]))
        continuation.load_part(directory, "random streams", lambda: load_rng_state(state["rng"]))
        self.logger.replay(state["statistics"])
        if self.evaluator is not None:
            self.evaluator.resume(state.get("evaluations"), state["statistics"])
            if PER_AGENT not in state["statistics"]:  # of earlier releases
                self.logger.replay({PER_AGENT: self.evaluator.history})
        self.log.info(f"Continuing {directory} from {self.unit} {self.t}")

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
                (f"mean of last {self.evaluator.averaged}", summary["last10_return"]),
                *self.levels().items()]  # fmt: skip
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
        with drawing("learning curve", self.log):
            plot_learning_curve(evaluator.history, picture, self.title(), self.clock, levels)
            sacred_run.add_artifact(str(picture), name="learning_curve.png")
            self.log.info(f"Learning curve: {os.path.relpath(picture)}")

    def close(self) -> None:
        """Release the environments."""
        if self.runner is not None:
            self.runner.close_env()
