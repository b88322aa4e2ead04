"""Collection: play a policy, write a dataset with its provenance."""

from __future__ import annotations

import hashlib
import logging
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from sacred.run import Run

from components.episode_buffer import EpisodeBatch
from components.epsilon_schedules import exploration_step
from datasets.dataset import NameTakenError, write_dataset
from datasets.endings import doubtful_ends
from datasets.names import dataset_path
from datasets.output import free_name
from loops.build import Parts
from loops.describe import point_to
from loops.needs import check_projected
from loops.simulators import StableEpisodes, simulator_of
from utils import signals
from utils.description import find_description
from utils.errors import OutputError
from utils.logging import Logger
from utils.progress import Progress
from utils.redact import redacted, redacted_command
from utils.versions import SIMULATORS, commit, installed

TEAM_REWARD = "the team's, the same number for each agent"  # the dataset card's word for what the reward column holds


def run(parts: Parts, logger: Logger, sacred_run: Run) -> dict[str, float]:
    """Play `collect_episodes` episodes, exploring as in training, and write them to `collect_to`.

    All of them have the exploration of one step, which the card names: the checkpoint's, 0 without one.
    Raises NameTakenError or OutputError where they had to be kept elsewhere; the message says where.
    """
    args, runner = parts.args, parts.runner
    runner.explores_as_at = 0
    if parts.weights is not None:
        runner.t_env = int(parts.weights.name)
        runner.explores_as_at = exploration_step(args, runner.t_env)
        point_to(sacred_run, find_description(parts.weights))
    arrays, offsets = play(runner, args, logger)
    runner.close_env()
    fields = card_fields(args, parts.env_info, behaviour_of(args, runner, parts.weights), runner.team_reward)
    path = dataset_path(args.collect_to)
    result = write(path, arrays, offsets, fields, logger.console_logger, args.results)
    signals.check(f"while {path} was written; it is complete")
    return result


@signals.finishing()  # all episodes are there
def write(
    path: Path,
    arrays: dict[str, np.ndarray],
    offsets: np.ndarray,
    fields: dict[str, Any],
    log: logging.Logger,
    results: Path,
) -> dict[str, float]:
    """Write a dataset and say what it holds; returns the mean and the standard deviation of its returns.

    Nothing is replaced. Where another program has taken the name meanwhile, or the disk refuses, the episodes are kept
    under another name or in another folder: `results`, or that of temporary files. Raises NameTakenError or OutputError
    then, which says where they are, or that they are lost.
    """
    try:
        card = write_dataset(path, arrays, offsets, fields, last_action_known=True, replace=False)
    except (NameTakenError, OutputError) as refusal:
        folders = [results / "kept", Path(tempfile.gettempdir())]
        if isinstance(refusal, NameTakenError):
            folders.insert(0, path.parent)
        kept = _keep(path, arrays, offsets, fields, folders)
        where = f"this run's episodes are in {kept} instead" if kept else "this run's episodes are lost"
        raise type(refusal)(f"{_without_remedy(refusal)}; {where}") from refusal
    returns = card["returns"]
    terminal = arrays["terminated"][offsets[1:] - 2] > 0  # (E,); an episode's final row holds no step
    doubt = doubtful_ends(np.diff(offsets) - 1, terminal, card["environment"])
    if doubt is not None:
        log.warning(f"{path}: {doubt}")
    log.info(
        f"Wrote {path}: {card['counts']['transitions']} transitions in {card['counts']['episodes']} episodes, "
        f"return per agent {returns['mean']:.2f}, standard deviation {returns['std']:.2f}"
    )
    return {"return_mean": returns["mean"], "return_std": returns["std"]}


def _keep(
    path: Path, arrays: dict[str, np.ndarray], offsets: np.ndarray, fields: dict[str, Any], folders: Sequence[Path]
) -> Path | None:
    """Write a dataset to the first folder that takes it, under the first free name; None where none does."""
    for folder in folders:
        while True:
            other = free_name(folder / path.name)
            try:
                write_dataset(other, arrays, offsets, fields, last_action_known=True, replace=False)
                return other
            except NameTakenError:  # by another writer, since its name was free
                continue
            except OutputError:
                break
    return None


def _without_remedy(refusal: Exception) -> str:
    return str(refusal).partition("; ")[0]


def warn_of_little_room(path: Path, most: int, log: logging.Logger) -> None:
    """Say that the disk may be too small for a dataset of `most` bytes before compression."""
    free = shutil.disk_usage(path.parent).free
    if free < most:
        log.warning(
            f"{path} may take up to {most / 1e6:.0f} MB and its disk has {free / 1e6:.0f} MB left; free space while "
            "this run plays"
        )


def play(runner: Any, args: SimpleNamespace, logger: Logger) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Flat rows of `collect_episodes` episodes and their offsets, (E + 1,)."""
    parts: list[dict[str, np.ndarray]] = []
    progress = Progress(0, args.collect_episodes, logger.console_logger, unit="episode")
    done, stable = 0, StableEpisodes(runner, logger.console_logger)
    while done < args.collect_episodes:
        signals.check(f"after {done} of {args.collect_episodes} episodes; a dataset of fewer is not written")
        batch = stable.of(runner.run(test_mode=False))
        if batch is None:
            continue
        keep = min(batch.batch_size, args.collect_episodes - done)
        parts.append(flat_rows(batch, keep))
        done += keep
        if len(parts) == 1:  # before hours are spent
            size = sum(array.nbytes for array in parts[0].values())
            check_projected(args, done, size)
            warn_of_little_room(
                dataset_path(args.collect_to), size * args.collect_episodes // keep, logger.console_logger
            )
        progress.advance(done)
    progress.close()
    return join(parts)


def join(parts: list[dict[str, np.ndarray]]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """One dataset's rows and episode offsets, (E + 1,), from what `flat_rows` gave, in order."""
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    lengths = arrays.pop("episode_lengths")  # (E,)
    return arrays, np.concatenate([[0], np.cumsum(lengths)])


def flat_rows(batch: EpisodeBatch, keep: int, reward: str = "reward") -> dict[str, np.ndarray]:
    """The filled rows of the first `keep` episodes, (R, ...) each, under the dataset's keys; for `join`.

    `episode_lengths` (E,) counts each episode's rows. reward: the batch's key of every agent's rewards.
    """
    filled = batch["filled"][:keep, :, 0].bool()  # (E, T)
    keys = ("obs", "state", "actions", "avail_actions", "terminated")
    rows = {key: batch[key][:keep][filled].cpu().numpy() for key in keys}  # (R, ...)
    rows["reward"] = batch[reward][:keep][filled].cpu().numpy()  # (R, N)
    rows["terminated"] = rows["terminated"][:, 0]
    rows["episode_lengths"] = filled.sum(1).cpu().numpy()
    return rows


def exploration(runner: Any) -> str:
    """How a runner's controller explores, for people: what the selector is called and how much it adds."""
    selector = runner.mac.action_selector
    amounts = [f"{name} {getattr(selector, name):g}" for name in ("epsilon", "noise") if hasattr(selector, name)]
    return f"{runner.args.action_selector} actions{f' ({amounts[0]})' if amounts else ''}"


def behaviour_of(args: SimpleNamespace, runner: Any, directory: Path | None) -> str:
    """Who acted, for the card: the policy with its file's checksum, and its exploration."""
    if args.action_selector == "uniform":
        return "uniform actions"
    if directory is None:
        return f"{exploration(runner)} of {args.name}, an untrained network"
    digest = hashlib.sha256((directory / "agent.th").read_bytes()).hexdigest()
    return f"{exploration(runner)} of {args.name}, {directory.parent.name}/{directory.name}/agent.th ({digest[:16]})"


def card_fields(
    args: SimpleNamespace, env_info: dict[str, Any], behaviour: str, team_reward: bool = False
) -> dict[str, Any]:
    """What the card says of the making: environment and versions, rewards, behaviour, command, seed, commit.

    team_reward: whether the environment pays one number for the team.
    """
    env_args = redacted({key: value for key, value in args.env_args.items() if key != "seed"})
    bounds: dict[str, Any] = {key: env_info[key] for key in ("action_low", "action_high") if key in env_info}
    return {
        "environment": {
            "env": args.env,
            "env_args": env_args,
            "versions": installed(SIMULATORS),
            **simulator_of(env_info),
        },
        "action_space": env_info["action_space"],
        "n_actions": env_info["n_actions"],
        **bounds,
        **({"reward": TEAM_REWARD} if team_reward else {}),
        "behaviour": behaviour,
        "quality": args.collect_quality or "unknown",
        "made_by": {
            "command": redacted_command(["python", *sys.argv]),
            "seed": args.seed,
            "commit": commit() or "unknown",
        },
    }
