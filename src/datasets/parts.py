"""Datasets of chosen episodes: mixtures of several, subsets by return, and a part held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.card import episode_returns
from datasets.dataset import OfflineDataset, read_dataset
from datasets.edit import part_of, provenance, write_merged, write_part
from utils.errors import DatasetError

_BINS = 10  # of equally many episodes each, by which returns are matched


def mix_datasets(
    sources: Sequence[Path],
    shares: Sequence[float],
    out: Path,
    episodes: int | None = None,
    seed: int = 0,
    command: str = "",
    replace: bool = True,
) -> dict[str, Any]:
    """Write episodes of several datasets, of each its share, to `out`; return the new dataset card.

    shares: positive, taken relative to their sum. episodes: of all together, no fewer; None: as many as the sources
    allow. Episodes are drawn without replacement, by `seed`, and stand in the sources' order. Raises DatasetError where
    a source holds too few, and as `merge_datasets` does.
    """
    if len(sources) < 2:
        raise DatasetError("mix needs at least two datasets; name another one, as NAME:SHARE")
    if not all(0 < share < float("inf") for share in shares):
        raise DatasetError(f"the shares are {', '.join(f'{share:g}' for share in shares)}; each must be above 0")
    if sum(shares) == float("inf"):
        raise DatasetError(f"the shares are {', '.join(f'{share:g}' for share in shares)}; their sum must be finite")
    datasets = [read_dataset(source) for source in sources]
    parts = np.asarray(shares) / sum(shares)
    most = int(min(dataset.n_episodes / part for dataset, part in zip(datasets, parts, strict=True)) + 1e-9)
    total = most if episodes is None else episodes
    counts = _shared_out(total, parts)
    for dataset, count in zip(datasets, counts, strict=True):
        if not 1 <= count <= dataset.n_episodes:
            raise DatasetError(
                f"{dataset.path} holds {dataset.n_episodes} episodes and its share of {total} would be {count}; choose "
                f"--episodes up to {most}, or other shares"
            )
    rng = _generator(seed)
    chosen = [_drawn(rng, np.arange(dataset.n_episodes), n) for dataset, n in zip(datasets, counts, strict=True)]
    taken = [f"{n} of {dataset.n_episodes} episodes" for dataset, n in zip(datasets, counts, strict=True)]
    made_by = {
        "command": command,
        "episodes": f"{' and '.join(taken)}, drawn with seed {seed}",
        "sources": [provenance(dataset) for dataset in datasets],
    }
    drawn = [part_of(dataset, numbers) for dataset, numbers in zip(datasets, chosen, strict=True)]
    return write_merged(drawn, out, made_by, replace)


def subset_dataset(
    source: Path,
    out: Path,
    *,
    episodes: int | None = None,
    match_returns: Path | None = None,
    returns_above: float | None = None,
    seed: int = 0,
    command: str = "",
    replace: bool = True,
) -> dict[str, Any]:
    """Write some episodes of a dataset to `out`; return the new dataset card. Exactly one of the three rules is given.

    episodes: so many, drawn by `seed`. match_returns: another dataset; as many as possible, drawn by `seed`, with the
    same share between each two of its returns' deciles. returns_above: those whose return is at least this quantile.
    Raises DatasetError where the rule leaves no episode.
    """
    dataset = read_dataset(source)
    rng, everything = _generator(seed), np.arange(dataset.n_episodes)
    if episodes is not None:
        if not 1 <= episodes <= dataset.n_episodes:
            raise DatasetError(f"--episodes is {episodes}; {source} allows 1 to {dataset.n_episodes}")
        chosen, rule = _drawn(rng, everything, episodes), f"drawn with seed {seed}"
    elif match_returns is not None:
        other = read_dataset(match_returns)
        chosen = _matching(_returns(dataset), _returns(other), rng, source, match_returns)
        rule = f"with the returns of {other.path.name} ({other.card['checksum'][:16]}), drawn with seed {seed}"
    else:
        assert returns_above is not None
        if not 0 <= returns_above < 1:
            raise DatasetError(f"--returns-above is {returns_above:g}; it must be a quantile from 0 to below 1")
        returns = _returns(dataset)
        chosen = np.flatnonzero(returns >= np.quantile(returns, returns_above))
        rule = f"with a return of at least the quantile {returns_above:g}"
    made_by = {
        "command": command,
        "episodes": f"{len(chosen)} of {dataset.n_episodes}, {rule}",
        "sources": [provenance(dataset)],
    }
    return write_part(part_of(dataset, chosen), out, made_by, replace)


def split_dataset(
    source: Path,
    outs: tuple[Path, Path],
    validation: float,
    seed: int = 0,
    command: str = "",
    replace: bool = True,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write a share of the episodes, drawn by `seed`, to the second file, the others to the first; return both cards.

    Raises DatasetError where a part would be empty.
    """
    dataset = read_dataset(source)
    held = round(validation * dataset.n_episodes) if 0 < validation < 1 else 0
    if not 0 < held < dataset.n_episodes:
        raise DatasetError(
            f"--validation is {validation:g}, which leaves a part of the {dataset.n_episodes} episodes of {source} "
            "empty; choose a share between 0 and 1"
        )
    order = _generator(seed).permutation(dataset.n_episodes)
    cards = []
    for name, chosen, out in (("training", order[held:], outs[0]), ("validation", order[:held], outs[1])):
        made_by = {
            "command": command,
            "episodes": f"{len(chosen)} of {dataset.n_episodes}, for {name}, drawn with seed {seed}",
            "sources": [provenance(dataset)],
        }
        cards.append(write_part(part_of(dataset, np.sort(chosen)), out, made_by, replace))
    return cards[0], cards[1]


def _generator(seed: int) -> np.random.Generator:
    if seed < 0:
        raise DatasetError(f"--seed is {seed}; it must be 0 or more")
    return np.random.default_rng(seed)


def _shared_out(total: int, parts: np.ndarray) -> list[int]:
    """Whole numbers near `total` times the parts (P,), which sum to 1; they add up to `total`."""
    exact = total * parts
    counts = [round(each) for each in exact]
    if sum(counts) != total:  # then the largest remainders are rounded up, the first of equal ones
        counts = [int(each) for each in np.floor(exact)]
        for index in np.argsort(np.asarray(counts) - exact, kind="stable")[: total - sum(counts)]:
            counts[index] += 1
    return counts


def _drawn(rng: np.random.Generator, numbers: np.ndarray, count: int) -> np.ndarray:
    return np.sort(rng.choice(numbers, count, replace=False))


def _returns(dataset: OfflineDataset) -> np.ndarray:
    return episode_returns(dataset.arrays["reward"], dataset.episode_offsets)  # (E,)


def _matching(own: np.ndarray, wanted: np.ndarray, rng: np.random.Generator, source: Path, other: Path) -> np.ndarray:
    """Episodes of `own` (E,) returns, as many between each two deciles of the returns `wanted` as those have.

    A return that many episodes of `wanted` share, so that two deciles are equal, is a range of its own.
    """
    edges = np.quantile(wanted, np.linspace(0, 1, _BINS + 1))
    own_bins, bins = _bins(own, edges), _bins(wanted, edges)
    inside = (own >= edges[0]) & (own <= edges[-1])
    numbers, counts = np.unique(bins, return_counts=True)
    shares = counts / len(wanted) if numbers.max() > _BINS else np.full(len(numbers), 1 / len(numbers))
    groups = [np.flatnonzero(inside & (own_bins == number)) for number in numbers]
    for number, group in zip(numbers, groups, strict=True):
        if not len(group):
            held = wanted[bins == number]
            raise DatasetError(
                f"{source} holds no episode with a return from {held.min():.2f} to {held.max():.2f}, as "
                f"{len(held)} of {len(wanted)} of {other} have; choose another dataset to match"
            )
    most = min(len(group) / share for group, share in zip(groups, shares, strict=True))
    taken = [_drawn(rng, group, int(most * share + 1e-9)) for group, share in zip(groups, shares, strict=True)]
    return np.sort(np.concatenate(taken))


def _bins(returns: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The range of each return (E,): 1 to 10 between two edges, above 10 where it is itself two edges or more."""
    left, right = (np.searchsorted(edges, returns, side) for side in ("left", "right"))
    found: np.ndarray = np.where(right - left > 1, _BINS + 1 + left, np.clip(right, 1, _BINS))
    return found
