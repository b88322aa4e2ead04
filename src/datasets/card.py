"""The card: what a dataset is, where it came from, and the statistics that training and scores need."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from datasets.hdf5 import FORMAT_VERSION, row_blocks
from datasets.references import reference_returns
from utils.errors import DatasetError

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_COMPUTED = ("format_version", "counts", "returns", "shapes", "obs_mean", "obs_std", "checksum")


def start_card(fields: Mapping[str, Any], action_size: int) -> dict[str, Any]:
    """The part of the card that a dataset's maker states, checked and with its defaults.

    fields: `environment` {"env", "env_args", ...} and `action_space` are required, `action_low` and `action_high` for
    continuous actions, `n_actions` for discrete ones. Raises DatasetError for one that is missing or of another kind.
    """
    card = {key: value for key, value in fields.items() if key not in _COMPUTED and not key.startswith("state_")}
    environment = card.get("environment")
    if not isinstance(environment, dict) or "env" not in environment:
        raise DatasetError(
            "the card needs environment: {'env': name, 'env_args': {...}}, where its scores are measured"
        )
    space = card.get("action_space")
    if space not in ("continuous", "discrete"):
        raise DatasetError(f"the card's action_space is {space!r}; it must be 'continuous' or 'discrete'")
    for key in ("action_low", "action_high") if space == "continuous" else ("n_actions",):
        if key not in card:
            raise DatasetError(f"the card needs '{key}' for {space} actions")
    if space == "continuous":
        card["n_actions"] = action_size
        for key in ("action_low", "action_high"):
            card[key] = [float(bound) for bound in np.atleast_1d(card[key])]
    environment.setdefault("env_args", {})
    card.setdefault("behaviour", "unknown")
    card.setdefault("quality", "unknown")
    card.setdefault("made_by", {})
    if card.get("reference") is None:
        card["reference"] = reference_returns(str(environment["env"]), environment["env_args"].get("key"))
    return {"format_version": FORMAT_VERSION, **card}


def check_card(card: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Raise DatasetError unless a card that was read has all entries and agrees with the arrays."""
    needed: dict[str, type | tuple[type, ...]] = {
        "environment": dict, "action_space": str, "n_actions": int, "behaviour": str, "quality": str, "made_by": dict,
        "counts": dict, "returns": dict, "shapes": dict, "obs_mean": list, "obs_std": list,
    }  # fmt: skip
    if card.get("action_space") == "continuous":
        needed |= {"action_low": list, "action_high": list}
    if "state" in arrays:
        needed |= {"state_mean": list, "state_std": list}
    for key, kind in needed.items():
        if not isinstance(card.get(key), kind):
            raise DatasetError(f"its card lacks '{key}' or has it in another form; write the file with write_dataset")
    shapes = _shapes(arrays)
    if card["shapes"] != shapes or np.shape(card["obs_mean"]) != arrays["obs"].shape[1:]:
        raise DatasetError(f"its card states the shapes {card['shapes']}, its arrays have {shapes}; collect it anew")


def add_statistics(card: dict[str, Any], arrays: Mapping[str, np.ndarray], episode_offsets: np.ndarray) -> None:
    """Fill in counts, return statistics, shapes, and means and deviations of observations (and of a stored state)."""
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
    """Undiscounted sums over time of the agents' mean reward, (E,) float64. reward: (R, N)."""
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
    """Mean and standard deviation over all rows, in float64 and in two passes: the data may not fit in memory."""
    total = sum(values[a:b].sum(axis=0, dtype=np.float64) for a, b in row_blocks(values))
    mean = np.asarray(total) / len(values)
    squares = sum(np.square(values[a:b] - mean).sum(axis=0) for a, b in row_blocks(values))
    return mean, np.sqrt(np.asarray(squares) / len(values))


def _short(values: np.ndarray) -> list[Any]:
    """Nested lists rounded to float32's digits: enough for an input normaliser, and a short card."""
    return np.vectorize(lambda value: float(f"{value:.8g}"), otypes=[np.float64])(values).tolist()
