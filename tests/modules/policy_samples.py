"""Policies of each kind on small bounds, random outputs and availability, and samples."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor

from modules.policies import REGISTRY
from modules.policies.base_policy import Policy

F64 = th.float64
LOW, HIGH = th.tensor([-1.0, -2.0, 1.0], dtype=F64), th.tensor([1.0, 3.0, 1.5], dtype=F64)  # 0 lies outside the last
HALF, A = (HIGH - LOW) / 2, 3
EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}
KINDS = tuple(REGISTRY)
DISCRETE = tuple(kind for kind in KINDS if not REGISTRY[kind].continuous)
CONTINUOUS = tuple(kind for kind in KINDS if REGISTRY[kind].continuous)
GAUSSIANS = ("gaussian", "tanh_gaussian")


def make(kind: str, **keys: Any) -> Any:
    args = SimpleNamespace(n_actions=A, action_low=LOW.tolist(), action_high=HIGH.tolist(), device="cpu")
    return REGISTRY[kind](args, **keys).to(F64)


def random(*shape: int, seed: int = 0) -> Tensor:
    return th.randn(*shape, generator=th.Generator().manual_seed(seed), dtype=F64)


def uniform(*shape: int) -> Tensor:
    return th.rand(*shape, generator=th.Generator().manual_seed(9), dtype=F64)


def masks(*lead: int, seed: int = 0) -> Tensor:
    """Availability (*lead, A) as batches hold it, with one action or more in every row."""
    generator = th.Generator().manual_seed(seed)
    mask = th.randint(2, (*lead, A), generator=generator, dtype=th.int)
    return mask | th.nn.functional.one_hot(th.randint(A, lead, generator=generator), A).int()


def outputs_of(kind: str, available: Tensor, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Outputs as controllers return them, (..., P): probabilities of available actions where the kind has those."""
    raw = scale * random(*available.shape[:-1], REGISTRY[kind].outputs_per_action * A, seed=seed)
    return raw.masked_fill(available == 0, -th.inf).softmax(-1) if kind == "pi_logits" else raw


def draw(policy: Policy, outputs: Tensor, available: Tensor, n: int, seed: int = 0) -> Tensor:
    """n samples of one row's policy, (n, A)."""
    noise = policy.make_noise((n,), th.Generator().manual_seed(seed), "cpu").to(F64)
    return policy.sample(outputs.expand(n, -1), available.expand(n, -1), noise)


def gaussian_outputs(mean: Tensor, log_std: Tensor, kind: str) -> Tensor:
    """Outputs (..., 2A) of a given mean before tanh and a given logarithm of the standard deviation."""
    low, high = -5.0, 1.0 if kind == "gaussian" else 2.0
    return th.cat([mean, th.atanh(2 * (log_std - low) / (high - low) - 1)], dim=-1)
