"""Sizes of a scheme's entries and of what stands on `args` in their place."""

import math
from collections.abc import Mapping
from typing import Any

Shape = int | tuple[int, ...]


def shape_of(vshape: Any) -> tuple[int, ...]:
    """A `vshape` as a tuple; EPyMARL's schemes also have plain lengths."""
    return (int(vshape),) if isinstance(vshape, int) else tuple(int(size) for size in vshape)


def size_of(vshape: Any) -> int:
    """How many numbers a `vshape` stands for."""
    return math.prod(shape_of(vshape))


def field_size(scheme: Mapping[str, Mapping[str, Any]], key: str) -> int:
    """How many numbers one value of a scheme's entry has (per agent, where the entry is one per agent)."""
    return size_of(scheme[key]["vshape"])
