"""A run built once on a small scale before it exists: what cannot be built takes no number and leaves no record.

The dataset is read and checked here, last and only once: the run gets it. Every other check the run makes again, on its
own device. Seeds are set by the run after this.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch as th

from components.scheme import build_scheme, extend_scheme, is_continuous
from datasets.agreement import check_environment, environment_mismatch
from datasets.dataset import OfflineDataset
from datasets.loading import ADVICE, check_named, scaled_reward
from datasets.outline import Outline
from datasets.readings import Readings
from envs import REGISTRY as env_REGISTRY
from learners import REGISTRY as learner_REGISTRY
from learners.base_learner import BaseLearner
from learners.lanes import check_lanes
from loops.build import build_learning, check_learner, check_normalisers, make_env, playing_mac, replay_buffer
from loops.checks import check_places, check_run
from loops.continuation import (
    changes_since,
    check_held_out,
    compared_settings,
    episodes_of,
    identity_of,
    load_learner,
    load_part,
    start_from_weights,
    state_to_continue,
)
from loops.described import fixed_policy
from loops.lanes import check_lengths
from loops.needs import batch_rows, check_batch, check_online
from loops.offline import OfflineTraining
from loops.online import OnlineTraining
from loops.resolve import drawing_settings, resolve, resolved_outputs, run_settings
from loops.simulators import check_same_prey
from loops.validation import check_validates, held_out
from runners import REGISTRY as runner_REGISTRY
from runners.base_runner import team_reward_alone
from utils import signals
from utils.checkpoint import check_checkpoint, find_checkpoint
from utils.config import Config, choose, merge
from utils.errors import CheckpointError, ConfigError, DatasetError, UserError, printable, shown
from utils.logging import Logger, check_tensorboard
from utils.memory import memory_errors
from utils.rng import check_generator, check_rng_state
from utils.settings import Settings
from utils.weights_biases import check_wandb

Check = Callable[[dict[str, Any]], None]
SEED = 0  # of runs that have none yet
SILENT = logging.getLogger("rehearsal")
SILENT.propagate = False
SILENT.addHandler(logging.NullHandler())


def rehearse(config: Config, readings: Readings | None = None) -> OfflineDataset | None:
    """Build the run of a configuration, with one environment, and drop it; returns the dataset that it learns from.

    readings: what was read of datasets before, for other runs.

    Raises the UserError with which the run would be refused. A fault of the program or of a simulator is left to the
    run, whose record keeps its traceback.
    """
    try:
        with signals.StopSignals(), memory_errors("choose a smaller dataset, or set memory_map=True"):
            return attempt(config, readings)
    except UserError:
        raise
    except Exception:
        return None


def resolved_choices(config: Config) -> dict[str, str]:
    """What `agent_output_type` and `action_selector` become in a configuration's run, as its actions need.

    Raises UserError where that depends on a dataset that cannot be read, or on an environment that cannot be built.
    """
    both = [resolved_outputs(config["agent_output_type"], config["action_selector"], kind) for kind in (True, False)]
    if both[0] == both[1]:
        return both[0]
    try:
        with signals.StopSignals():
            settings = _settings(config)
            offline = settings.offline and not settings.collect and not settings.evaluate
            info = Readings().outline(settings.dataset).env_info() if offline else _env_info(settings)
            return both[0] if is_continuous(info) else both[1]
    except UserError:
        raise
    except Exception as error:  # of a simulator, which may raise anything
        raise ConfigError(printable(f"{type(error).__name__}: {error}")) from error


def check_folders(config: Config) -> None:
    """Test the folders that the run of a configuration writes to, which makes them: the last check before it exists.

    Raises ConfigError where one cannot be written to.
    """
    check_places(_settings(config))


def _settings(config: Config) -> Settings:
    seed = config.get("seed", SEED)
    return run_settings(merge(config, {"seed": seed, "use_cuda": False, "env_args": {"seed": seed}}), SILENT)


def attempt(config: Config, readings: Readings | None = None) -> OfflineDataset | None:
    """Build the run as `rehearse` does. Raises whatever building raises."""
    settings = _settings(config)
    check_run(settings)
    if settings.seeds is not None and "seed" in config:
        raise ConfigError(f"seeds={shown(settings.seeds)} and seed={config['seed']}: give one of the two")
    if settings.use_tensorboard:
        check_tensorboard()
    if settings.use_wandb:
        check_wandb(settings.wandb_project)
    choose(runner_REGISTRY, "runner", settings.runner)
    if settings.learner is not None:
        choose(learner_REGISTRY, "learner", settings.learner)
    if settings.env is not None:
        choose(env_REGISTRY, "env", settings.env)
    if settings.collect or settings.evaluate:
        _rehearse_playing(settings)
        return None
    if settings.offline:
        return _rehearse_offline(settings, readings or Readings())
    _rehearse_online(settings)
    return None


def _rehearse_playing(settings: Settings) -> None:
    weights = find_checkpoint(settings.checkpoint_path, settings.load_step) if settings.checkpoint_path else None
    if settings.render:
        _env_info(drawing_settings(settings))  # not every environment has pictures
    env_info = _env_info(settings)
    if weights is not None:
        check_checkpoint(weights, warn=False)
    playing_mac(resolve(settings, env_info), env_info, weights)


def check_offline(config: Config) -> None:
    """Build a run that learns from a dataset, as `attempt` does, but without reading the dataset's rows.

    Raises whatever building raises.
    """
    settings = _settings(config)
    check_run(settings)
    choose(learner_REGISTRY, "learner", settings.learner)
    _build_offline(settings, Readings())


def _rehearse_offline(settings: Settings, readings: Readings) -> OfflineDataset:
    args, there = _build_offline(settings, readings)
    dataset = readings.rows(settings)
    if settings.seeds is not None:
        check_lengths(settings, dataset)
    if there is not None:
        check_environment(settings, dataset, there)
    if settings.reward_scaling == "standardise":
        scaled_reward(args, dataset, SILENT)
    return dataset


def _build_offline(settings: Settings, readings: Readings) -> tuple[Settings, dict[str, Any] | None]:
    """Settings of the run and what its environment says of itself, None where there is none; the dataset unread."""
    check_named(settings)
    outline = readings.outline(settings.dataset)
    env_info = outline.env_info()
    held = held_out(outline.n_episodes, settings.validation_share)
    learner_class = check_learner(settings, env_info)
    there = None if settings.env is None else _env_info(settings)
    if there is not None:
        _check_environment(settings, outline, there)
    args, policy = resolve(settings, env_info), None
    if getattr(learner_class, "FIXED_POLICY", False):
        args, policy = fixed_policy(args, env_info)
    scheme, groups, preprocess = build_scheme(env_info, args)
    check_batch(args, batch_rows(args, outline.max_length), extend_scheme(scheme, preprocess), groups)
    mac, learner = _learning(args, env_info, learner_class, policy)
    if policy is None and args.input_norm == "dataset":
        check_normalisers(mac, args)
    if settings.seeds is not None:
        check_lanes(learner)
    if held:
        check_validates(learner, args)

    def check_buffer(state: dict[str, Any]) -> None:
        check_held_out(state, held)
        check_generator(state["generator"])

    _start(learner, args, env_info, outline.card["checksum"], OfflineTraining.unit, check_buffer)
    return args, there


def _rehearse_online(settings: Settings) -> None:
    env_info = _env_info(settings)
    learner_class = check_learner(settings, env_info)
    args = resolve(settings, env_info)
    check_online(args, env_info, *build_scheme(env_info, args))
    _, learner = _learning(args, env_info, learner_class, None)

    def check_buffer(state: dict[str, Any]) -> None:
        episodes_of(state)
        if state["replay"] is not None:
            replay_buffer(args, env_info, "meta").load_state_dict(state["replay"])

    _start(learner, args, env_info, None, OnlineTraining.unit, check_buffer)


def _learning(args: Settings, env_info: dict[str, Any], learner_class: Any, policy: Any) -> tuple[Any, Any]:
    """Controller and learner."""
    scheme, groups, preprocess = build_scheme(env_info, args)
    return build_learning(learner_class, extend_scheme(scheme, preprocess), groups, Logger(SILENT), args, policy=policy)


def _start(
    learner: Any, args: Settings, env_info: dict[str, Any], checksum: str | None, unit: str, check_buffer: Check
) -> None:
    """Load what the run starts from. check_buffer: called with the buffer's part of a state that is continued."""
    continuous = is_continuous(env_info)
    if not args.checkpoint_path:
        if args.load_weights:
            start_from_weights(learner, args, continuous, SILENT)
        return
    directory = find_checkpoint(args.checkpoint_path, args.load_step)
    check_same_prey(directory, env_info)
    identity = identity_of(args, checksum)
    state = state_to_continue(directory, identity, args.t_max, unit, continuous, rehearsed=True)
    changed = changes_since(state, type(learner), compared_settings(args))
    try:
        _check_state(learner, directory, state)
        load_part(directory, "buffer", lambda: check_buffer(state["buffer"]))
    except CheckpointError as error:
        raise CheckpointError(f"{error} (changed: {changed})" if changed else str(error)) from error


def _check_state(learner: Any, directory: Path, state: dict[str, Any]) -> None:
    """Load the learner's part of a training state; try its random streams elsewhere, for they may be a GPU's."""
    load_part(directory, "random streams", lambda: check_rng_state(state["rng"]))
    own = state["learner"]
    if isinstance(own, dict) and isinstance(learner, BaseLearner):
        load_part(directory, "learner", lambda: check_generator(state["learner"]["generator"]))
        own = own | {"generator": learner.generator.get_state()}
    load_learner(learner, directory, own)


def _env_info(settings: Settings) -> dict[str, Any]:
    """What one environment of the run says of itself."""
    env = make_env(settings if settings.runner == "episode" else settings.extended(batch_size_run=1))
    try:
        info: dict[str, Any] = env.get_env_info()
        if not settings.common_reward and not settings.collect and _pays_team(env, info):
            raise team_reward_alone(settings)
        return info
    finally:
        env.close()


def _pays_team(env: Any, env_info: dict[str, Any]) -> bool:
    """Whether an environment pays one number for the team, which not every simulator says before it has paid."""
    if getattr(env, "team_reward", False):
        return True
    env.reset()
    available = np.asarray(env.get_avail_actions())  # (N, A), or (1, N, A) of a vectorised one
    actions = available.argmax(axis=-1)
    if is_continuous(env_info):
        low, high = (np.asarray(env_info[key]) for key in ("action_low", "action_high"))
        actions = np.broadcast_to((low + high) / 2, available.shape).astype(np.float32)
    paid = env.step(th.as_tensor(actions))[1]
    return np.ndim(paid) == 0 or getattr(env, "team_reward", False)


def _check_environment(settings: Settings, outline: Outline, env_info: dict[str, Any]) -> None:
    """Raise DatasetError where the environment is not the dataset's; bounds of padded actions are in its rows."""
    if not outline.has_masks:
        check_environment(settings, outline, env_info)
        return
    different = environment_mismatch(settings, outline.card, env_info)
    if different:
        raise DatasetError(f"dataset {settings.dataset} was made in another environment ({different}); {ADVICE}")
