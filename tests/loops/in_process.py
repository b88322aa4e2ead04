"""Runs' parts built in this process, without the command line, and runs' folders made from them."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from loops.build import Parts, build
from loops.describe import describe
from loops.resolve import run_settings
from utils.checkpoint import save_checkpoint
from utils.config import layered_config, merge
from utils.description import write_description
from utils.logging import Logger
from utils.rng import seed_everything
from utils.settings import Settings

LOG = logging.getLogger("in process")
LOG.setLevel(logging.ERROR)
NO_RUN: Any = SimpleNamespace(_id=None, observers=[])  # where Sacred would keep the run


def settings_of(alg: str, env_config: str, results: Path, **updates: Any) -> Settings:
    """What `main.py` hands to `build`."""
    own = {"seed": 0, "use_cuda": False, "local_results_path": str(results), **updates}
    config = merge(layered_config(alg, env_config, own), own)
    seed_everything(config["seed"])
    return run_settings(merge(config, {"env_args": {"seed": config["seed"]}}), LOG)


def parts_of(alg: str, env_config: str, results: Path, **updates: Any) -> Parts:
    return build(settings_of(alg, env_config, results, **updates), Logger(LOG))


def train(parts: Parts, updates: int) -> None:
    for t in range(1, updates + 1):
        parts.learner.train(parts.buffer.sample(parts.args.batch_size), t, t)


def save(parts: Parts, folder: Path, step: int) -> Path:
    """A run's folder: one checkpoint of its models, and its description."""
    save_checkpoint(folder, step, parts.learner, {})
    write_description(folder, describe(parts, NO_RUN))
    return folder
