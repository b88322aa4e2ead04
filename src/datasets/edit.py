"""New datasets from existing ones: several merged, or some episodes of one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.card import NOT_COMPARED, prey_of
from datasets.dataset import OfflineDataset, read_dataset, write_dataset
from envs.defaults import OF_ENV, agree
from utils.errors import DatasetError, shown
from utils.memory import require_memory

_SAME_IN_MERGED = ("action_space", "n_actions", "action_low", "action_high", "shapes", "reference", "reward",
                   "obs_mask")  # fmt: skip
_OF_SIMULATOR = ("simulator", "versions")  # entries of a card's environment that say what made its numbers


def merge_datasets(sources: Sequence[Path], out: Path, command: str = "", replace: bool = True) -> dict[str, Any]:
    """Write all episodes of the sources, in their order, to `out`; return the new dataset card.

    replace: whether a file at `out` is replaced; else it is refused, at whatever moment it came.

    Raises DatasetError where environments, env_args, action spaces, shapes, masks or reference returns differ.
    """
    if len(sources) < 2:
        raise DatasetError("merge needs at least two datasets; name another one")
    datasets = [read_dataset(source) for source in sources]
    made_by = {"command": command, "sources": [provenance(dataset) for dataset in datasets]}
    return write_merged(datasets, out, made_by, replace)


def write_merged(
    datasets: Sequence[OfflineDataset], out: Path, made_by: dict[str, Any], replace: bool
) -> dict[str, Any]:
    """Write all episodes of datasets that agree, in their order, to `out`; return the new dataset card.

    made_by: the entry of the new card, which gets a note where the datasets are of different simulators. Raises
    DatasetError as `merge_datasets` does.
    """
    for other in datasets[1:]:
        _check_alike(datasets[0], other)
    need = sum(array.nbytes for dataset in datasets for array in dataset.arrays.values())
    require_memory(need, f"merging {len(datasets)} datasets", "merge fewer")
    keys = sorted(set().union(*(dataset.arrays for dataset in datasets)))
    arrays = {key: np.concatenate([_array(dataset, key) for dataset in datasets]) for key in keys}
    lengths = np.concatenate([np.diff(dataset.episode_offsets) for dataset in datasets])
    known = np.concatenate([dataset.last_action_known for dataset in datasets])
    card = dict(datasets[0].card)
    for key in ("behaviour", "quality"):
        card[key] = " + ".join(dict.fromkeys(str(dataset.card[key]) for dataset in datasets))
    card["environment"], differ = _common_environment(datasets)
    notes = [f"the sources differ in {', '.join(differ)}, which the card leaves out; made_by.sources says each one's"]
    card["made_by"] = {**made_by, "notes": notes} if differ else made_by
    return write_dataset(out, arrays, _offsets(lengths), card, last_action_known=known, compression=9, replace=replace)


def slice_dataset(
    source: Path, out: Path, episodes: int, seed: int | None = None, command: str = "", replace: bool = True
) -> dict[str, Any]:
    """Write the first `episodes` episodes, or random ones where a seed is given, to `out`; return the new dataset card.

    replace: as for `merge_datasets`. Raises DatasetError where the source holds fewer, or for a negative seed.
    """
    if seed is not None and seed < 0:
        raise DatasetError(f"--seed is {seed}; it must be 0 or more")
    dataset = read_dataset(source)
    if not 1 <= episodes <= dataset.n_episodes:
        raise DatasetError(
            f"{source} holds {dataset.n_episodes} episodes and --episodes is {episodes}; it must be 1 to that many"
        )
    chosen = np.arange(episodes)
    if seed is not None:
        chosen = np.sort(np.random.default_rng(seed).choice(dataset.n_episodes, episodes, replace=False))
    made_by = {
        "command": command,
        "episodes": f"{episodes} of {dataset.n_episodes}, "
        + ("the first" if seed is None else f"drawn with seed {seed}"),
        "sources": [provenance(dataset)],
    }
    return write_part(part_of(dataset, chosen), out, made_by, replace)


def part_of(dataset: OfflineDataset, chosen: np.ndarray) -> OfflineDataset:
    """A dataset of the episodes `chosen` (numbers, in their new order); its card still has the whole's numbers."""
    offsets, lengths = dataset.episode_offsets, np.diff(dataset.episode_offsets)[chosen]
    rows = np.concatenate([np.arange(offsets[episode], offsets[episode + 1]) for episode in chosen])
    arrays = {key: array[rows] for key, array in dataset.arrays.items()}
    known = dataset.last_action_known[chosen]
    return OfflineDataset(dict(dataset.card), arrays, _offsets(lengths), known, dataset.path)


def write_part(part: OfflineDataset, out: Path, made_by: dict[str, Any], replace: bool) -> dict[str, Any]:
    """Write a part of a dataset to `out`; return the new dataset card. made_by: the card's entry."""
    card = part.card | {"made_by": made_by}
    known = part.last_action_known
    return write_dataset(
        out, part.arrays, part.episode_offsets, card, last_action_known=known, compression=9, replace=replace
    )


def _check_alike(one: OfflineDataset, other: OfflineDataset) -> None:
    first, second = _stated(one), _stated(other)
    preys = [prey_of(dataset.card["environment"]) for dataset in (one, other)]
    if None not in preys:  # one file may lie in several places, and one place may get another file
        for stated, prey in zip((first, second), preys, strict=True):
            stated.pop("env_args.prey", None)
            stated["the prey's checksum"] = prey
    env = one.card["environment"]["env"]
    for name in dict.fromkeys((*first, *second)):
        if agree(env, name, first, second):
            continue
        there, here = (shown(stated[name]) if name in stated else "not stated" for stated in (first, second))
        raise DatasetError(
            f"{one.path} and {other.path} cannot be merged: {name} is {there} in the first and {here} in the second; "
            "merge only datasets that agree in it"
        )


def _stated(dataset: OfflineDataset) -> dict[str, Any]:
    """Entries that must agree for one dataset card to hold for all episodes, by the names in messages."""
    environment = dataset.card["environment"]
    env_args = {f"{OF_ENV}{key}": value for key, value in environment["env_args"].items() if key not in NOT_COMPARED}
    return {"env": environment["env"], **env_args, **{key: dataset.card.get(key) for key in _SAME_IN_MERGED}}


def _common_environment(datasets: Sequence[OfflineDataset]) -> tuple[dict[str, Any], list[str]]:
    """The first card's environment without what others say otherwise of the simulator, and the names of that.

    An empty `simulator` stays, so that training still compares it with its own.
    """
    environment, differ = dict(datasets[0].card["environment"]), []
    for key in _OF_SIMULATOR:
        stated = [dataset.card["environment"].get(key) for dataset in datasets]
        if all(each == stated[0] for each in stated):
            continue
        known = [each if isinstance(each, Mapping) else {} for each in stated]  # unknown where a card has none
        common = {name: value for name, value in known[0].items() if all(_has(each, name, value) for each in known)}
        environment[key] = common
        differ += [f"{key}.{name}" for name in dict.fromkeys(name for each in known for name in each)
                   if name not in common]  # fmt: skip
    return environment, differ


def _has(stated: Mapping[str, Any], name: str, value: Any) -> bool:
    return name in stated and bool(stated[name] == value)


def _array(dataset: OfflineDataset, key: str) -> np.ndarray:
    """An array of the dataset; made here where this dataset leaves out what another one stores."""
    if key in dataset.arrays:
        return dataset.arrays[key]
    obs = dataset.arrays["obs"]
    if key == "state":
        return obs.reshape(len(obs), -1)
    return np.ones((*obs.shape[:2], int(dataset.card["n_actions"])), np.uint8)  # avail_actions


def provenance(dataset: OfflineDataset) -> dict[str, Any]:
    """What the card of a dataset says of a source."""
    card = dataset.card
    simulator = {key: card["environment"][key] for key in _OF_SIMULATOR if key in card["environment"]}
    return {
        "file": dataset.path.name,
        "checksum": card["checksum"],
        "episodes": dataset.n_episodes,
        "behaviour": card["behaviour"],
        **simulator,
        "made_by": card["made_by"],
    }


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)])
