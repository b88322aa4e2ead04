"""One run's life: from a configuration to a loop, closed cleanly (never by `os._exit`, which would lose the record)."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from types import SimpleNamespace

import torch as th
from sacred.run import Run
from sacred.utils import SacredInterrupt

from datasets.dataset import OfflineDataset
from loops import collect, evaluate, offline, online, tracking
from loops.build import Parts, build
from loops.describe import declare
from loops.identity import told
from loops.lanes import Together
from loops.resolve import run_settings
from modules.threads import use_threads
from utils import signals
from utils.config import Config
from utils.cores import update_threads
from utils.errors import printable
from utils.logging import Logger
from utils.redact import redacted
from utils.weights_biases import WeightsAndBiases

Loop = Callable[[Parts, Logger, Run], dict[str, float]]


def run(
    _run: Run,
    _config: Config,
    _log: logging.Logger,
    dataset: OfflineDataset | None = None,
    together: Together | None = None,
) -> dict[str, float]:
    """Collect, evaluate or train as the configuration says; returns the headline figures.

    dataset: that of the configuration, where the rehearsal has read it. together: the runs that this one is trained
    with, None for a run alone.
    """
    # What is derived stays out of the Sacred configuration, where it would tell apart the seeds that a plot averages.
    settings = run_settings(_config, _log)
    th.set_float32_matmul_precision(settings.matmul_precision)
    use_threads(update_threads(settings.threads))
    begun = time.process_time()
    logger = Logger(_log if together is None else _log.getChild(f"seed{settings.seed}"))
    if settings.use_tensorboard:
        logger.setup_tb(str(settings.results / "tb_logs" / settings.unique_token))
    if settings.use_wandb:
        record = WeightsAndBiases(settings, redacted(_run.config), tracking.run_name(_config))
        logger.setup_wandb(record)
        _log.info(f"Weights & Biases ({settings.wandb_mode}): {os.path.relpath(record.directory)}")
    logger.setup_sacred(_run)
    tracking.label(_run, settings)
    _run.info["run"] |= told(_config)
    _log.info(f"Seed: {settings.seed}")
    well = False
    try:
        parts = build(settings, logger, dataset, None if together is None else together.rows)
        declare(_run, parts)
        signals.check("before the first step; nothing is lost")
        loop = loop_of(settings) if together is None else together.run
        figures = loop(parts, logger, _run)
        if parts.evaluator is not None:
            parts.evaluator.keep_returns(_run)
        seconds = time.process_time() - begun if together is None else together.seconds()
        _run.info["run"]["cpu_seconds"] = round(seconds, 1)
        well = True
        return figures
    except SacredInterrupt:
        raise
    except Exception as error:
        # A signal to all processes of a group ends a simulator's too, so that the step in progress fails.
        if (received := signals.received()) is None:
            raise
        what = printable(f"{type(error).__name__}: {error}")
        raise signals.Interrupted(
            f"{received.name}, and the step in progress failed ({what}); what the run saved before stays"
        ) from error
    finally:
        logger.finish(well)


def loop_of(args: SimpleNamespace) -> Loop:
    """The loop a configuration asks for."""
    if args.collect:
        return collect.run
    if args.evaluate:
        return evaluate.run
    return offline.run if args.offline else online.run
