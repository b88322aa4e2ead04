"""Bytes that episodes and batches of a scheme take in memory."""

from __future__ import annotations

from math import prod

import torch as th

from components.scheme import Groups, Scheme
from modules.layers.sizes import shape_of


def row_bytes(scheme: Scheme, groups: Groups) -> int:
    """Bytes of one time step of one episode, every entry of the scheme counted."""
    total = 0
    for field in scheme.values():
        values = prod(shape_of(field["vshape"])) * groups.get(field.get("group", ""), 1)
        total += values * field.get("dtype", th.float32).itemsize
    return total
