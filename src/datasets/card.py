"""The dataset card: what a dataset is, where it came from, and the statistics that training and scores need."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets.bounds import KEYS, bounds_of
from datasets.card_check import check_stated, plain
from datasets.hdf5 import FORMAT_VERSION, row_blocks
from datasets.references import reference_returns
from utils.bounds import shortest
from utils.errors import DatasetError

NOT_COMPARED = ("seed", "render_mode", "replay_path")  # env_args that may differ in the same environment
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_COMPUTED = ("format_version", "counts", "returns", "shapes", "obs_mean", "obs_std", "checksum")


def start_card(fields: Mapping[str, Any], n_agents: int, action_size: int) -> dict[str, Any]:
    """Check the entries that a dataset's maker states; return them as plain JSON values, with defaults filled in.

    fields: must hold `environment` {"env", "env_args", ...}, or None where there is none, and `action_space`, with
    `action_low` and `action_high` for continuous actions (A numbers, or where agents differ N lists of A) or
    `n_actions` for discrete ones. A `reference` of None is replaced by the published reference returns where there are
    any. Raises DatasetError for an entry that is missing or of a wrong type.
    """
    if not isinstance(fields, Mapping):
        raise DatasetError(f"the dataset card is of type {type(fields).__name__}; it must be a mapping of its entries")
    stated = {key: value for key, value in fields.items() if key not in _COMPUTED and not str(key).startswith("state_")}
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


def check_statistics(card: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Raise DatasetError unless the shapes and moments of a card read from a file agree with the arrays."""
    shapes = _shapes(arrays)
    if card["shapes"] != shapes:
        raise DatasetError(
            f"its dataset card states the shapes {card['shapes']}, its arrays have {shapes}; collect the file anew"
        )
    for key in ("obs", "state"):
        if key not in arrays:
            continue
        for name in (f"{key}_mean", f"{key}_std"):
            if name not in card:
                raise DatasetError(f"its dataset card lacks '{name}'; write the file with write_dataset")
            try:
                moments = np.asarray(card[name], np.float32)
            except (ValueError, TypeError):
                raise DatasetError(f"its dataset card's {name} is no array of numbers; collect the file anew") from None
            if moments.shape != arrays[key].shape[1:] or not np.isfinite(moments).all():
                raise DatasetError(
                    f"its dataset card's {name} has shape {moments.shape}; it must be {arrays[key].shape[1:]} and "
                    "finite"
                )


def add_statistics(card: dict[str, Any], arrays: Mapping[str, np.ndarray], episode_offsets: np.ndarray) -> None:
    """Fill in counts, returns, shapes, and means and standard deviations of observations and of a stored state."""
    lengths = np.diff(episode_offsets) - 1
    terminals = int(arrays["terminated"].sum())
    card["counts"] = {
        "episodes": len(lengths),
        "transitions": int(lengths.sum()),
        "min_length": int(lengths.min()),
        "max_length": int(lengths.max()),
        "terminals": terminals,
        "time_limits": len(lengths) - terminals,
    }
    card["shapes"] = _shapes(arrays)
    card["returns"] = _return_statistics(episode_returns(arrays["reward"], episode_offsets))
    for key in ("obs", "state"):
        if key in arrays:
            mean, std = _moments(arrays[key])
            card[f"{key}_mean"], card[f"{key}_std"] = _short(mean), _short(std)


def episode_returns(reward: np.ndarray, episode_offsets: np.ndarray) -> np.ndarray:
    """Undiscounted returns of the mean reward over agents, (E,) float64. reward: (R, N)."""
    return np.add.reduceat(reward.mean(axis=-1, dtype=np.float64), episode_offsets[:-1])


def _shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
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


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over all rows in float64, block by block, as the data may not fit in memory."""
    total = sum(values[a:b].sum(axis=0, dtype=np.float64) for a, b in row_blocks(values))
    mean = np.asarray(total) / len(values)
    squares = sum(np.square(values[a:b] - mean).sum(axis=0) for a, b in row_blocks(values))
    return mean, np.sqrt(np.asarray(squares) / len(values))


def _short(values: np.ndarray) -> list[Any]:
    """Nested lists rounded to 8 digits: enough for float32 input statistics, and a short dataset card."""
    rounded: list[Any] = np.vectorize(lambda value: float(f"{value:.8g}"), otypes=[np.float64])(values).tolist()
    return rounded
