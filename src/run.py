"""One run's life: from a configuration to a loop, closed cleanly (never by `os._exit`, which would lose the record)."""

from __future__ import annotations

import datetime
import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch as th
from sacred.run import Run

from loops import collect, evaluate, offline, online
from utils.config import Config
from utils.logging import Logger

ROOT = Path(__file__).resolve().parents[1]


def run(_run: Run, _config: Config, _log: logging.Logger) -> dict[str, float]:
    """Collect, evaluate or train as the configuration says; returns the headline figures."""
    args = sanity_check(SimpleNamespace(**_config), _log)
    th.set_float32_matmul_precision(args.matmul_precision)
    logger = Logger(_log)
    # A path in the Sacred configuration would tell apart the seeds that a plot averages: it lives on `args` only.
    stamp = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    environment = args.env_args.get("map_name", args.env_args.get("key", args.env))
    safe = re.sub(r"[^\w.+-]", "-", str(environment))  # some keys hold a colon, which not every file system takes
    args.unique_token = f"{args.name}_seed{args.seed}_{safe}_{stamp}"
    args.results = ROOT / Path(args.local_results_path).expanduser()
    if args.use_tensorboard:
        logger.setup_tb(str(args.results / "tb_logs" / args.unique_token))
    logger.setup_sacred(_run)
    try:
        return loop_of(args)(args, logger, _run)
    finally:
        logger.finish()


def loop_of(args: SimpleNamespace) -> Any:
    """The loop a configuration asks for."""
    if args.collect:
        return collect.run
    if args.evaluate:
        return evaluate.run
    return offline.run if args.offline else online.run


def sanity_check(args: SimpleNamespace, log: logging.Logger) -> SimpleNamespace:
    """Derive `device`: CUDA where it is wanted and here."""
    if args.use_cuda and not th.cuda.is_available():
        args.use_cuda = False
        log.info("use_cuda=True, but no CUDA device is here: running on the CPU")
    args.device = "cuda" if args.use_cuda else "cpu"
    return args
