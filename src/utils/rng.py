"""The process-wide random streams, as plain values that a checkpoint can hold and never has to unpickle."""

import random
from typing import Any

import numpy as np
import torch as th


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's global streams (stock seeds the last two)."""
    random.seed(seed)
    np.random.seed(seed)
    th.manual_seed(seed)


def rng_state() -> dict[str, Any]:
    """The global streams' states: tensors and numbers only."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    version, internal, gauss_next = random.getstate()
    return {
        "python": {"version": version, "internal": list(internal), "gauss_next": gauss_next},
        "numpy": {
            "name": str(name),
            "keys": th.from_numpy(np.asarray(keys).astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "torch": th.get_rng_state(),
        "cuda": th.cuda.get_rng_state_all() if th.cuda.is_available() else [],
    }


def load_rng_state(state: dict[str, Any]) -> None:
    """Set the global streams as `rng_state` recorded them; CUDA's for the devices that are here."""
    python, numpy_state = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["internal"]), python["gauss_next"]))
    np.random.set_state(
        (
            numpy_state["name"],
            numpy_state["keys"].cpu().numpy().astype(np.uint32),
            numpy_state["position"],
            numpy_state["has_gauss"],
            numpy_state["cached"],
        )
    )
    th.set_rng_state(state["torch"].cpu())
    for index, tensor in enumerate(state["cuda"][: th.cuda.device_count()]):  # a run computes on the first
        th.cuda.set_rng_state(tensor.cpu(), index)
