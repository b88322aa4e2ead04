"""The dataset card: what a dataset is, where it came from, and the statistics that training and scores need."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets.bounds import KEYS, bounds_of
from datasets.card_check import check_stated, plain
from datasets.card_entries import shown
from datasets.declared import FORMAT_VERSION, check_writable_card
from datasets.hdf5 import BLOCK_BYTES, Stored, row_blocks
from datasets.references import reference_returns
from utils.bounds import shortest
from utils.errors import DatasetError

# env_args that may differ in the same environment: they change no number of an episode that begins from the same seed.
NOT_COMPARED = ("seed", "render_mode", "replay_path", "threads")
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_ANEW = "collect the file anew"
_RETURN_ERROR = 1e-6  # relative to the largest return
# Relative to mean and standard deviation: float32's sums, and the error of left-out columns in a wide range of values.
_MOMENT_ERROR = 1e-3
_SUMMED_ROWS = 4096
_MOMENTS = ("obs_mean", "obs_std", "state_mean", "state_std")
_COMPUTED = ("format_version", "counts", "returns", "shapes", *_MOMENTS, "checksum")


def start_card(fields: Mapping[str, Any], n_agents: int, action_size: int) -> dict[str, Any]:
    """Check the entries that a dataset's maker states; return them as plain JSON values, with defaults filled in.

    fields: must hold `environment` {"env", "env_args", ...}, or None where there is none, and `action_space`, with
    `action_low` and `action_high` for continuous actions (A numbers, or where agents differ N lists of A) or
    `n_actions` for discrete ones. A `reference` of None is replaced by the published reference returns where there are
    any. Raises DatasetError for an entry that is missing or of a wrong type.
    """
    if not isinstance(fields, Mapping):
        raise DatasetError(f"the dataset card is of type {type(fields).__name__}; it must be a mapping of its entries")
    stated = {key: value for key, value in fields.items() if key not in _COMPUTED}
    card = {"format_version": FORMAT_VERSION, **plain(stated, "")}
    if card.get("action_space") == "continuous":
        card.setdefault("n_actions", action_size)
        for key in KEYS:  # a plain number, for one dimension
            if isinstance(card.get(key), int | float):
                card[key] = [card[key]]
    if card.get("environment", "missing") is None:
        card["environment"] = {"env": None}
    if isinstance(card.get("environment"), dict):
        card["environment"].setdefault("env_args", {})
    card.setdefault("behaviour", "unknown")
    card.setdefault("quality", "unknown")
    card.setdefault("made_by", {})
    card.setdefault("reference", None)
    check_stated(card)
    if card["action_space"] == "continuous":
        low, high = bounds_of(card, n_agents)  # (N, A) each
        if low.shape == high.shape:  # else the checks of the values refuse them
            card["action_low"], card["action_high"] = shortest(low, high)
    if card["reference"] is None:
        environment = card["environment"]
        card["reference"] = reference_returns(environment["env"], environment["env_args"])
    return card


def prey_of(described: Mapping[str, Any] | None) -> Any:
    """The prey's checksum in a card's environment, a run's, or what an environment says of itself; None: unknown."""
    simulator = (described or {}).get("simulator")
    return simulator.get("prey") if isinstance(simulator, Mapping) else None


def check_statistics(card: Mapping[str, Any], arrays: Mapping[str, np.ndarray], episode_offsets: np.ndarray) -> None:
    """Raise DatasetError unless the computed part of a card read from a file agrees with the arrays.

    All values must be finite, and `card_check.check_card` must have passed. Counts and shapes agree exactly, returns
    and moments to within the rounding of another machine's sums and of left-out columns.
    """
    for key, found in (("shapes", _shapes(arrays)), ("counts", _counts(arrays, episode_offsets))):
        if card[key] != found:
            raise DatasetError(
                f"its dataset card states the {key} {shown(card[key])}, its arrays have {found}; {_ANEW}"
            )
    _check_returns(card["returns"], episode_returns(arrays["reward"], episode_offsets))
    for key in ("obs", "state"):
        if key in arrays:
            shape = arrays[key].shape[1:]
            mean, std = (_numbers(card, f"{key}_{moment}", shape) for moment in ("mean", "std"))
            _check_moments(arrays[key], mean, std, key)


def _check_returns(stated: Mapping[str, Any], returns: np.ndarray) -> None:
    slack = _RETURN_ERROR * (1.0 + float(np.abs(returns).max()))
    found = _return_statistics(returns)
    pairs = {name: (stated[name], found[name]) for name in ("mean", "std", "min", "max")}
    pairs |= {f"quantiles.{q}": (stated["quantiles"][q], value) for q, value in found["quantiles"].items()}
    for name, (there, here) in pairs.items():
        if abs(there - here) > slack:
            raise DatasetError(
                f"its dataset card states {there:g} as returns.{name}, its rewards give {here:g}; {_ANEW}"
            )


def _numbers(card: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Means or standard deviations of a card, as float32 of one row's `shape`."""
    if name not in card:
        raise DatasetError(f"its dataset card lacks '{name}'; write the file with write_dataset")
    try:
        numbers = np.asarray(card[name])
        if numbers.dtype.kind not in "if":  # texts, and integers of any length
            raise TypeError
        with np.errstate(over="ignore"):
            moments = numbers.astype(np.float32)
    except (ValueError, TypeError):
        raise DatasetError(f"its dataset card's {name} is no array of numbers; {_ANEW}") from None
    if moments.shape != shape or not np.isfinite(moments).all():
        raise DatasetError(
            f"its dataset card's {name} has shape {moments.shape}; it must be {shape} and finite; {_ANEW}"
        )
    return moments


def _check_moments(values: np.ndarray, mean: np.ndarray, std: np.ndarray, key: str) -> None:
    """Raise DatasetError where the stated moments are not those of `values` (R, ...).

    One pass in float32: with the stated mean taken off, the mean is about 0 and the mean square about the variance.
    Values whose squares float32 cannot hold take a second one in float64.
    """
    total, squares = _sums(values, mean)
    if not (np.isfinite(total).all() and np.isfinite(squares).all()):
        total, squares = _sums(values, mean.astype(np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        shift = total / len(values)
        found = np.sqrt(np.maximum(squares / len(values) - shift**2, 0.0))
        slack = _MOMENT_ERROR * (np.abs(mean.reshape(-1)) + found + 0.01)
        wrong = {"mean": ~(np.abs(shift) <= slack), "std": ~(np.abs(found - std.reshape(-1)) <= slack)}
    for name, columns in wrong.items():
        if columns.any():
            place = [int(index) for index in np.unravel_index(int(np.argmax(columns)), mean.shape)]
            raise DatasetError(f"its dataset card's {key}_{name} is not that of its arrays at {place}; {_ANEW}")


def _sums(values: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of `values` (R, ...) minus `mean` and of their squares, (M,) float64 each, computed in the mean's type.

    Few rows are summed at a time, for each addition to a large float32 sum is rounded.
    """
    total, squares = np.zeros(mean.size), np.zeros(mean.size)
    for start, stop in row_blocks(values):
        for a in range(start, stop, _SUMMED_ROWS):
            with np.errstate(over="ignore", invalid="ignore"):  # a wrong mean may be large
                off = (values[a : min(a + _SUMMED_ROWS, stop)] - mean).reshape(-1, mean.size)  # (rows, M)
                total += off.sum(axis=0)
                squares += np.einsum("rm,rm->m", off, off)
    return total, squares


def add_statistics(card: dict[str, Any], arrays: Stored, episode_offsets: np.ndarray) -> None:
    """Fill in counts, returns, shapes, and means and standard deviations of observations and of a stored state."""
    card["counts"] = _counts(arrays, episode_offsets)
    card["shapes"] = _shapes(arrays)
    card["returns"] = _return_statistics(_returns_by_blocks(arrays["reward"], episode_offsets))
    for key in ("obs", "state"):
        if key in arrays:
            mean, std = _moments(arrays[key])
            card[f"{key}_mean"], card[f"{key}_std"] = _short(mean), _short(std)
    check_writable_card(card)


def episode_returns(reward: np.ndarray, episode_offsets: np.ndarray) -> np.ndarray:
    """Undiscounted returns of the mean reward over agents, (E,) float64. reward: (R, N)."""
    return np.add.reduceat(reward.mean(axis=-1, dtype=np.float64), episode_offsets[:-1])


def _returns_by_blocks(reward: Any, episode_offsets: np.ndarray) -> np.ndarray:
    """The returns (E,) of rewards (R, N) that may not fit in memory, from whole episodes at a time."""
    firsts, found = np.asarray(episode_offsets), []
    step = max(1, BLOCK_BYTES // (8 * math.prod(reward.shape[1:])))  # rows
    begin = 0
    while begin < len(firsts) - 1:
        end = max(begin + 1, int(np.searchsorted(firsts, firsts[begin] + step, side="right")) - 1)
        rows = reward[int(firsts[begin]) : int(firsts[end])]
        found.append(episode_returns(rows, firsts[begin : end + 1] - firsts[begin]))
        begin = end
    return np.concatenate(found)


def _counts(arrays: Stored, episode_offsets: np.ndarray) -> dict[str, int]:
    lengths = np.diff(episode_offsets) - 1
    terminals = int(arrays["terminated"][:].sum())
    return {
        "episodes": len(lengths),
        "transitions": int(lengths.sum()),
        "min_length": int(lengths.min()),
        "max_length": int(lengths.max()),
        "terminals": terminals,
        "time_limits": len(lengths) - terminals,
    }


def _shapes(arrays: Stored) -> dict[str, int]:
    n_agents, obs_size = arrays["obs"].shape[1:]
    state_size = arrays["state"].shape[-1] if "state" in arrays else n_agents * obs_size
    return {"n_agents": n_agents, "obs": obs_size, "state": state_size}


def _return_statistics(returns: np.ndarray) -> dict[str, Any]:
    return {
        "definition": "sum over time of the mean reward over agents",
        "mean": float(returns.mean()),
        "std": float(returns.std()),
        "min": float(returns.min()),
        "max": float(returns.max()),
        "quantiles": {f"{q:g}": float(np.quantile(returns, q)) for q in _QUANTILES},
    }


def _moments(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over all rows in float64, block by block, as the data may not fit in memory."""
    total = sum(values[a:b].sum(axis=0, dtype=np.float64) for a, b in row_blocks(values))
    mean = np.asarray(total) / len(values)
    squares = sum(np.square(values[a:b] - mean).sum(axis=0) for a, b in row_blocks(values))
    return mean, np.sqrt(np.asarray(squares) / len(values))


def _short(values: np.ndarray) -> list[Any]:
    """Nested lists rounded to 8 digits: enough for float32 input statistics, and a short dataset card."""
    rounded: list[Any] = np.vectorize(lambda value: float(f"{value:.8g}"), otypes=[np.float64])(values).tolist()
    return rounded
