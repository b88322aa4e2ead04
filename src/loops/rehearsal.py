"""A run built once on a small scale before it exists: what cannot be built takes no number and leaves no record.

The run itself makes every check again, with its data and on its device. Seeds are set by the run after this.
"""

from __future__ import annotations

import logging
from typing import Any

from components.scheme import build_scheme, extend_scheme
from datasets.loading import ADVICE, check_environment, check_named, environment_mismatch
from datasets.names import resolve_dataset
from datasets.outline import Outline, read_outline
from envs import REGISTRY as env_REGISTRY
from learners import REGISTRY as learner_REGISTRY
from loops.build import build_learning, check_learner, check_normalisers, make_env
from loops.checks import check_run
from loops.controller import build_mac
from loops.described import fixed_policy
from loops.needs import check_online, check_play, checked_networks
from loops.resolve import resolve, run_settings
from loops.validation import held_out
from runners import REGISTRY as runner_REGISTRY
from utils.checkpoint import find_checkpoint
from utils.config import Config, choose, merge
from utils.errors import DatasetError, UserError
from utils.logging import Logger, check_tensorboard
from utils.settings import Settings
from utils.weights_biases import check_wandb

SEED = 0  # of runs that have none yet
SILENT = logging.getLogger("rehearsal")
SILENT.propagate = False
SILENT.addHandler(logging.NullHandler())


def rehearse(config: Config) -> None:
    """Build the run of a configuration, with one environment and without rows of data, and drop it.

    Raises the UserError with which the run would be refused. A fault of the program or of a simulator is left to the
    run, whose record keeps its traceback.
    """
    try:
        attempt(config)
    except UserError:
        raise
    except Exception:
        return


def attempt(config: Config) -> None:
    """Build the run as `rehearse` does. Raises whatever building raises."""
    seed = config.get("seed", SEED)
    settings = run_settings(merge(config, {"seed": seed, "use_cuda": False, "env_args": {"seed": seed}}), SILENT)
    check_run(settings)
    if settings.use_tensorboard:
        check_tensorboard()
    if settings.use_wandb:
        check_wandb()
    if settings.load_weights:
        find_checkpoint(settings.load_weights, settings.load_step, key="load_weights")
    choose(runner_REGISTRY, "runner", settings.runner)
    if settings.learner is not None:
        choose(learner_REGISTRY, "learner", settings.learner)
    if settings.env is not None:
        choose(env_REGISTRY, "env", settings.env)
    if settings.collect or settings.evaluate:
        _rehearse_playing(settings)
    elif settings.offline:
        _rehearse_offline(settings)
    else:
        _rehearse_online(settings)


def _rehearse_playing(settings: Settings) -> None:
    if settings.checkpoint_path:
        find_checkpoint(settings.checkpoint_path, settings.load_step)
    env_info = _env_info(settings)
    args = resolve(settings, env_info)
    scheme, groups, preprocess = build_scheme(env_info, args)
    check_play(args, env_info, extend_scheme(scheme, preprocess), groups)
    with checked_networks(args, None):
        build_mac(extend_scheme(scheme, preprocess), groups, args)


def _rehearse_offline(settings: Settings) -> None:
    check_named(settings)
    outline = read_outline(resolve_dataset(settings.dataset))
    env_info = outline.env_info()
    held_out(outline.n_episodes, settings.validation_share)
    learner = check_learner(settings, env_info)
    if settings.env is not None:
        _check_environment(settings, outline, _env_info(settings))
    args, policy = resolve(settings, env_info), None
    if getattr(learner, "FIXED_POLICY", False):
        args, policy = fixed_policy(args, env_info)
    mac = _learn(args, env_info, learner, policy)
    if policy is None and args.input_norm == "dataset":
        check_normalisers(mac, args)


def _rehearse_online(settings: Settings) -> None:
    env_info = _env_info(settings)
    learner = check_learner(settings, env_info)
    args = resolve(settings, env_info)
    check_online(args, env_info, *build_scheme(env_info, args))
    _learn(args, env_info, learner, None)


def _learn(args: Settings, env_info: dict[str, Any], learner: Any, policy: Any) -> Any:
    """The controller, after controller and learner were built."""
    scheme, groups, preprocess = build_scheme(env_info, args)
    mac, _ = build_learning(learner, extend_scheme(scheme, preprocess), groups, Logger(SILENT), args, policy=policy)
    return mac


def _env_info(settings: Settings) -> dict[str, Any]:
    """What one environment of the run says of itself."""
    env = make_env(settings if settings.runner == "episode" else settings.extended(batch_size_run=1))
    try:
        info: dict[str, Any] = env.get_env_info()
        return info
    finally:
        env.close()


def _check_environment(settings: Settings, outline: Outline, env_info: dict[str, Any]) -> None:
    """Raise DatasetError where the environment is not the dataset's; bounds of padded actions are left to the run."""
    if not outline.has_masks:
        check_environment(settings, outline, env_info)
        return
    different = environment_mismatch(settings, outline.card)
    if different:
        raise DatasetError(f"dataset {settings.dataset} was made in another environment ({different}); {ADVICE}")
