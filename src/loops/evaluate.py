"""Evaluation that can be compared: exactly `test_nepisode` fixed episodes, one return, one normalised score."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch as th
from sacred.run import Run

from components.scheme import extend_scheme
from controllers.basic_controller import BasicMAC
from datasets.loading import environment_mismatch, load_dataset
from loops.build import build_mac, build_runner, build_schemes
from utils.checkpoint import find_checkpoint, load_or_refuse
from utils.errors import ConfigError, DatasetError
from utils.files import check_writable
from utils.logging import Logger

LAST = 10  # how many of the newest evaluations the averaged score spans


@dataclass(frozen=True)
class Reference:
    """Returns that mean a normalised score of 0 and of 100, from the dataset's card."""

    random: float
    expert: float
    source: str

    def score(self, value: float) -> float:
        """100 (S - S_random) / (S_expert - S_random)."""
        return 100.0 * (value - self.random) / (self.expert - self.random)


def reference_of(found: dict[str, Any] | None) -> Reference | None:
    """A card's `reference` entry, None where the environment has none."""
    return Reference(found["random"], found["expert"], found["source"]) if found else None


class Evaluator:
    """Plays and logs evaluations; the headline key is `test_return_mean`, as in stock."""

    def __init__(self, runner: Any, args: SimpleNamespace, logger: Logger, reference: Reference | None) -> None:
        self.runner, self.args, self.logger, self.reference = runner, args, logger, reference
        self.key = "test_return_mean" if args.common_reward else "test_total_return_mean"

    def evaluate(self, t: int) -> float:
        """One evaluation, dated `t`; returns the mean return over its episodes, as the card defines returns."""
        self.runner.t_env = t
        # A stock runner would otherwise log in the middle of an evaluation where no training rollout resets this.
        logged_training, self.runner.log_train_stats_t = self.runner.log_train_stats_t, t
        logged = len(self.logger.stats[self.key])
        # Selectors draw from torch's global stream: here from one of its own, the same in every evaluation.
        devices = [th.cuda.current_device()] if self.args.device == "cuda" else []
        with th.random.fork_rng(devices):
            th.manual_seed(self.args.evaluation_seed)
            for _ in range(-(-self.args.test_nepisode // self.runner.batch_size)):
                self.runner.run(test_mode=True)
        self.runner.log_train_stats_t = logged_training
        if len(self.logger.stats[self.key]) != logged + 1:
            raise ConfigError(
                f"test_nepisode={self.args.test_nepisode} is no multiple of what the runner plays at once "
                f"({self.runner.batch_size}); change one of them"
            )
        value = self.mean_over_agents(self.logger.stats[self.key][-1][1])
        if self.reference is not None:
            self.logger.log_stat("test_normalised_score", self.reference.score(value), t)
        return value

    def mean_over_agents(self, value: float) -> float:
        """A logged return as the mean over agents, which the references and cards speak of."""
        summed = not self.args.common_reward or self.args.reward_scalarisation == "sum"
        return value / self.args.n_agents if summed else value

    def describe(self, value: float) -> str:
        """A return for people: with its normalised score where there is one."""
        score = "" if self.reference is None else f" (normalised score {self.reference.score(value):.1f})"
        return f"return {value:.2f}{score}"

    def summary(self) -> dict[str, float]:
        """Final, best and mean-of-last-ten return and score over the evaluations so far; empty without any."""
        returns = [self.mean_over_agents(value) for _, value in self.logger.stats[self.key]]
        if not returns:
            return {}
        tail = returns[-LAST:]
        figures = {"final": returns[-1], "best": max(returns), "last10": sum(tail) / len(tail)}
        result = {f"{name}_return": value for name, value in figures.items()}
        if self.reference is not None:
            result |= {f"{name}_normalised_score": self.reference.score(value) for name, value in figures.items()}
        return result


def load_policy(mac: BasicMAC, directory: Path) -> None:
    """Load a controller's weights. Raises CheckpointError where they are missing, damaged or of other networks."""
    load_or_refuse(lambda: mac.load_models(str(directory)), directory)


def dataset_reference(args: SimpleNamespace, log: logging.Logger) -> Reference | None:
    """The references of the configured dataset, where it is of the configured environment; else None, and why."""
    if args.dataset is None:
        return None
    try:
        card = load_dataset(args).card
    except DatasetError as error:
        log.warning(f"No normalised score: {error}")
        return None
    different = environment_mismatch(args, card)
    if different:
        log.warning(f"No normalised score: {args.dataset} is of another environment ({different})")
        return None
    return reference_of(card["reference"])


def run(args: SimpleNamespace, logger: Logger, sacred_run: Run) -> dict[str, float]:
    """Play one evaluation of the policy in `checkpoint_path`; with `render`, draw one episode to a GIF as well."""
    if not args.checkpoint_path:
        raise ConfigError("evaluate=True needs checkpoint_path=..., the directory that a training run printed")
    if args.env is None:
        raise ConfigError("evaluate=True plays in an environment, and env is None; give the one the policy is for")
    directory = find_checkpoint(args.checkpoint_path, args.load_step)
    log = logger.console_logger
    if args.render:
        check_writable(Path(replay_path(args)).parent, "env_args.replay_path")
    artist = drawing_runner(args, log, directory) if args.render else None  # first: not every environment has pictures
    runner = policy_runner(args, logger, directory)
    evaluator = Evaluator(runner, args, logger, dataset_reference(args, log))
    value = evaluator.evaluate(int(directory.name))
    deviation = logger.stats[evaluator.key.replace("_mean", "_std")][-1][1]
    log.info(
        f"{directory}: {evaluator.describe(value)} over {args.test_nepisode} episodes, "
        f"standard deviation {evaluator.mean_over_agents(deviation):.2f}"
    )
    if artist is not None:
        draw_episode(artist, log)
    runner.close_env()  # last: some simulators' closing takes away what others draw with
    return evaluator.summary()


def policy_runner(args: SimpleNamespace, logger: Logger, directory: Path | None) -> Any:
    """A runner with the configured controller, weights from `directory` (None: as initialised)."""
    runner = build_runner(args, logger)
    scheme, groups, preprocess = build_schemes(runner.get_env_info(), args)
    mac = build_mac(extend_scheme(scheme, preprocess), groups, args)
    if directory is not None:
        load_policy(mac, directory)
    if args.device == "cuda":
        mac.cuda()
    runner.setup(scheme, groups, preprocess, mac)
    return runner


def replay_path(args: SimpleNamespace) -> str:
    """Where a drawn episode goes."""
    return args.env_args.get("replay_path") or str(args.results / "replays" / f"{args.unique_token}.gif")


def drawing_runner(args: SimpleNamespace, log: logging.Logger, directory: Path) -> Any:
    """A runner whose environment keeps pictures; what it logs goes nowhere. Raises EnvError where there are none."""
    own = {"env_args": {**args.env_args, "render_mode": "rgb_array", "replay_path": replay_path(args)}}
    drawn = SimpleNamespace(**{**vars(args), **own, "runner": "episode", "batch_size_run": 1, "test_nepisode": 1})
    return policy_runner(drawn, Logger(log), directory)


def draw_episode(runner: Any, log: logging.Logger) -> None:
    """Draw the evaluation's first episode to a GIF; its return is not logged a second time."""
    runner.run(test_mode=True)
    runner.save_replay()
    runner.close_env()
    log.info(f"Replay: {runner.args.env_args['replay_path']}")
