"""One run's life: from a configuration to a loop, closed cleanly (never by `os._exit`, which would lose the record)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from types import SimpleNamespace

import torch as th
from sacred.run import Run

from loops import collect, evaluate, offline, online, tracking
from loops.build import Parts, build
from loops.resolve import run_settings
from utils.config import Config
from utils.logging import Logger
from utils.weights_biases import WeightsAndBiases

Loop = Callable[[Parts, Logger, Run], dict[str, float]]


def run(_run: Run, _config: Config, _log: logging.Logger) -> dict[str, float]:
    """Collect, evaluate or train as the configuration says; returns the headline figures."""
    # What is derived stays out of the Sacred configuration, where it would tell apart the seeds that a plot averages.
    settings = run_settings(_config, _log)
    th.set_float32_matmul_precision(settings.matmul_precision)
    logger = Logger(_log)
    if settings.use_tensorboard:
        logger.setup_tb(str(settings.results / "tb_logs" / settings.unique_token))
    if settings.use_wandb:
        config = {key: value for key, value in _run.config.items() if key != "mongo"}  # it may hold a password
        record = WeightsAndBiases(settings, config, tracking.run_name(_config))
        logger.setup_wandb(record)
        _log.info(f"Weights & Biases ({settings.wandb_mode}): {os.path.relpath(record.directory)}")
    logger.setup_sacred(_run)
    tracking.label(_run, settings)
    try:
        return loop_of(settings)(build(settings, logger), logger, _run)
    finally:
        logger.finish()


def loop_of(args: SimpleNamespace) -> Loop:
    """The loop a configuration asks for."""
    if args.collect:
        return collect.run
    if args.evaluate:
        return evaluate.run
    return offline.run if args.offline else online.run
