"""From a configuration to a run's parts, in one step: settings, runner, controller, buffer, learner, evaluator."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from components.episode_buffer import ReplayBuffer
from components.offline_buffer import OfflineBuffer
from components.scheme import Groups, Scheme, build_scheme, extend_scheme
from components.statistics import DataStatistics
from datasets.agreement import check_environment, environment_mismatch
from datasets.dataset import OfflineDataset
from datasets.loading import build_buffer, data_statistics, load_dataset
from datasets.references import reference_returns, reference_simulator
from envs import REGISTRY as env_REGISTRY
from envs import VECTOR_REGISTRY
from learners import REGISTRY as learner_REGISTRY
from learners.base_learner import BaseLearner
from loops.checks import check_on_policy, check_run
from loops.controller import build_mac, check_recurrence
from loops.described import fixed_policy
from loops.evaluator import Evaluator, Reference, reference_of
from loops.needs import batch_rows, check_batch, check_online, check_optimiser, check_play, checked_networks
from loops.resolve import drawing_settings, resolve
from loops.simulators import warn_of_other_simulator, warn_of_weights
from loops.validation import split
from modules.layers.normaliser import Normaliser, fill_normalisers
from runners import REGISTRY as runner_REGISTRY
from utils.checkpoint import check_checkpoint, find_checkpoint, load_or_refuse
from utils.config import choose
from utils.errors import ConfigError, DatasetError
from utils.logging import Logger
from utils.settings import Settings


@dataclass(frozen=True)
class Parts:
    """What a run is made of; None for what its kind of run does not have.

    args: the resolved settings, which every part reads. dataset: what an offline run learns from. weights: the step
    directory whose policy is evaluated or collected with. artist: a runner whose environment keeps pictures.
    validation: the held-out part of the data. rows: the whole data, of which other runs may make buffers of their own.
    """

    args: Settings
    env_info: dict[str, Any]
    mac: Any
    runner: Any = None
    evaluator: Evaluator | None = None
    learner: Any = None
    buffer: Any = None
    dataset: OfflineDataset | None = None
    weights: Path | None = None
    artist: Any = None
    validation: OfflineBuffer | None = None
    rows: OfflineBuffer | None = None


def build(
    settings: Settings, logger: Logger, dataset: OfflineDataset | None = None, rows: OfflineBuffer | None = None
) -> Parts:
    """Build every part of the run that `settings` describe.

    dataset: what an offline run learns from, where it was read and checked already; None: read it. rows: another run's
    buffer over it, to be shared.
    Raises a UserError for names that are unknown and for parts that do not fit together.
    """
    check_run(settings)
    if settings.collect or settings.evaluate:
        weights = find_checkpoint(settings.checkpoint_path, settings.load_step) if settings.checkpoint_path else None
        if weights is not None:
            check_checkpoint(weights)
        return _build_player(settings, logger, weights)
    if settings.offline:
        return _build_offline(settings, logger, load_dataset(settings) if dataset is None else dataset, rows)
    return _build_online(settings, logger)


def _build_offline(settings: Settings, logger: Logger, dataset: OfflineDataset, rows: OfflineBuffer | None) -> Parts:
    env_info = dataset.env_info()
    learner_class = check_learner(settings, env_info)
    env = None if settings.env is None else make_env(settings)
    if env is not None:
        found = env.get_env_info()
        check_environment(settings, dataset, found)
        warn_of_other_simulator(str(settings.dataset), dataset.card["environment"], found, logger.console_logger)
    args, policy = resolve(settings, env_info), None
    if getattr(learner_class, "FIXED_POLICY", False):
        args, policy = fixed_policy(args, env_info)
    scheme, groups, preprocess = build_scheme(env_info, args)
    extras = getattr(learner_class, "EXTRAS", ())  # stock's learners have none
    check_batch(args, batch_rows(args, dataset.max_length), extend_scheme(scheme, preprocess), groups)
    if rows is None:
        rows = build_buffer(args, dataset, scheme, groups, preprocess, logger.console_logger, extras)
    buffer, held_out = split(rows.with_seed(args.seed), args)
    mac, learner = build_learning(
        learner_class, buffer.scheme, groups, logger, args, data_statistics(dataset, buffer, args.gamma), policy
    )
    runner = evaluator = None
    if env is not None:
        runner = build_runner(args, logger, env)
        # No policy reads a state, and a dataset's need not be the environment's: OMIGA's is all observations.
        played = scheme | {"state": {**scheme["state"], "vshape": found["state_shape"]}}
        runner.setup(played, groups, preprocess, mac)
        evaluator = Evaluator(runner, args, reference_of(dataset.card["reference"]))
    return Parts(args, env_info, mac, runner, evaluator, learner, buffer, dataset, validation=held_out, rows=rows)


def _build_online(settings: Settings, logger: Logger) -> Parts:
    env = make_env(settings)
    env_info: dict[str, Any] = env.get_env_info()
    learner_class = check_learner(settings, env_info)
    args = resolve(settings, env_info)
    scheme, groups, preprocess = build_scheme(env_info, args)
    check_online(args, env_info, scheme, groups, preprocess)
    buffer = replay_buffer(args, env_info, "cpu" if args.buffer_cpu_only else args.device)
    mac, learner = build_learning(learner_class, buffer.scheme, groups, logger, args)
    runner = build_runner(args, logger, env)
    # A run that is recorded as a dataset keeps every agent's reward, beside the one learned from.
    recorded: Scheme = {"agent_rewards": {"vshape": (args.n_agents,)}} if args.replay_to else {}
    runner.setup(scheme | recorded, groups, preprocess, mac)
    there = reference_simulator(args.env, args.env_args)
    warn_of_other_simulator("the table of reference returns", there, env_info, logger.console_logger)
    evaluator = Evaluator(runner, args, reference_of(reference_returns(args.env, args.env_args)))
    return Parts(args, env_info, mac, runner, evaluator, learner=learner, buffer=buffer)


def replay_buffer(args: Settings, env_info: dict[str, Any], device: str) -> ReplayBuffer:
    """The replay buffer of an online run. device: `meta` for one that checks what is loaded and keeps nothing."""
    scheme, groups, preprocess = build_scheme(env_info, args)
    rows = env_info["episode_limit"] + 1
    return ReplayBuffer(scheme, groups, args.buffer_size, rows, preprocess=preprocess, device=device)


def playing_mac(args: Settings, env_info: dict[str, Any], weights: Path | None) -> Any:
    """The controller that plays: of the checkpoint `weights`, which was checked, or as it is initialised.

    Raises MemoryShortage where it or its episodes do not fit, CheckpointError where the weights do not.
    """
    scheme, groups, preprocess = build_scheme(env_info, args)
    full = extend_scheme(scheme, preprocess)
    check_play(args, env_info, full, groups)
    with checked_networks(args, None):
        mac = build_mac(full, groups, args)
    if weights is not None:
        load_or_refuse(lambda: mac.load_models(str(weights)), weights)
    return mac


def _build_player(settings: Settings, logger: Logger, weights: Path | None) -> Parts:
    """Parts that play a policy: that of the checkpoint `weights`, which was checked, or one as it is initialised."""
    log = logger.console_logger
    # The artist comes first, for not every environment has pictures. What it logs goes nowhere.
    artist = _build_player(drawing_settings(settings), Logger(log), weights).runner if settings.render else None
    env = make_env(settings)
    env_info: dict[str, Any] = env.get_env_info()
    args = resolve(settings, env_info)
    scheme, groups, preprocess = build_scheme(env_info, args)
    mac = playing_mac(args, env_info, weights)
    if weights is not None:
        warn_of_weights(weights, env_info, log)
    if args.device == "cuda":
        mac.cuda()
    runner = build_runner(args, logger, env)
    runner.setup(scheme, groups, preprocess, mac)
    evaluator = Evaluator(runner, args, dataset_reference(args, env_info, log)) if args.evaluate else None
    return Parts(args, env_info, mac, runner, evaluator, weights=weights, artist=artist)


# -- environments and runners ------------------------------------------------------------------------------------------


def make_env(settings: Settings) -> Any:
    """The environment that the configured runner steps. Raises ConfigError for an unknown name."""
    runner = choose(runner_REGISTRY, "runner", settings.runner)
    choose(VECTOR_REGISTRY if settings.runner == "vector" else env_REGISTRY, "env", settings.env)
    return runner.make_env(settings)


def build_runner(args: SimpleNamespace, logger: Logger, env: Any) -> Any:
    """The configured runner over `env`, which `make_env` has made."""
    return runner_REGISTRY[args.runner](args, logger, env)


def dataset_reference(args: SimpleNamespace, env_info: dict[str, Any], log: logging.Logger) -> Reference | None:
    """The reference returns of the configured dataset, None and a warning where it is of another environment."""
    if args.dataset is None:
        return None
    try:
        card = load_dataset(args).card
    except DatasetError as error:
        log.warning(f"No normalised score: {error}")
        return None
    different = environment_mismatch(args, card, env_info)
    if different:
        log.warning(f"No normalised score: {args.dataset} is of another environment ({different})")
        return None
    return reference_of(card["reference"])


# -- controller and learner --------------------------------------------------------------------------------------------


def build_learning(
    learner_class: Any,
    scheme: Scheme,
    groups: Groups,
    logger: Any,
    args: SimpleNamespace,
    statistics: DataStatistics | None = None,
    policy: Any = None,
) -> tuple[Any, Any]:
    """Controller and learner, on the run's device.

    statistics: the dataset's, which standardise the networks' inputs where `input_norm` is `dataset`. policy: the
    controller where the learner is for a given one, which keeps the inputs that it was trained with.
    """
    with checked_networks(args, learner_class):
        mac = build_mac(scheme, groups, args) if policy is None else policy
    check_recurrence(mac, args)
    if policy is None and statistics is not None and args.input_norm == "dataset":
        standardise_policies(mac, args, statistics)
    with checked_networks(args, learner_class):
        learner = build_learner(learner_class, mac, scheme, logger, args)
    check_optimiser(args, learner)
    if statistics is not None and isinstance(learner, BaseLearner):
        learner.use_statistics(statistics)
    if args.device == "cuda":
        learner.cuda()
    return mac, learner


def standardise_policies(mac: Any, args: SimpleNamespace, statistics: DataStatistics) -> None:
    """Fill the agents' normalisers, before any learner copies them. Raises ConfigError where agents have none."""
    check_normalisers(mac, args)
    fill_normalisers(mac.agent, statistics.inputs)


def check_normalisers(mac: Any, args: SimpleNamespace) -> None:
    """Raise ConfigError where agents cannot standardise their inputs."""
    if not any(isinstance(layer, Normaliser) for layer in mac.agent.modules()):
        raise ConfigError(f"agent={args.agent} does not standardise its inputs; set input_norm=none")


def build_learner(learner: Any, mac: Any, scheme: Scheme, logger: Logger, args: SimpleNamespace) -> Any:
    """A learner's instance.

    Raises ConfigError where it refuses the configuration by assertion, with its words, and where a package is missing.
    """
    try:
        return learner(mac, scheme, logger, args)
    except ModuleNotFoundError as error:  # stock's PAC learners import theirs here
        raise ConfigError(f"learner={args.learner} needs the package '{error.name}', which is not installed") from error
    except AssertionError as error:  # stock's way: "VDN only supports common reward setting"
        if not str(error):
            raise
        raise ConfigError(f"learner={args.learner} refuses this configuration: {error}") from error


def check_learner(args: SimpleNamespace, env_info: dict[str, Any]) -> Any:
    """The learner's class. Raises ConfigError where it is unknown or cannot handle the action type."""
    if args.learner is None:
        raise ConfigError(
            f"learner=None: a run of {args.name} trains nothing; set learner, or collect=True to gather data"
        )
    learner = choose(learner_REGISTRY, "learner", args.learner)
    if not args.offline and (does := getattr(learner, "NEEDS_DATA", "")):
        raise ConfigError(f"learner={args.learner} {does}: set offline=True and dataset=...")
    if getattr(learner, "ON_POLICY", False):
        check_on_policy(args)
    space = env_info.get("action_space", "discrete")
    able = getattr(learner, "action_types", frozenset({"discrete"}))
    if not able:
        raise ConfigError(
            f"learner={args.learner} declares no action_types; write in its class which it handles, such as "
            'action_types = frozenset({"continuous", "discrete"})'
        )
    if space not in able:
        raise ConfigError(
            f"learner={args.learner} handles {' and '.join(sorted(able))} actions, this environment or dataset has "
            f"{space} ones; choose another --config, or data with {' or '.join(sorted(able))} actions"
        )
    return learner
