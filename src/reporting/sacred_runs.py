"""Runs from Sacred's directories: training runs that ended well; of each other one, why it does not count."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets.names import dataset_name
from datasets.references import BUNDLED_PREYS
from reporting.faults import fault
from reporting.runs import RETURN, SCORE, UNITS, Curve, ReportError, Run, is_kept, is_of_data
from utils.config import config_names
from utils.errors import UserError
from utils.finished_run import FinishedRun, RunError, read_finished
from utils.paths import place_of

FITTED = "fitted Q evaluation"
FINALS = {"normalised score": "final_normalised_score", "return": "final_return"}
# Set by hand, these say which run it is, where it runs and what it keeps, not how it learns.
BOOKKEEPING = frozenset({
    "seed", "dataset", "local_results_path", "save_model", "save_model_interval", "checkpoint_path", "load_step",
    "mongo", "use_tensorboard", "use_wandb", "wandb_mode", "wandb_project", "wandb_team", "log_interval",
    "learner_log_interval", "runner_log_interval", "label", "hypergroup", "repeat_id", "render",
    "save_replay_buffer", "replay_to", "use_cuda", "buffer_cpu_only", "memory_map", "threads", "name", "env", "offline",
    "evaluate", "collect", "collect_to", "collect_episodes", "collect_quality", "tuned", "env_args.key",
    "env_args.map_name", "env_args.seed", "env_args.render_mode", "env_args.replay_path", "env_args.threads",
})  # fmt: skip


class NotCountedError(ReportError):
    """A run that is no completed training run with scores; the message begins with what it is.

    by_data: the run with what its data tell of it, where they do.
    """

    by_data: Run | None = None


def read_sacred(folder: Path) -> Run:
    """A run from its directory. Raises NotCountedError where it is damaged, unfinished, or no training with scores."""
    try:
        found = read_finished(folder)
    except RunError as error:
        raise NotCountedError(f"damaged or unfinished: {str(error).partition('; push it')[0]}") from error
    status, config = found.entry["status"], found.config
    if status != "COMPLETED":
        raise NotCountedError(f"{status.lower()}: {folder}")
    kind = kind_of(config)
    if kind not in ("training", FITTED):
        raise NotCountedError(f"{kind}: {folder}")
    try:
        if kind == "training" and (run := _run(folder, found)).final:
            return _sound(run)
        by_data = _run(folder, found, is_of_data)
        if by_data.curves:
            _sound(by_data, scored=False)
    except UserError as error:  # of a dataset's name that can be none
        raise NotCountedError(f"damaged or unfinished: {folder} cannot be read: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:  # of another type, or shape
        raise NotCountedError(
            f"damaged or unfinished: {folder} is no record of this program's ({type(error).__name__}: {error})"
        ) from error
    uncounted = NotCountedError(f"{'training without scores' if kind == 'training' else kind}: {folder}")
    uncounted.by_data = by_data if by_data.curves else None
    raise uncounted


def _sound(run: Run, scored: bool = True) -> Run:
    """The run. Raises ReportError where an entry is of another type than a report reads, or says what cannot be."""
    if (wrong := fault(vars(run), scored)) is not None:
        raise ReportError(f"it {wrong}")
    return run


def kind_of(config: dict[str, Any]) -> str:
    """What a run was for: training, evaluation, collecting, or fitted Q evaluation."""
    if config.get("collect"):
        return "collecting"
    if config.get("evaluate"):
        return "evaluation"
    return FITTED if config.get("policy_path") else "training"


def _run(folder: Path, found: FinishedRun, kept: Callable[[str], bool] = is_kept) -> Run:
    """The run with the curves that `kept` is true of, and with scores where those of evaluations are among them."""
    config, told = found.config, found.info.get("run") or {}
    curves = {
        name: Curve(tuple(series["steps"]), tuple(_number(value) for value in series["values"]))
        for name, series in found.metrics.items()
        if kept(name) and series["steps"]
    }
    final = {unit: _number(found.metrics[name]["values"][-1]) for unit, name in FINALS.items() if name in found.metrics}
    final = {unit: value for unit, value in final.items() if UNITS[unit] in curves}
    start, stop = found.entry["start_time"], found.entry.get("stop_time")
    whole = not config.get("checkpoint_path")  # a continued run logs the earlier one's values again at its start
    scores = next((found.metrics[name] for name in (SCORE, RETURN) if name in curves), None)
    moments = scores["timestamps"] if scores is not None and whole else None
    returns = found.info.get("final_returns") or {}
    given = (found.entry["meta"].get("options") or {}).get("UPDATE") or []
    return Run(
        source=str(folder),
        algorithm=config["name"],
        environment=environment_of(config, told.get("prey")),
        dataset=dataset_of(config),
        seed=config["seed"],
        config=config,
        final=final,
        curves=curves,
        checksum=told.get("checksum"),
        started=start.isoformat(),
        seconds=round((stop - start).total_seconds(), 1) if stop is not None and whole else None,
        commit=commit_of(found.entry),
        sources=told.get("sources"),
        command=told.get("command") or command_of(config, given),
        by_hand=tuple(sorted({key for key in (word.partition("=")[0] for word in given) if key not in BOOKKEEPING})),
        declared=told.get("declared"),
        times=None if moments is None else tuple(round((time - start).total_seconds(), 1) for time in moments),
        episodes=tuple(_number(value) for value in returns["returns"]) if returns.get("returns") else None,
        reference=returns.get("reference"),
        cpu_seconds=told.get("cpu_seconds") if whole else None,
        changed=_texts(told.get("changed")),
    )


def _texts(value: Any) -> tuple[str, ...] | None:
    """A list of texts that a record may lack."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"{str(value)[:40]!r} is no list of texts")
    return tuple(value)


def _number(value: Any) -> float:
    """A logged number; one that is not finite stays so, and whoever averages it refuses."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{str(value)[:40]!r} is no number")
    return float(value) if math.isfinite(value) else math.nan


def environment_of(config: dict[str, Any], prey: Any = None) -> str | None:
    """The environment's family and key; None for a run without one.

    prey: the checksum of the prey that was chased, of runs that recorded one. A prey that is not the bundled one makes
    another environment, whose scores are not comparable.
    """
    if config.get("env") is None:
        return None
    place = place_of({"env_args": {}, "dataset": None, **config})
    name = str(config["env"]) if place == config["env"] else f"{config['env']}/{place}"
    return name if prey is None or prey in BUNDLED_PREYS else f"{name} (prey {str(prey)[:8]})"


def dataset_of(config: dict[str, Any]) -> str | None:
    """The dataset by its name, or else by its whole path; None for a run without one."""
    if not config.get("offline") or config.get("dataset") is None:
        return None
    return dataset_name(config["dataset"]) or str(config["dataset"])


def commit_of(entry: dict[str, Any]) -> str | None:
    """The commit's first ten digits, with + where files differed from it."""
    known = entry["experiment"].get("repositories") or []
    return known[0]["commit"][:10] + ("+" if known[0].get("dirty") else "") if known else None


def command_of(config: dict[str, Any], given: list[str]) -> str | None:
    """A command that runs the same again, made of what Sacred keeps; None where the algorithm's file is unknown."""
    if config.get("name") not in config_names("algs"):
        return None
    words = [f"--config={config['name']}", f"--env-config={config.get('env') or 'none'}", "with", *map(str, given)]
    return f"python src/main.py {shlex.join(words)}"
