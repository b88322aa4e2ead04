"""Evaluation of a trained policy: one result, and on demand a picture of its first episode."""

from __future__ import annotations

import logging
from typing import Any

from sacred.run import Run

from loops.build import Parts
from loops.describe import point_to
from utils.description import find_description
from utils.logging import Logger
from utils.plotting import drawing


def run(parts: Parts, logger: Logger, sacred_run: Run) -> dict[str, float]:
    """Play one evaluation of the policy in `checkpoint_path`; with `render`, draw one episode to a GIF as well."""
    assert parts.evaluator is not None and parts.weights is not None
    evaluator, log = parts.evaluator, logger.console_logger
    point_to(sacred_run, find_description(parts.weights))
    evaluation = evaluator.evaluate(int(parts.weights.name))
    evaluation.log(logger)
    log.info(
        f"{parts.weights}: {evaluator.describe(evaluation.return_mean)} over {parts.args.test_nepisode} episodes, "
        f"standard deviation {evaluation.return_std:.2f}"
    )
    if parts.artist is not None:
        draw_episode(parts.artist, log)
    parts.runner.close_env()  # last: some simulators' closing takes away what others draw with
    return evaluator.summary()


def draw_episode(runner: Any, log: logging.Logger) -> None:
    """Draw the evaluation's first episode to a GIF; its return is not counted a second time.

    Where that fails, there is a warning: the evaluation is done.
    """
    with drawing("replay", log):
        runner.run(test_mode=True)
        runner.save_replay()
        runner.close_env()
        log.info(f"Replay: {runner.args.env_args['replay_path']}")
