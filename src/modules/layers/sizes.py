"""Sizes of the entries of a scheme."""

import math
from collections.abc import Mapping
from typing import Any

Shape = int | tuple[int, ...]


def shape_of(vshape: Any) -> tuple[int, ...]:
    """A `vshape` as a tuple; EPyMARL's schemes also have plain integers."""
    return (int(vshape),) if isinstance(vshape, int) else tuple(int(size) for size in vshape)


def size_of(vshape: Any) -> int:
    """Number of values that a `vshape` describes."""
    return math.prod(shape_of(vshape))


def field_size(scheme: Mapping[str, Mapping[str, Any]], key: str) -> int:
    """Number of values of a scheme's entry per step, or per step and agent where the entry is per agent."""
    return size_of(scheme[key]["vshape"])
