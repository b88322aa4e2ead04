"""Offline datasets: reading, writing and finding the files that docs/reference/dataset-format.md describes."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets import memory_map as cache
from datasets.card import add_statistics, check_statistics, start_card
from datasets.card_check import check_card
from datasets.columns import encode
from datasets.convert import convert_arrays, convert_known, convert_offsets
from datasets.hdf5 import Rows, checksum, open_container, row_blocks, write_container
from datasets.names import resolve_dataset
from datasets.outline import env_info_of
from datasets.output import NameTakenError, check_target
from datasets.stored import declared, decode_rows, pop_episodes, stored_names
from datasets.validate import check_arrays, check_layout, check_values
from utils.errors import DatasetError

_LOG = logging.getLogger(__name__)

__all__ = ["NameTakenError", "OfflineDataset", "read_dataset", "resolve_dataset", "write_dataset"]


@dataclass(frozen=True)
class OfflineDataset:
    """A dataset in memory. An episode of L steps has L + 1 of the R rows; the final row is what its last step led to.

    arrays: obs (R, N, O) f32; actions (R, N, A) f32 or (R, N, 1) i64; reward (R, N) f32, 0 on final rows; terminated
    (R,) u8, 1 on a step into a terminal state, 0 at a time limit; optionally state (R, S) f32 (without it, the state is
    the joined observations) and avail_actions (R, N, n_actions) u8 (without it, all are available).
    episode_offsets: (E + 1,) int64; episode e has the rows offsets[e]:offsets[e + 1].
    last_action_known: (E,) bool, whether the final row's action is what the behaviour would do there (else it is 0).
    """

    card: dict[str, Any]
    arrays: dict[str, np.ndarray]
    episode_offsets: np.ndarray
    last_action_known: np.ndarray
    path: Path

    @property
    def n_episodes(self) -> int:
        return len(self.episode_offsets) - 1

    @property
    def n_transitions(self) -> int:
        return int(self.episode_offsets[-1]) - self.n_episodes

    @property
    def n_agents(self) -> int:
        return int(self.arrays["obs"].shape[1])

    @property
    def max_length(self) -> int:
        """Number of steps of the longest episode."""
        return int(np.diff(self.episode_offsets).max()) - 1

    def env_info(self) -> dict[str, Any]:
        """The part of `MultiAgentEnv.get_env_info` that the dataset card tells: enough to train without a simulator."""
        return env_info_of(self.card, self.n_agents, self.max_length)

    def obs_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of observations over all rows, (N, O) float32 each."""
        return np.asarray(self.card["obs_mean"], np.float32), np.asarray(self.card["obs_std"], np.float32)

    def state_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of states over all rows, (S,) float32 each."""
        if "state" not in self.arrays:
            mean, std = self.obs_statistics()
            return mean.reshape(-1), std.reshape(-1)
        return np.asarray(self.card["state_mean"], np.float32), np.asarray(self.card["state_std"], np.float32)


def write_dataset(
    path: str | Path,
    arrays: Mapping[str, np.ndarray],
    episode_offsets: np.ndarray,
    card: Mapping[str, Any],
    *,
    last_action_known: np.ndarray | bool = False,
    compress_columns: bool = True,
    compression: int = 4,
    replace: bool = True,
) -> dict[str, Any]:
    """Write a dataset and return its completed card.

    arrays, episode_offsets, last_action_known: as in `OfflineDataset`; numbers are converted to the format's types, and
    one bool for last_action_known holds for every episode. card: the entries for `datasets.card.start_card`; counts,
    returns, moments and checksum are computed here. compress_columns: leave out columns of observations that follow
    from others to within float32's rounding (see `datasets.columns`). compression: gzip level; 9 for published files.
    replace: whether a file at `path` is replaced. Raises DatasetError where the arrays are no valid dataset,
    NameTakenError (a DatasetError) where there is a file that is not to be replaced, at whatever moment it came, and
    OutputError where the file cannot be written.
    """
    if compression not in range(10):
        raise DatasetError(f"compression is {compression!r}; it must be a gzip level, 0 to 9")
    path = Path(path)
    check_target(path, replace)  # before the work
    plain, offsets = convert_arrays(arrays), convert_offsets(episode_offsets)
    known = convert_known(last_action_known, offsets)
    check_layout(plain, offsets, known)
    full_card = start_card(card, *plain["actions"].shape[1:])
    check_values(plain, offsets, known, full_card)
    plain = drop_derivable(plain)
    add_statistics(full_card, plain, offsets)
    stored: dict[str, np.ndarray] = {"episode_offsets": offsets, "last_action_known": known.astype(np.uint8)}
    for key, array in plain.items():
        code = encode(array, offsets) if compress_columns and key in ("obs", "state") else None
        if code is None:
            stored[key] = array
        else:
            parts = (code.stored, code.per_episode, code.coefficients)
            stored |= dict(zip(stored_names(key), parts, strict=True))
    write_container(path, stored, full_card, compression, replace)
    return full_card


def read_dataset(path: str | Path, memory_map: bool = False) -> OfflineDataset:
    """Read and check the dataset at `path`.

    memory_map: map the arrays from a `.npy` cache beside the file instead of loading them; also done where they do not
    fit in memory. The file and the cache are checked against their checksums. Raises DatasetError for a file that is
    missing, truncated, altered, of another kind or newer than this release, and for one that holds no valid dataset.
    """
    path = Path(path)
    with open_container(path) as (entries, card):
        try:
            dataset = _load(path, dict(entries), card, memory_map)
            _check(dataset)
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from error
    return dataset


def _check(dataset: OfflineDataset) -> None:
    try:
        check_card(dataset.card)
        check_layout(dataset.arrays, dataset.episode_offsets, dataset.last_action_known)
        check_values(dataset.arrays, dataset.episode_offsets, dataset.last_action_known, dataset.card)
        check_statistics(dataset.card, dataset.arrays, dataset.episode_offsets)
    except DatasetError:
        cache.forget(dataset.path, dataset.card)  # a cache of what is refused is of no use
        raise


def _load(path: Path, entries: dict[str, Any], card: dict[str, Any], memory_map: bool) -> OfflineDataset:
    check_arrays(declared(entries))  # before anything is read
    mapped = memory_map or not cache.fits_in_memory(entries)
    if mapped and not memory_map:
        _LOG.warning(f"{path} would take more than half of the free memory: mapping it through {path}.cache")
    if not mapped:
        entries = {name: entry[...] for name, entry in entries.items()}
    if checksum(entries, card) != card.get("checksum"):
        raise DatasetError("its content does not match its checksum, so it was damaged or altered; fetch it anew")
    offsets, known = pop_episodes(entries)
    arrays = cache.cached_arrays(path, card, entries, offsets) if mapped else decode_rows(entries, offsets)
    return OfflineDataset(card, arrays, offsets, known, path)


def drop_derivable(arrays: Mapping[str, Rows]) -> dict[str, Rows]:
    """Leave out a state that is the joined observations, and avail_actions that are all ones; arrays may be on disk."""
    kept = dict(arrays)
    if "state" in kept and _joined(kept["state"], kept["obs"]):
        del kept["state"]
    available = kept.get("avail_actions")
    if available is not None and all(available[start:stop].all() for start, stop in row_blocks(available)):
        del kept["avail_actions"]
    return kept


def _joined(state: Any, obs: Any) -> bool:
    """Whether a state (R, S) is the observations (R, N, O) side by side."""
    if state.shape[1] != obs.shape[1] * obs.shape[2]:
        return False
    blocks = row_blocks(state)
    return all(np.array_equal(state[a:b], obs[a:b].reshape(b - a, -1)) for a, b in blocks)
