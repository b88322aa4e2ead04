"""The report of `dataset.py inspect`: dataset card, counts, returns, actions, episode ends and damage."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from datasets import memory_map as cache
from datasets.bounds import bounds_of
from datasets.card import check_statistics, episode_returns
from datasets.card_check import check_card
from datasets.dataset import OfflineDataset
from datasets.endings import doubtful_dataset
from datasets.faults import NoDamageError
from datasets.hdf5 import any_row, checksum, open_container, row_blocks
from datasets.histogram import histogram
from datasets.stored import coded_keys, declared, decode_rows, pop_episodes
from datasets.validate import check_action_layout, check_arrays, check_layout, check_values
from utils.errors import DatasetError, printable
from utils.memory import require_memory

_BAR = 40
_BINS = 15
_LONG = ("obs_mean", "obs_std", "state_mean", "state_std")  # printed as ranges
_MOST_ENTRIES, _MOST_TEXT = 50, 4000  # of a card that are printed
_MOST_SHARES = 50  # actions whose shares are printed
_SATURATION = 0.01  # share of the action range that counts as being at a bound


@dataclass(frozen=True)
class Inspection:
    """What `inspect` tells of a file without a closer look.

    head, tail: lines of the report, between which findings go. fault: the error that training would stop with, the
    checksum aside. doubt: a warning about episode ends.
    """

    dataset: OfflineDataset
    head: list[str]
    tail: list[str]
    fault: str | None
    doubt: str | None
    checksum_matches: bool

    @property
    def sound(self) -> bool:
        return self.checksum_matches and self.fault is None

    def values(self) -> dict[str, Any]:
        """The inspection as plain JSON values; the card without its statistics, and only where it is sound."""
        card = {key: value for key, value in self.dataset.card.items() if key not in _LONG}
        path = self.dataset.path
        return {
            "file": printable(str(path)),
            "bytes": path.stat().st_size,
            "sound": self.sound,
            "fault": None if self.fault is None else printable(self.fault),
            "doubt": self.doubt,
            "checksum_matches": self.checksum_matches,
            "card": card if self.fault is None else None,
        }


def inspect_file(path: Path) -> tuple[list[str], bool]:
    """Lines of the report on the dataset at `path`, and whether it is sound; altered files are reported as well.

    Raises as `inspection` does.
    """
    found = inspection(path)
    return [*found.head, *found.tail], found.sound


def inspection(path: Path) -> Inspection:
    """Read the dataset at `path` and check it as training does; altered files are reported as well.

    A sound one that takes more than half of the free memory is read through its memory-mapped cache, as for training.
    Raises DatasetError for a file that cannot be opened or whose arrays do not fit together, MemoryShortage for an
    altered one that does not fit in memory, OutputError where a cache is needed and cannot be written.
    """
    try:
        with open_container(path) as (entries, card):
            check_arrays(declared(entries))
            dataset, matches = _read(path, entries, card)
        check_layout(dataset.arrays, dataset.episode_offsets, dataset.last_action_known)
    except NoDamageError:
        raise
    except DatasetError as error:
        raise DatasetError(f"{path} is damaged beyond a report: {error}") from error
    head = [f"{path} ({path.stat().st_size / 1e6:.2f} MB)", "", *_card_lines(card), "", *_content(dataset)]
    bad = {key: _not_finite(array) for key, array in dataset.arrays.items()}
    tail = ["", "non-finite values: " + ", ".join(f"{key} {count}" for key, count in bad.items())]
    fault = _fault(dataset)
    doubt = None if fault else doubtful_dataset(dataset)
    if doubt is not None:
        tail.append(f"warning: {doubt}")
    tail.append("checks of training: " + ("passed" if fault is None else f"FAILED: {fault}"))
    verdict = "matches" if matches else "DOES NOT MATCH: the file was damaged or altered"
    tail.append(f"checksum {str(card.get('checksum'))[:16]}...: {verdict}")
    head, tail = [printable(line) for line in head], [printable(line) for line in tail]
    return Inspection(dataset, head, tail, fault, doubt, matches)


def _read(path: Path, entries: dict[str, h5py.Dataset], card: dict[str, Any]) -> tuple[OfflineDataset, bool]:
    """The dataset in an open file, and whether its content matches its checksum."""
    if not cache.fits_in_memory(entries) and checksum(entries, card) == card.get("checksum"):
        rows = dict(entries)
        offsets, known = pop_episodes(rows)
        return OfflineDataset(card, cache.cached_arrays(path, card, rows, offsets), offsets, known, path), True
    _check_memory(path, entries)
    stored = {name: entry[...] for name, entry in entries.items()}
    matches = checksum(stored, card) == card.get("checksum")
    offsets, known = pop_episodes(stored)
    return OfflineDataset(card, decode_rows(stored, offsets), offsets, known, path), matches


def _not_finite(array: np.ndarray) -> int:
    """Number of values that are NaN or infinite."""
    return sum(int((~np.isfinite(array[start:stop])).sum()) for start, stop in row_blocks(array))


def _check_memory(path: Path, entries: Mapping[str, h5py.Dataset]) -> None:
    """Raise MemoryShortage where the arrays would not fit in memory, decoded ones beside those that they come from."""
    need = sum(entry.nbytes for entry in entries.values())
    need += 4 * sum(math.prod(declared(entries)[key].shape) for key in coded_keys(entries))
    require_memory(need, f"inspecting {path}", "work where there is more")


def _fault(dataset: OfflineDataset) -> str | None:
    """The error that training would stop with, the checksum aside; None where there is none."""
    try:
        check_card(dataset.card)
        check_values(dataset.arrays, dataset.episode_offsets, dataset.last_action_known, dataset.card)
        check_statistics(dataset.card, dataset.arrays, dataset.episode_offsets)
    except DatasetError as error:
        return str(error)
    return None


def _card_lines(card: dict[str, Any]) -> Iterator[str]:
    yield "card"
    for key, value in list(card.items())[:_MOST_ENTRIES]:
        text = _range(value) if key in _LONG else None
        if text is None:
            text = value if isinstance(value, str) else json.dumps(value)
        cut = f"{text[:_MOST_TEXT]}... ({len(text)} characters)" if len(text) > _MOST_TEXT else text
        yield f"  {key[:_MOST_TEXT]:16s} {cut}"


def _range(value: Any) -> str | None:
    """Shape, minimum and maximum of nested lists of numbers; None for anything else."""
    try:
        numbers = np.asarray(value, np.float64)
    except (ValueError, TypeError):
        return None
    return f"{numbers.shape} from {numbers.min():.4g} to {numbers.max():.4g}" if numbers.size else None


def _content(dataset: OfflineDataset) -> Iterator[str]:
    lengths = np.diff(dataset.episode_offsets) - 1
    terminals = int(dataset.arrays["terminated"].sum())
    steps = str(lengths[0]) if lengths.min() == lengths.max() else f"{lengths.min()} to {lengths.max()}"
    yield f"episodes {dataset.n_episodes}, transitions {dataset.n_transitions}"
    yield f"agents {dataset.n_agents}, steps per episode {steps}"
    yield f"episodes that end in a terminal {terminals}, at a time limit or cut {dataset.n_episodes - terminals}"
    yield f"episodes whose final row holds the behaviour's next action: {int(dataset.last_action_known.sum())}"
    yield ""
    with np.errstate(invalid="ignore"):  # inf - inf; such returns are counted as not finite
        returns = episode_returns(dataset.arrays["reward"], dataset.episode_offsets)
    yield from _histogram(returns)
    yield ""
    try:
        check_card(dataset.card)
        check_action_layout(dataset.arrays, dataset.card)
    except DatasetError as error:
        yield f"actions: not reported, for {error}"
        return
    yield from (_continuous if dataset.card["action_space"] == "continuous" else _discrete)(dataset)


def _histogram(returns: np.ndarray) -> Iterator[str]:
    finite = returns[np.isfinite(returns)]
    title = "returns (sum over time of the mean reward over agents)"
    if len(finite) < len(returns):
        title += f", {len(returns) - len(finite)} of {len(returns)} not finite"
    if not len(finite):
        yield title
        return
    yield f"{title}: {finite.mean():.2f} +- {finite.std():.2f}"
    counts, edges = histogram(finite, _BINS)
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        yield f"  {low:10.2f} to {high:10.2f} {count:8d} " + "#" * round(_BAR * count / counts.max())


def _taken(dataset: OfflineDataset, agent: int) -> np.ndarray:
    """An agent's actions (T, A) on all rows but final ones."""
    actions = dataset.arrays["actions"]
    rows = np.ones(len(actions), bool)
    rows[dataset.episode_offsets[1:] - 1] = False
    return np.concatenate([actions[start:stop][rows[start:stop], agent] for start, stop in row_blocks(actions)])


def _continuous(dataset: OfflineDataset) -> Iterator[str]:
    card = dataset.card
    yield f"actions (saturation: share within {_SATURATION:.0%} of the range from the lower and the upper bound)"
    yield "  agent dim        bounds     least      mean  greatest   saturation"
    low, high = bounds_of(card, dataset.n_agents)  # (N, A) each
    available = dataset.arrays.get("avail_actions")
    used = None if available is None else any_row(available)  # (N, A)
    for agent, index in np.ndindex(low.shape):
        if index == 0:
            actions = _taken(dataset, agent)  # (T, A)
        bounds = f"[{low[agent, index]:g}, {high[agent, index]:g}]"
        head, values = f"  {agent:5d} {index:3d} {bounds:>13s}", actions[:, index]
        values = values[np.isfinite(values)]
        if used is not None and not used[agent, index]:
            yield f"{head} none: the agent has fewer dimensions"
        elif not len(values):
            yield f"{head} not one finite value"
        else:
            yield f"{head} {_spread(values, float(low[agent, index]), float(high[agent, index]))}"


def _spread(values: np.ndarray, low: float, high: float) -> str:
    margin, mean = _SATURATION * (high - low), values.mean(dtype=np.float64)
    shares = (np.mean(values <= low + margin), np.mean(values >= high - margin))
    share = " ".join(f"{share:7.2%}" for share in shares) if low < high else "      -       -"
    return f"{values.min():9.4f} {mean:9.4f} {values.max():9.4f} {share}"


def _discrete(dataset: OfflineDataset) -> Iterator[str]:
    n_actions = dataset.card["n_actions"]
    more = f" (the first {_MOST_SHARES})" if n_actions > _MOST_SHARES else ""
    yield f"actions: agent, share of each of 0..{n_actions - 1}{more}"
    for agent in range(dataset.n_agents):
        actions = _taken(dataset, agent)  # (T, 1)
        counts = np.bincount(actions[:, 0].clip(0, n_actions - 1), minlength=n_actions)
        yield f"  {agent:2d}  " + " ".join(f"{count / len(actions):6.1%}" for count in counts[:_MOST_SHARES])
