"""Where a training run starts from: an earlier run's checkpoint, continued exactly, or only its weights."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from datasets.card import NOT_COMPARED
from envs.defaults import OF_ENV, agree
from learners.transfer import load_weights
from loops.resolve import resolved_outputs
from utils.checkpoint import STATE_FILE, check_checkpoint, find_checkpoint, load_or_refuse, load_state
from utils.description import plain_values
from utils.errors import CheckpointError, ConfigError, one_line, printable, shown
from utils.old_names import old_names
from utils.redact import redacted
from utils.training_state import is_plain, is_whole

# What a continued run may change without becoming another experiment.
FREE_TO_CHANGE = ("t_max", "checkpoint_path", "load_step", "load_weights", "unique_token", "local_results_path",
                  "device", "use_cuda", "buffer_cpu_only", "memory_map", "compile", "threads", "mongo",
                  "loss_chunk", "use_tensorboard", "use_wandb", "wandb_mode", "wandb_project", "wandb_team", "dataset",
                  "save_model_interval", "log_interval", "repeat_id", "label", "hypergroup",
                  "save_replay_buffer", "seeds")  # fmt: skip
OF_EVALUATIONS = ("test_", "validation_", "fqe_")  # statistics that evaluations log
_NESTED = (list, tuple, dict)
# What gives weights of the same shapes another meaning.
MEANING = ("agent_output_type", "obs_agent_id", "obs_last_action")


def identity_of(args: SimpleNamespace, checksum: str | None) -> dict[str, Any]:
    """What a checkpoint must share with the run that continues it. checksum: the dataset's, None online."""
    return {"learner_name": args.learner, "dataset_checksum": checksum, "seed": args.seed}


def state_to_continue(
    directory: Path, identity: dict[str, Any], t_max: int, unit: str, continuous: bool, rehearsed: bool = False
) -> dict[str, Any]:
    """The training state of `directory` for a run of this `identity`, its settings with `auto` replaced.

    rehearsed: leave tensors in the file and warnings to the run. Raises CheckpointError where it is missing, damaged,
    of another learner or dataset, or at `t_max` already.
    """
    state = load_state(directory, mapped=rehearsed, warn=not rehearsed)
    for key, here in identity.items():
        if state[key] != here:
            remedy = "" if key == "seed" else f", or start a new run from its weights: load_weights='{directory}'"
            raise CheckpointError(
                f"{directory} was saved with {key} {shown(state[key])}, this run has {here}; use the same{remedy}"
            )
    if state["t"] >= t_max:
        raise CheckpointError(f"{directory} is at {unit} {state['t']} already; raise t_max={t_max} above it")
    return _without_closing_evaluation(state) | {"settings": _completed(state["settings"], continuous)}


def compared_settings(args: SimpleNamespace) -> dict[str, Any]:
    """The settings that a checkpoint keeps, to be compared with those of the run that continues it; lists as JSON."""
    env_args = {f"{OF_ENV}{key}": value for key, value in args.env_args.items() if key not in NOT_COMPARED}
    left_out = {*FREE_TO_CHANGE, "env_args"}
    settings = redacted({key: value for key, value in vars(args).items() if key not in left_out} | env_args)
    return {
        key: value if is_plain(value) else json.dumps(plain_values(value), sort_keys=True)
        for key, value in settings.items()
        if is_plain(value) or isinstance(value, _NESTED)
    }


def changes_since(state: dict[str, Any], learner: Any, now: dict[str, Any]) -> str:
    """What a run with the settings `now` changes of the training state that it continues. learner: its class."""
    if "changed" not in state:  # of a release that kept no lists, so these are no news
        now = {key: value for key, value in now.items() if key in state["settings"] or not _is_nested(value)}
    return changes(old_names(learner).stored(state["settings"]), now)


def changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What a continued run does with other settings than its checkpoint, for a warning; empty where nothing changed.

    Keys that only `now` has are newer than the checkpoint, but for arguments of the environment: these were not given.
    """
    keys = [*before, *(key for key in now if key.startswith(OF_ENV) and key not in before)]
    changed = [key for key in keys if not agree(now.get("env"), key, before, now)]
    return printable("; ".join(f"{key} was {_said(before, key)}, now {_said(now, key)}" for key in changed))


def _said(settings: dict[str, Any], key: str) -> str:
    return shown(settings[key]) if key in settings else "not set"


def _is_nested(value: Any) -> bool:
    """Whether a setting may be the JSON of a list or a mapping."""
    return isinstance(value, str) and value.startswith(("[", "{"))


def all_changes(state: dict[str, Any], learner: Any, now: dict[str, Any], unit: str, log: logging.Logger) -> list[str]:
    """What was changed at each continuation up to this one, of which the log is told too."""
    earlier: list[str] = state.get("changed", [])
    changed = changes_since(state, learner, now)
    if not changed:
        return earlier
    log.warning(f"Continuing with other settings than the checkpoint's: {changed}")
    return [*earlier, f"from {unit} {state['t']}: {changed}"]


def load_part(directory: Path, part: str, load: Callable[[], None]) -> None:
    """Call `load`, which takes a part of a training state over. Raises CheckpointError where it does not fit."""
    try:
        load()
    except (RuntimeError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        reason = one_line(error)
        raise CheckpointError(
            f"{directory}: its {part} does not fit this run: {reason}; continue with the configuration it was saved "
            f"with, or start a new run from its weights: load_weights='{directory}'"
        ) from error


def load_learner(learner: Any, directory: Path, state: dict[str, Any] | None) -> None:
    """Give a learner its networks in `directory` and its part of the training state, None where that has none.

    Raises CheckpointError where they are missing or do not fit.
    """
    load_or_refuse(lambda: learner.load_models(str(directory)), directory)
    if state is not None and hasattr(learner, "load_training_state"):
        learner.load_training_state(state)


def episodes_of(state: dict[str, Any]) -> int:
    """Episodes played up to an online run's checkpoint. state: its buffer's part. Raises ValueError for no count."""
    if not is_whole(state["episodes"]):
        raise ValueError("its count of episodes is no whole number")
    return int(state["episodes"])


def check_held_out(state: dict[str, Any], now: int) -> None:
    """Raise ValueError where a checkpoint's buffer held out another number of episodes than the `now` of this run."""
    before = state.get("held_out", 0)  # earlier releases held nothing out
    if before != now:  # what was held out would be learned from, or the reverse
        raise ValueError(f"it held out {before} episodes, this run holds out {now} (validation_share)")


def start_from_weights(learner: Any, args: SimpleNamespace, continuous: bool, log: logging.Logger) -> None:
    """Give a new run's networks the weights in `args.load_weights`; say which were loaded and what starts anew.

    Raises CheckpointError where there is no sound checkpoint, and where its policies do not fit this run's; ConfigError
    for a learner that trains no policies.
    """
    if getattr(learner, "FIXED_POLICY", False):
        raise ConfigError(f"learner={args.learner} values a given policy: name it by policy_path, not by load_weights")
    directory = find_checkpoint(args.load_weights, args.load_step, key="load_weights")
    if os.path.lexists(directory / STATE_FILE):
        _check_meaning(directory, _completed(load_state(directory, mapped=True)["settings"], continuous), args)
    else:  # weights alone, such as stock EPyMARL's
        check_checkpoint(directory)
        log.info(f"{directory} does not say what its outputs mean: they are taken for {args.agent_output_type}")
    loaded, anew = load_weights(learner, directory)
    rest = [f"{name} ({reason})" for name, reason in anew.items()]
    log.info(
        f"New run from the weights in {directory}: loaded {', '.join(loaded)}, each with its input statistics; anew: "
        f"{', '.join([*rest, 'optimisers', 'schedules', 'running statistics', 'random streams', 'replay buffer'])}"
    )


def _check_meaning(directory: Path, settings: dict[str, Any], args: SimpleNamespace) -> None:
    """Raise CheckpointError where weights of the same shapes would mean something else here."""
    for key in MEANING:
        here = getattr(args, key)
        if key in settings and settings[key] != here:
            raise CheckpointError(
                f"load_weights={args.load_weights}: its policies were trained with {key}={shown(settings[key])}, this "
                f"run has {here}; set it to {shown(settings[key])}, or choose a learner with policies of that kind"
            )


def _completed(settings: dict[str, Any], continuous: bool) -> dict[str, Any]:
    """A checkpoint's settings with what `auto` stood for, which earlier releases kept."""
    chosen = {key: str(settings.get(key, "auto")) for key in ("agent_output_type", "action_selector")}
    return settings | resolved_outputs(**chosen, continuous=continuous)


def _without_closing_evaluation(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's state without an evaluation that took place only because the earlier run ended there."""
    if not state["evaluated_for_the_end"]:
        return state
    kept = dict(state)
    kept["statistics"] = {
        key: [point for point in series if not (key.startswith(OF_EVALUATIONS) and point[0] == state["t"])]
        for key, series in state["statistics"].items()
    }
    if "evaluations" in state:
        kept["evaluations"] = [point for point in state["evaluations"] if point[0] != state["t"]]
    return kept
