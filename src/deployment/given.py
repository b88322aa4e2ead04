"""What a user gives a policy, as arrays of one form: observations (B, N, O) and available actions (B, N, A)."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from utils.errors import PolicyError


def joint_observations(observations: Any, n_agents: int, size: int) -> tuple[np.ndarray, bool]:
    """Observations as (B, N, O) float32, and whether they were of one step alone (B = 1).

    observations: an array or tensor (N, O) or (B, N, O), or a list with one array per agent, each (O_i,) or (B, O_i),
    or a list of B such lists of one step, as which lists of lists of lists are read. In lists, shorter observations are
    padded with zeros, as in training.

    Raises PolicyError for another shape and for a value that is not a finite number.
    """
    if isinstance(observations, list | tuple):
        batched, rows = _from_list(observations, n_agents, size)
    else:
        rows = _numbers(observations, "observations")
        batched = rows.ndim == 3
        rows = rows if batched else rows[None]
    if rows.ndim != 3 or rows.shape[1:] != (n_agents, size) or not len(rows):
        shape = rows.shape if batched else rows.shape[1:]
        raise PolicyError(
            f"the observations have shape {shape}; this policy takes ({n_agents}, {size}) for one step or "
            f"(batch, {n_agents}, {size}), and shorter observations as a list with one entry per agent"
        )
    finite = np.isfinite(rows).all((0, 2))  # (N,)
    if not finite.all():
        raise PolicyError(f"the observation of agent {int(np.argmin(finite))} is not finite; check where it comes from")
    return rows, not batched


def _from_list(given: list[Any] | tuple[Any, ...], n_agents: int, size: int) -> tuple[bool, np.ndarray]:
    """Whether the list holds a batch, and its observations, (B, N, O)."""
    if given and isinstance(given[0], list | tuple) and len(given[0]) and np.ndim(given[0][0]):
        return True, np.stack([_step(step, n_agents, size) for step in given])
    own = _entries(given, n_agents, size)
    if {entry.ndim for entry in own} == {2}:
        lengths = {len(entry) for entry in own}
        if len(lengths) > 1:
            raise PolicyError(f"the agents have observations of {sorted(lengths)} episodes; give each agent as many")
        return True, np.stack([_padded(entry, size) for entry in own], axis=1)
    return False, _step(given, n_agents, size)[None]


def _step(given: Any, n_agents: int, size: int) -> np.ndarray:
    """One step's observations, a list with an entry (O_i,) per agent, as (N, O)."""
    own = _entries(given, n_agents, size)
    if {entry.ndim for entry in own} != {1}:
        raise PolicyError(
            f"a list of observations needs one entry per agent, each (size,) or each (batch, size), not "
            f"{[entry.shape for entry in own]}"
        )
    return np.stack([_padded(entry, size) for entry in own])


def _entries(given: Any, n_agents: int, size: int) -> list[np.ndarray]:
    if not isinstance(given, list | tuple) or len(given) != n_agents:
        count = len(given) if isinstance(given, list | tuple) else 1
        raise PolicyError(f"the list of observations has {count} entries; this policy has {n_agents} agents")
    own = [_numbers(entry, f"the observation of agent {i}") for i, entry in enumerate(given)]
    longest = max(entry.shape[-1] if entry.ndim else 0 for entry in own)
    if longest != size:
        raise PolicyError(
            f"the longest observation has {longest} numbers; the policy was trained with {size} and pads only the "
            "agents that have fewer"
        )
    return own


def _padded(entry: np.ndarray, size: int) -> np.ndarray:
    """Zeros at the end, (..., O_i) -> (..., O)."""
    return np.pad(entry, [(0, 0)] * (entry.ndim - 1) + [(0, size - entry.shape[-1])])


def availability(
    given: Any, lead: tuple[int, int], default: np.ndarray | None, n_actions: int, single: bool
) -> np.ndarray:
    """Available actions as zeros and ones (B, N, A). lead: (B, N). default: (N, A), what None stands for.

    Raises PolicyError for another shape or value, for an agent without any action, and for None without a default.
    """
    shape = (*lead, n_actions)
    if given is None:
        if default is None:
            raise PolicyError(
                "the agents of this policy did not always have the same actions in training; give avail_actions, 1 for "
                f"each action that an agent has now and 0 for others, of shape {shape[1:] if single else shape}"
            )
        return np.broadcast_to(default, shape).astype(np.int32)
    masks = _numbers(given, "avail_actions")
    masks = masks[None] if single else masks
    if masks.shape != shape:
        taken = shape[1:] if single else shape
        raise PolicyError(f"avail_actions has shape {masks.shape[1:] if single else masks.shape}; it must be {taken}")
    if not np.isin(masks, (0, 1)).all():
        raise PolicyError("avail_actions must hold 1 for an action that the agent has and 0 for any other")
    some = masks.any(-1).all(0)  # (N,)
    if not some.all():
        raise PolicyError(f"avail_actions leaves agent {int(np.argmin(some))} no action; every agent needs one")
    return masks.astype(np.int32)


def _numbers(given: Any, what: str) -> np.ndarray:
    """Anything array-like, tensors of any device among it, as float32."""
    try:
        if isinstance(given, Tensor):
            given = given.detach().cpu()
            given = (given if given.is_complex() else given.float()).numpy()  # numpy has no bfloat16
        if np.iscomplexobj(given):
            raise ValueError("complex numbers")
        return np.asarray(given, np.float32)
    except (ValueError, TypeError, RuntimeError) as error:
        raise PolicyError(f"{what} must be numbers in a regular array ({error})") from error
