"""A run.json for a checkpoint that has none, because an earlier release or stock EPyMARL wrote it."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from components.scheme import build_scheme, extend_scheme
from datasets.loading import load_dataset
from datasets.names import dataset_name
from envs.arguments import check_run_arguments
from learners import REGISTRY as learner_REGISTRY
from loops.build import Parts, make_env
from loops.controller import build_mac
from loops.resolve import resolve, run_settings
from utils.checkpoint import STATE_FILE, check_checkpoint, find_checkpoint, load_or_refuse, load_state
from utils.config import Config, layered_config, merge
from utils.description import find_description, write_description
from utils.errors import CheckpointError, ConfigError, OutputError, cause
from utils.old_names import OldNames, old_names
from utils.overrides import as_declared, check_updates, overrides
from utils.settings import Settings
from utils.validation import check_paths, check_values, keys_of


def describe_checkpoint(path: str, alg: str | None, env: str | None, words: list[str], replace: bool = False) -> Path:
    """Write run.json beside a run's step directories, from the configuration that it had; returns its path.

    alg, env: as in --config and --env-config. words: key=value ..., among them the seed. What cannot be
    known any more, commit, source files and versions, is left empty. replace: whether a run.json that is there goes.

    Raises a UserError for a configuration that the checkpoint's files do not fit.
    """
    directory = find_checkpoint(path, 0)
    there = find_description(directory)
    if there is not None and not replace:
        raise CheckpointError(f"{there} describes this run already; add --force to replace it")
    config = _configuration(alg, env, words)
    settings = run_settings(config, logging.getLogger(__name__)).extended(
        device="cpu", use_cuda=config["use_cuda"], unique_token=directory.parent.name
    )
    dataset = load_dataset(settings) if settings.offline else None
    env_info = dataset.env_info() if dataset is not None else _environment(settings)
    args = resolve(settings, env_info)
    scheme, groups, preprocess = build_scheme(env_info, args)
    mac = build_mac(extend_scheme(scheme, preprocess), groups, args)
    check_checkpoint(directory, warn=False)  # who loads it is warned
    load_or_refuse(lambda: mac.load_models(str(directory)), directory)
    _check_state(directory, args, None if dataset is None else dataset.card["checksum"])
    try:
        return write_description(directory.parent, _described(Parts(args, env_info, mac, dataset=dataset)))
    except OSError as error:
        raise OutputError(f"run.json cannot be written to {directory.parent} ({cause(error)}); copy the run") from error


def _described(parts: Parts) -> dict[str, Any]:
    """The description, without what was true of the training alone and is not known."""
    from loops.describe import describe  # it imports Sacred

    description = describe(parts, SimpleNamespace(_id=None, observers=[]))  # type: ignore[arg-type]
    environment = description["environment"]
    return description | {
        "code": {"commit": "unknown", "dirty": None, "sources": {}},
        "versions": {},
        "environment": environment and environment | {"versions": {}},
    }


def _configuration(alg: str | None, env: str | None, words: list[str]) -> Config:
    """The configuration as `main.py` makes it from the same words."""

    def names_of(learner: Any) -> OldNames:
        return old_names(learner_REGISTRY.get(learner) if isinstance(learner, str) else None)

    given = overrides(words)
    config = layered_config(alg, env, given, lambda dataset: dataset_name(dataset) or dataset, names_of)
    updates = as_declared(config, names_of(merge(config, given)["learner"]).today(given, "with"))
    check_updates(config, updates)
    config = merge(config, updates)
    if "seed" not in config:
        raise ConfigError("give the seed of the run that is described, such as: with seed=0")
    learner = learner_REGISTRY.get(config["learner"]) if isinstance(config["learner"], str) else None
    config = check_values(config, keys_of(learner))
    check_run_arguments(config["env_args"], config["seed"])
    check_paths(config)
    return config


def _environment(settings: Settings) -> dict[str, Any]:
    """What the run's environment says of itself."""
    if settings.env is None:
        raise ConfigError("env is None: give the environment that the run learned in")
    env = make_env(settings.extended(runner="episode", batch_size_run=1))
    try:
        return dict(env.get_env_info())
    finally:
        env.close()


def _check_state(directory: Path, args: Settings, checksum: str | None) -> None:
    """Raise CheckpointError where the checkpoint's own record names another learner, dataset or seed."""
    if not (directory / STATE_FILE).is_file():  # stock EPyMARL's hold weights alone
        return
    state = load_state(directory, mapped=True, warn=False)
    for key, here in (("learner_name", args.learner), ("dataset_checksum", checksum), ("seed", args.seed)):
        if state[key] != here:
            raise CheckpointError(f"{directory} was saved with {key} {state[key]}, not {here}; give the run's own")
