"""Checks of a configuration before a run is built; each refusal is one sentence."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from datasets.names import dataset_path
from datasets.output import check_target, clear_datasets
from loops.needs import check_environments
from loops.resolve import drawing_settings
from utils.checkpoint import clear_models
from utils.errors import ConfigError, UserError, shown
from utils.files import check_writable
from utils.keys import Range
from utils.run_keys import RUN_KEYS
from utils.settings import Settings


def check_run(settings: Settings) -> None:
    """Raise ConfigError where a configuration lacks what its kind of run needs, or asks for what has no meaning."""
    if settings.load_step and not settings.checkpoint_path and not settings.load_weights:
        raise ConfigError(
            f"load_step={settings.load_step} chooses a step of checkpoint_path or load_weights: give one, or leave out "
            "load_step"
        )
    if settings.load_weights:
        check_start(settings)
    if settings.seeds is not None:
        check_seeds(settings)
    if settings.env is not None:
        check_environments(settings)
    if settings.collect:
        check_collection(settings)
    elif settings.evaluate:
        check_evaluation(settings)
    elif not settings.offline:
        check_online(settings)


def check_start(settings: Settings) -> None:
    """Raise ConfigError where there is no training run that could start, or have started, from `load_weights`."""
    for mode in ("evaluate", "collect"):
        if getattr(settings, mode):
            raise ConfigError(f"{mode}=True trains nothing: give checkpoint_path instead of load_weights")


def check_seeds(settings: Settings) -> None:
    """Raise ConfigError where `seeds` are no seeds, or where a setting is not for several runs in one process."""
    seeds, allowed = settings.seeds, RUN_KEYS["seed"].allowed
    given = f"seeds={shown(seeds)}"
    assert isinstance(allowed, Range)
    if not all(isinstance(seed, int) and seed in allowed for seed in seeds) or not 1 < len(seeds) == len(set(seeds)):
        raise ConfigError(f"{given}: give at least two different whole numbers; for one run set seed")
    for mode in ("evaluate", "collect"):
        if getattr(settings, mode):
            raise ConfigError(f"{given} trains several runs, {mode}=True trains none: leave out one of them")
    if not settings.offline:
        raise ConfigError(f"{given} is for training from a dataset (offline=True); online set seed, one run at a time")
    if settings.checkpoint_path:
        raise ConfigError(f"{given} begins new runs, checkpoint_path continues one; leave out seeds")
    if settings.compile:
        raise ConfigError(f"{given} maps losses over runs, which torch.compile cannot; set compile=False")
    if settings.use_wandb:
        raise ConfigError(f"{given}: Weights & Biases records one run of a process; set use_wandb=False, or use seed")


def check_places(settings: Settings) -> None:
    """Clear away what killed runs left among the checkpoints, and test the folders that a run writes to.

    Raises ConfigError where one cannot be written to.
    """
    results, key = settings.results, "local_results_path"
    trains = not (settings.collect or settings.evaluate)
    if trains and settings.save_model:
        clear_models(results / "models")
    # a picture that cannot be drawn is a warning at the end, so its folder is not tried
    places = {"models": trains and settings.save_model, "tb_logs": settings.use_tensorboard}
    for name, used in places.items():
        if used:
            check_writable(results / name, key, make=False)  # a database may refuse the run yet


def check_collection(settings: Settings) -> None:
    """Raise ConfigError where there is nowhere to write, or nowhere to play."""
    if not settings.collect_to:
        raise ConfigError("collect=True needs collect_to=..., a dataset name such as mpe/simple_spread/mine or a path")
    check_destination(settings.collect_to, "collect_to")
    if settings.env is None:
        raise ConfigError("collect=True plays in an environment, and env is None; give one")


def check_evaluation(settings: Settings) -> None:
    """Raise ConfigError where there is no policy, nowhere to play, or nowhere to put the picture."""
    if not settings.checkpoint_path:
        raise ConfigError("evaluate=True needs checkpoint_path=..., the directory that a training run printed")
    if settings.env is None:
        raise ConfigError("evaluate=True plays in an environment, and env is None; give the one the policy is for")
    if settings.render:
        check_writable(Path(drawing_settings(settings).env_args["replay_path"]).parent, "env_args.replay_path")


def check_online(settings: Settings) -> None:
    """Raise ConfigError where training in an environment could not learn, or not record what it plays."""
    if settings.env is None:
        other = f", or set offline=True to learn from dataset={shown(settings.dataset)}" if settings.dataset else ""
        raise ConfigError(f"--config={settings.name} learns in an environment, and env is None; give one{other}")
    if settings.validation_share:
        raise ConfigError(f"validation_share={settings.validation_share} holds out episodes of a dataset; set it to 0")
    if settings.burn_in:
        raise ConfigError(f"burn_in={settings.burn_in} is for training from a dataset; online set window=None instead")
    if settings.window is None and settings.buffer_size < settings.batch_size:
        raise ConfigError(
            f"batch_size={settings.batch_size} episodes never fit buffer_size={settings.buffer_size}: nothing would be "
            "learned; raise buffer_size or lower batch_size"
        )
    if settings.replay_to:
        if settings.runner not in ("vector", "parallel"):
            raise ConfigError(f"replay_to={settings.replay_to}: recording needs runner=vector or runner=parallel")
        if settings.checkpoint_path:
            raise ConfigError("replay_to records a training run from its first step: leave out checkpoint_path")
        check_destination(settings.replay_to, "replay_to")


def check_on_policy(settings: SimpleNamespace) -> None:
    """Raise ConfigError unless each rollout is learned from whole, once, and then forgotten."""
    if settings.offline:
        raise ConfigError(
            f"learner={settings.learner} learns from what its own policies play, not from a dataset: set offline=False"
        )
    rollout = settings.batch_size_run
    needed = {"window": None, "updates_per_run": 1, "batch_size": rollout, "buffer_size": rollout}
    other = {key: value for key, value in needed.items() if getattr(settings, key) != value}
    if other:
        given = ", ".join(f"{key}={getattr(settings, key)}" for key in other)
        raise ConfigError(
            f"learner={settings.learner} learns once from the whole rollout of batch_size_run={rollout} episodes, and "
            f"{given}; set {' '.join(f'{key}={value}' for key, value in other.items())}"
        )


def check_destination(name: str, key: str) -> None:
    """Raise ConfigError where the dataset `name` exists already or cannot be written; remains there are removed."""
    path = dataset_path(name, key)
    try:
        check_target(path, replace=False)
    except UserError as error:
        raise ConfigError(f"{key}={name}: {error}") from error
    check_writable(path.parent, key)
    clear_datasets(path)
