"""Several seeds of one offline run in one process: each a run of its own, their updates computed as one.

Each lane is a Sacred run with its own record, checkpoints, evaluations and random streams. The runs begin one inside
another, for Sacred begins and ends a run around its main function: each builds its parts and waits while those after it
do the same. The last one trains all. Then each reports and ends, the last one first.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sacred.run import Run
from sacred.utils import SacredInterrupt

from components.offline_buffer import OfflineBuffer, sample_together
from datasets.dataset import OfflineDataset
from learners.lanes import Lanes
from loops.build import Parts
from loops.offline import OfflineTraining
from utils.errors import ConfigError, TrainingError, UserError, shown
from utils.logging import Logger
from utils.progress import Progress
from utils.rng import load_rng_state, rng_state
from utils.signals import StopSignals


class Together:
    """The runs of `seeds`.

    begin: starts the Sacred run of a seed and returns when it has ended. rows: the data, which the first run reads.
    errors: with what each run ended that did not end well, by seed.
    """

    def __init__(self, seeds: Sequence[int], begin: Callable[[int], None]) -> None:
        self.seeds = list(seeds)
        self.lanes: list[Lane] = []
        self.rows: OfflineBuffer | None = None
        self.errors: dict[int, BaseException] = {}
        self._begin, self._started = begin, time.process_time()
        self._trains = False

    def start(self) -> None:
        """Do all runs. Raises one error for all seeds that did not end well.

        That is an interruption where one of them was interrupted, so that what was saved is told and can be continued;
        else a fault of the program, with what became of the others, where there was one.
        """
        with suppress(Exception, KeyboardInterrupt):
            self.begin()
        errors = list(self.errors.values())
        if not errors:
            return
        if len({str(error) for error in errors}) == 1 and not self._trains:
            raise errors[0]
        text = "; ".join(f"seed {seed}: {error}" for seed, error in sorted(self.errors.items()))
        if any(isinstance(error, KeyboardInterrupt | SacredInterrupt) for error in errors):
            raise SacredInterrupt(text)
        for error in errors:
            if not isinstance(error, UserError):
                error.add_note(text)
                raise error
        raise TrainingError(text)

    def begin(self) -> None:
        """Start the next seed's run, and through it those after it; what it raises is kept in `errors`."""
        seed = self.seeds[len(self.lanes)]
        try:
            self._begin(seed)
        except (Exception, KeyboardInterrupt) as error:  # Sacred has written it into that run's record
            self.errors[seed] = error
            if not self._trains:  # then it is not there, and the others would wait for it
                raise

    def run(self, parts: Parts, logger: Logger, sacred_run: Run) -> dict[str, float]:
        """One lane's whole training, as `offline.run`; the lanes after it have ended when it returns."""
        self.rows = parts.rows
        return Lane(parts, logger, self).run(sacred_run)

    def seconds(self) -> float:
        """One lane's share of the process's time on its core."""
        return (time.process_time() - self._started) / len(self.seeds)

    def join(self, lane: Lane, signals: StopSignals) -> None:
        """Wait for the lanes that are still missing, or train all. Raises what ended this lane early."""
        self.lanes.append(lane)
        lane.streams = rng_state()
        if len(self.lanes) < len(self.seeds):
            self.begin()
        else:
            loop = _Loop(self.lanes, signals)
            self._trains = True
            loop.run()
        load_rng_state(lane.streams)
        if lane.ended is not None:
            raise lane.ended


class Lane(OfflineTraining):
    """One seed's run. streams: the process's random streams as this run has them. ended: what ended it early."""

    streams: dict[str, Any]

    def __init__(self, parts: Parts, logger: Logger, together: Together) -> None:
        super().__init__(parts, logger)
        self.together = together
        self.ended: BaseException | None = None
        self.apart: Callable[[], Any] | None = None  # a context in which the learner is that of a single run

    def loop(self, signals: StopSignals) -> None:
        self.together.join(self, signals)

    def save(self) -> Path:
        if self.apart is None:
            return super().save()
        with self.apart():
            return super().save()

    def due(self) -> bool:
        """Whether the step that ends at `t` evaluates, logs or saves."""
        args = self.args
        intervals = (args.test_interval, args.log_interval, args.save_model_interval)
        return self.t >= args.t_max or any(self.t % interval == 0 for interval in intervals)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A context in which the process's random streams are this run's; an error ends this run and no other."""
        load_rng_state(self.streams)
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:  # Sacred writes it into this run's record
            self.ended = error
            if not isinstance(error, KeyboardInterrupt | SacredInterrupt):
                self.log.error(f"This run ends here: {error}")
        self.streams = rng_state()


class _Loop:
    """The training loop of all lanes, in step."""

    def __init__(self, lanes: list[Lane], signals: StopSignals) -> None:
        self.lanes, self.signals, self.one = list(lanes), signals, lanes[0]
        self.stack = Lanes([lane.learner for lane in lanes])
        self._place()

    def run(self) -> None:
        """Train to `t_max`, to a signal, or until no lane is left."""
        t_max = self.one.args.t_max
        progress = Progress(0, t_max, self.one.log, unit=self.one.unit)
        try:
            for lane in self.lanes:
                with lane.alone():
                    lane.begin(progress)
            self._leave()
            while self.lanes and self.one.t < t_max and self.signals.received is None:
                self._step(progress)
        except BaseException as error:  # of no single lane
            for lane in self.lanes:
                lane.ended = lane.ended or error
            return
        finally:
            progress.close()
        for lane in self.lanes:
            with lane.alone():
                lane.end(self.signals)

    def _step(self, progress: Progress) -> None:
        """One update of every lane, and what is due after it."""
        t = self.one.t + 1
        batch = sample_together([lane.buffer for lane in self.lanes], self.one.args.batch_size)
        self.stack.train(self.one.to_device(batch), t)
        for lane in self.lanes:
            lane.t = t
        progress.advance(t)
        due = self.one.due()
        if not due and not self.stack.has_statistics:
            return
        for index, lane in enumerate(self.lanes):
            with lane.alone():
                lane.checked(functools.partial(self.stack.log, index, t))
                if due:
                    lane.after(t - 1, progress)
        self._leave()

    def _leave(self) -> None:
        """Go on without the lanes that have ended."""
        kept = [index for index, lane in enumerate(self.lanes) if lane.ended is None]
        if len(kept) == len(self.lanes):
            return
        self.lanes = [self.lanes[index] for index in kept]
        if self.lanes:
            self.one = self.lanes[0]
            self.stack.keep(kept)
            self._place()

    def _place(self) -> None:
        for index, lane in enumerate(self.lanes):
            lane.apart = functools.partial(self.stack.apart, index)


def check_lengths(args: SimpleNamespace, dataset: OfflineDataset) -> None:
    """Raise ConfigError where batches of different seeds would have different lengths."""
    lengths = dataset.episode_offsets[1:] - dataset.episode_offsets[:-1]
    if args.window is None and lengths.min() != lengths.max():
        raise ConfigError(
            f"seeds={shown(args.seeds)}: with window=None the batches of different seeds differ in length, as episodes "
            "do here; set window, or train one seed at a time"
        )
