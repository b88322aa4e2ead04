"""From the key `dataset` to the buffer: reading, checks against the environment, statistics, reward scaling."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch as th

from components.offline_buffer import OfflineBuffer
from components.offline_rows import on_disk
from components.scheme import Groups, Preprocess, Scheme
from components.statistics import DataStatistics
from datasets.bounds import check_same_bounds
from datasets.card import NOT_COMPARED, prey_of
from datasets.dataset import OfflineDataset, read_dataset
from datasets.names import accepted, resolve_dataset
from datasets.outline import Outline
from utils.errors import ConfigError, DatasetError, printable
from utils.memory import require_memory
from utils.redact import redacted

# What must agree between the environment of a dataset and the one that policies are evaluated in.
DIMENSIONS = ("n_agents", "obs_shape", "n_actions", "action_space")
_MOST_TEXT = 100
_WINDOW_BYTES = 37  # per row: the tables of windows, and the flags of next actions
HOW = "docs/your-data.md#with-the-environment"
ADVICE = "make them agree, or train without evaluation: --env-config=none"


def load_dataset(args: SimpleNamespace) -> OfflineDataset:
    """Read the dataset that the key `dataset` names.

    Raises ConfigError where the key is not set, and DatasetError where the dataset cannot be read.
    """
    check_named(args)
    return read_dataset(resolve_dataset(args.dataset), memory_map=args.memory_map)


def check_named(args: SimpleNamespace) -> None:
    """Raise ConfigError where the key `dataset` is not set."""
    if args.dataset is None:
        raise ConfigError(
            f"--config={args.name} learns from a dataset and none is set: add `with dataset=...`, {accepted()}"
        )


def stated_differences(
    args: SimpleNamespace, card: dict[str, Any], env_info: Mapping[str, Any] | None = None
) -> list[str]:
    """Where the configured environment is not what the dataset card states, as texts.

    env_info: what the environment says of itself, where it was made. Preys are then compared by their checksums: one
    file may lie in several places, and one place may get another file. The seed and the arguments of rendering are not
    compared.
    """
    environment = card["environment"]
    pairs = [("env", environment["env"], args.env)]
    configured = redacted(args.env_args)  # as cards keep them
    left_out = not_compared(card, env_info)
    for name, there in redacted(environment["env_args"]).items():
        if name not in left_out:
            pairs.append((f"env_args.{name}", there, configured.get(name)))
    if "prey" in left_out:
        there, here = (f"{str(prey)[:16]}..." for prey in (prey_of(environment), prey_of(env_info)))
        pairs.append(("the prey's checksum", there, here))
    different = [
        f"{short(name)} is {short(there)} there and {short(here)} here" for name, there, here in pairs if there != here
    ]
    if different and environment["env"] is None:
        different.append(f"{HOW} tells how a file states its environment")
    return different


def not_compared(card: dict[str, Any], env_info: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The env_args that are not compared; with the prey's file, where both preys are known by their checksums."""
    known = None not in (prey_of(card["environment"]), prey_of(env_info))
    return (*NOT_COMPARED, "prey") if known else NOT_COMPARED


def short(value: Any) -> str:
    """A value of a file for a message: one line, not too long."""
    text = printable(str(value))
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}..."


def check_dimensions(
    args: SimpleNamespace, dataset: OfflineDataset | Outline, env_info: dict[str, Any], advice: str
) -> None:
    """Raise DatasetError unless agents, observations and actions of the environment are like the dataset's."""
    expected = dataset.env_info()
    for key in DIMENSIONS:
        if expected.get(key) != env_info.get(key):
            raise DatasetError(
                f"dataset {args.dataset} has {key} {expected.get(key)}, the environment {env_info.get(key)}; {advice}"
            )
    if expected["action_space"] == "continuous":
        check_same_bounds(args.dataset, dataset, env_info, advice)


def build_buffer(
    args: SimpleNamespace,
    dataset: OfflineDataset,
    scheme: Scheme,
    groups: Groups,
    preprocess: Preprocess,
    log: logging.Logger,
    extras: tuple[str, ...] = (),
) -> OfflineBuffer:
    """Make the buffer over a dataset. extras: entries that the learner reads beside a window's rows."""
    check_buffer(args, dataset, extras)
    arrays = dict(dataset.arrays)
    if args.reward_scaling != "none":
        arrays["reward"] = scaled_reward(args, dataset, log)
    return OfflineBuffer(
        arrays,
        dataset.episode_offsets,
        dataset.last_action_known,
        scheme,
        groups,
        preprocess,
        window=args.window,
        burn_in=args.burn_in,
        reward_scalarisation=args.train_reward if args.common_reward else None,
        # A window may start in the middle of an episode: its rows do not hold the action before it.
        extras=(*extras, "prev_actions_onehot") if args.obs_last_action and args.window is not None else extras,
        device="cpu" if args.buffer_cpu_only else args.device,
        seed=args.seed,
    )


def check_buffer(args: SimpleNamespace, dataset: OfflineDataset, extras: tuple[str, ...]) -> None:
    """Raise MemoryShortage where the buffer's own arrays, or all of them on a GPU, do not fit."""
    n_rows, n_agents = dataset.arrays["reward"].shape
    rewards = 1 if args.common_reward else n_agents
    need = n_rows * (_WINDOW_BYTES + 4 * rewards * (2 if "return_to_go" in extras else 1))
    stays = any(on_disk(array) for array in dataset.arrays.values())
    device = "cpu" if args.buffer_cpu_only or stays else args.device
    if device == "cuda":
        need += sum(array.nbytes for key, array in dataset.arrays.items() if key != "reward")
    advice = "set buffer_cpu_only=True" if device == "cuda" else "learn from a part of it (python src/dataset.py slice)"
    require_memory(need, f"the buffer over dataset {args.dataset}", advice, device)


def data_statistics(dataset: OfflineDataset, buffer: OfflineBuffer, gamma: float) -> DataStatistics:
    """Statistics of the whole dataset for learners, with rewards as `buffer` yields them."""
    fields = {"obs": dataset.obs_statistics(), "state": dataset.state_statistics()}
    inputs = {key: (th.from_numpy(mean), th.from_numpy(std)) for key, (mean, std) in fields.items()}
    best, to_go = buffer.largest_return(1.0, starts_only=True), buffer.to_go_statistics(gamma)
    return DataStatistics(inputs, best, *to_go, mean_length=dataset.n_transitions / dataset.n_episodes)


def scaled_reward(args: SimpleNamespace, dataset: OfflineDataset, log: logging.Logger) -> np.ndarray:
    """Shift rewards per agent (R, N) so that the team reward has mean 0; `standardise` scales it to variance 1.

    Mean and standard deviation are over the dataset's transitions; where agents learn from their own rewards
    (`common_reward=False`), over all agents' rewards in them, and one number serves all agents. Where episodes end
    only at a time limit, which learning bootstraps through, a constant shift c moves every value by c / (1 - gamma) and
    changes no policy.
    Raises DatasetError where all rewards are equal and are to be scaled.
    """
    reward = dataset.arrays["reward"]  # (R, N)
    steps = np.ones(len(reward), dtype=bool)
    steps[dataset.episode_offsets[1:] - 1] = False  # an episode's final row holds no step
    if args.common_reward:
        learned = {"mean": reward.mean(1), "sum": reward.sum(1), "agent0": reward[:, 0]}[args.train_reward][steps]
    else:
        learned = reward[steps]  # (R', N)
    shift = float(learned.mean(dtype=np.float64))
    scale = float(learned.std(dtype=np.float64)) if args.reward_scaling == "standardise" else 1.0
    if scale == 0.0:
        raise DatasetError(
            f"every reward in {args.dataset} is {shift}, so there is nothing to standardise or to learn; use other data"
        )
    if dataset.card["counts"]["terminals"]:
        log.warning(
            f"reward_scaling={args.reward_scaling} shifts rewards in data with terminal states, which makes shorter or "
            "longer episodes worth more and so changes which policy is optimal; reward_scaling=none avoids this"
        )
    per_agent = shift / dataset.n_agents if args.common_reward and args.train_reward == "sum" else shift
    return ((reward - per_agent) / scale * steps[:, None]).astype(np.float32)
