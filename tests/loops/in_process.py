"""Runs' parts built in this process, without the command line, and runs' folders made from them."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch as th

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


def first_of(step: Path) -> dict[str, Any]:
    """What a checkpoint holds, file by file."""
    return {file.name: th.load(file, weights_only=True) for file in sorted(step.glob("*.th"))}


def same(left: Any, right: Any, where: str = "") -> None:
    """Alike in every part; tensors up to rounding, random streams exactly."""
    if isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            same(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), where
        for one, other in zip(left, right, strict=True):
            same(one, other, where)
    elif isinstance(left, th.Tensor):
        exact = not left.is_floating_point()
        assert left.untyped_storage().nbytes() == right.untyped_storage().nbytes(), where
        assert th.equal(left, right) if exact else th.allclose(left, right, rtol=1e-5, atol=1e-5), where
    elif isinstance(left, float):
        assert left == pytest.approx(right, rel=1e-3, abs=1e-4), where
    else:
        assert left == right, where
