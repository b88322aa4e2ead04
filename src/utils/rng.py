"""The process-wide random streams, as plain values that a checkpoint can hold and never has to unpickle."""

import logging
import random
from typing import Any

import numpy as np
import torch as th

_LOG = logging.getLogger(__name__)
# How many bytes a generator's saved state has: by this it tells what kind of device drew.
STATE_BYTES = {"cpu": 5056, "cuda": 16}


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
            numpy_state["keys"].numpy().astype(np.uint32),
            numpy_state["position"],
            numpy_state["has_gauss"],
            numpy_state["cached"],
        )
    )
    th.set_rng_state(state["torch"])
    for index, tensor in enumerate(state["cuda"][: th.cuda.device_count()]):  # a run computes on the first
        th.cuda.set_rng_state(tensor, index)


def load_generator(generator: th.Generator, state: th.Tensor, update: int, whose: str, keys: str) -> None:
    """Let `generator` go on from `state`; anew, from its seed and `update`, where another kind of device drew before.

    The states of a CPU's and a GPU's generators do not fit each other, so a run that changes devices cannot have the
    same draws: a warning says so. whose, keys: for the warning, the stream and the keys that choose its device.
    Raises RuntimeError for a state that is neither kind's.
    """
    here = generator.device.type
    drew = next((kind for kind, size in STATE_BYTES.items() if state.numel() == size), here)
    if drew == here:
        generator.set_state(state)
        return
    seeds = (generator.initial_seed(), update)
    generator.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]))
    _LOG.warning(
        f"Continuing is not bit-exact: {keys} changed the device that draws for {whose} from {drew} to {here}, so its "
        f"random stream starts anew from the seed and update {update}"
    )
