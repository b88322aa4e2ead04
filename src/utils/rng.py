"""Process-wide random streams, as plain values that a checkpoint can hold without pickling."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch as th

_LOG = logging.getLogger(__name__)
NUMPY_KEYS = 624  # numbers in the state of numpy's global stream
# Size of a generator's state in bytes, which tells the kind of device that it is from.
STATE_BYTES = {"cpu": 5056, "cuda": 16}


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's global streams (stock EPyMARL seeds the last two)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # the seeds that numpy's stream accepts
    th.manual_seed(seed)


@contextmanager
def seeded_apart(seed: int) -> Iterator[None]:
    """Seed the global streams inside of the block, and leave them outside as they are."""
    state = rng_state()
    try:
        seed_everything(seed)
        yield
    finally:
        load_rng_state(state)


def rng_state() -> dict[str, Any]:
    """States of the global streams, as tensors and numbers."""
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
    """Set the global streams to what `rng_state` returned; CUDA's for the devices of this machine.

    Raises ValueError, TypeError, KeyError or RuntimeError for what is no such state.
    """
    _set_streams(state, random, np.random, th.default_generator)
    for index, tensor in enumerate(state["cuda"][: th.cuda.device_count()]):  # a run uses the first
        th.cuda.set_rng_state(tensor, index)


def check_rng_state(state: dict[str, Any]) -> None:
    """Raise what `load_rng_state` raises for what is no such state, and leave the global streams as they are."""
    _set_streams(state, random.Random(), np.random.RandomState(), th.Generator())
    for tensor in state["cuda"][: th.cuda.device_count()]:
        _check_bytes(tensor)


def _set_streams(state: dict[str, Any], python_stream: Any, numpy_stream: Any, torch_stream: Any) -> None:
    """Set streams of Python, numpy and torch on the CPU to what `rng_state` returned."""
    python, numpy_state = state["python"], state["numpy"]
    if not 0 <= numpy_state["position"] <= len(numpy_state["keys"]) == NUMPY_KEYS:  # numpy reads there unchecked
        raise ValueError("numpy's random stream is out of range")
    if not isinstance(python["gauss_next"], float | None) or not isinstance(state["cuda"], list):
        raise ValueError("Python's or CUDA's random streams are of another kind")
    python_stream.setstate((python["version"], tuple(python["internal"]), python["gauss_next"]))
    numpy_stream.set_state(
        (
            numpy_state["name"],
            numpy_state["keys"].numpy().astype(np.uint32),
            numpy_state["position"],
            numpy_state["has_gauss"],
            numpy_state["cached"],
        )
    )
    torch_stream.set_state(state["torch"])


def check_generator(state: th.Tensor) -> None:
    """Raise what `load_generator` raises for a state of neither a CPU's nor a GPU's generator."""
    _check_bytes(state)
    if state.numel() != STATE_BYTES["cuda"]:
        th.Generator().set_state(state)


def _check_bytes(state: Any) -> None:
    if not isinstance(state, th.Tensor) or state.dtype != th.uint8:
        raise TypeError("a random stream's state is no tensor of bytes")


def load_generator(generator: th.Generator, state: th.Tensor, update: int, whose: str, keys: str) -> None:
    """Set `generator` to `state`, or seed it from its own seed and `update` where the state is of another device.

    A CPU's generator cannot take the state of a GPU's, nor the reverse. A run that changes devices therefore continues
    with other random numbers, of which a warning is logged. whose, keys: for the warning, the stream and the keys that
    choose its device. Raises RuntimeError for a state of neither kind.
    """
    here = generator.device.type
    saved_on = next((kind for kind, size in STATE_BYTES.items() if state.numel() == size), here)
    if saved_on == here:
        generator.set_state(state)
        return
    seeds = (generator.initial_seed(), update)
    generator.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]))
    _LOG.warning(
        f"continuing is not bit-exact: {keys} changed the device of the random stream for {whose} from {saved_on} to "
        f"{here}, so it starts anew from the seed and update {update}"
    )
