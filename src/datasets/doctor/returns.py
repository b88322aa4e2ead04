"""Returns, lengths of episodes, and how they end."""

from __future__ import annotations

import numpy as np

from datasets.card import episode_returns
from datasets.dataset import OfflineDataset
from datasets.doctor.finding import Finding, plain
from datasets.endings import doubtful_dataset
from datasets.histogram import histogram
from datasets.references import normalised_score

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_BINS = 30


def find_returns(dataset: OfflineDataset) -> Finding:
    """Distribution of the episodes' returns: sums over time of the mean reward over agents.

    `score`: their mean normalised, 0 random and 100 expert; None without reference returns.
    """
    returns = episode_returns(dataset.arrays["reward"], dataset.episode_offsets)  # (E,)
    reference = dataset.card.get("reference")
    values = _distribution(returns) | {"score": None}
    if reference is not None:
        values["score"] = normalised_score(returns.mean(), reference["random"], reference["expert"])
    return Finding("returns", values, (f"quantiles of the returns: {_quantiles(returns, '.2f')}",))


def find_lengths(dataset: OfflineDataset) -> Finding:
    """Distribution of the episodes' lengths in steps."""
    lengths = np.diff(dataset.episode_offsets) - 1  # (E,)
    values = _distribution(lengths)
    if lengths.min() == lengths.max():
        line = f"lengths: all episodes have {lengths[0]} steps"
    else:
        line = f"quantiles of the lengths: {_quantiles(lengths, 'g')}"
    return Finding("lengths", values, (line,))


def find_ends(dataset: OfflineDataset) -> Finding:
    """Terminals against time limits: how many episodes end by which, and after how many steps."""
    lengths = np.diff(dataset.episode_offsets) - 1  # (E,)
    terminal = dataset.arrays["terminated"][dataset.episode_offsets[1:] - 2] > 0  # (E,)
    longest = int(lengths.max())
    at_longest = lengths == longest
    doubt = doubtful_dataset(dataset)
    values = {
        "terminals": int(terminal.sum()),
        "time_limits_or_cuts": int((~terminal).sum()),
        "longest": longest,
        "at_the_longest": int(at_longest.sum()),
        "terminals_at_the_longest": int((at_longest & terminal).sum()),
        "cuts_before_the_longest": int((~at_longest & ~terminal).sum()),
        "doubt": doubt,
    }
    lines = [
        f"ends: {values['terminals']} terminals, {values['time_limits_or_cuts']} time limits or cuts; "
        f"{values['at_the_longest']} episodes have the greatest length of {longest} steps, "
        f"{values['terminals_at_the_longest']} of them end by a terminal"
    ]
    if values["cuts_before_the_longest"]:
        lines.append(
            f"{values['cuts_before_the_longest']} episodes are shorter and end without a terminal: they were cut, or "
            "the mark of their terminal is missing"
        )
    return Finding("ends", values, tuple(lines))


def _distribution(numbers: np.ndarray) -> dict[str, object]:
    counts, edges = histogram(numbers, _BINS)
    return {
        "mean": float(numbers.mean()),
        "std": float(numbers.std()),
        "quantiles": {f"{q:g}": float(np.quantile(numbers, q)) for q in QUANTILES},
        "histogram": {"counts": counts.tolist(), "edges": plain(edges)},
    }


def _quantiles(numbers: np.ndarray, form: str) -> str:
    return ", ".join(f"{q:.0%} {np.quantile(numbers, q):{form}}" for q in QUANTILES)
