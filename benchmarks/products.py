"""Matrix products among the operations that torch's profiler records: which they are, their time and their work."""

import math
import time

import torch as th

PRODUCTS = frozenset(
    f"aten::{name}{how}" for name in ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv") for how in ("", "_")
)
LINEAR = frozenset({"aten::mkldnn_linear", "mkldnn::_linear_pointwise"})
PRODUCTS |= LINEAR
SIZE = 1024  # of the matrices whose product gives the peak


def self_times(events: list[tuple[int, int, str]]) -> dict[str, int]:
    """Self time by name, without events inside. events: (start, -duration, name) of one thread."""
    own: dict[str, int] = {}
    around: list[tuple[int, str]] = []  # (end, name) of the events that have not ended
    for start, negative, name in sorted(events):
        while around and around[-1][0] <= start:
            around.pop()
        if around:
            own[around[-1][1]] += negative
        own[name] = own.get(name, 0) - negative
        around.append((start - negative, name))
    return own


def flops(name: str, shapes: list[list[int]]) -> int:
    """Multiplications and additions of one product, by the name of its operation and the shapes of its operands."""
    if name in LINEAR:
        return 2 * math.prod(shapes[0]) * shapes[1][0]
    first = 1 if "add" in name else 0  # behind what is added to
    left, right = shapes[first : first + 2]
    return 2 * math.prod(left) * (right[-1] if len(right) > 1 else 1)


def peak() -> float:
    """GFLOP/s of one large product on one thread, the best of several."""
    left, right, best = th.ones(SIZE, SIZE), th.ones(SIZE, SIZE), math.inf
    for _ in range(10):
        start = time.process_time()
        th.mm(left, right)
        best = min(best, time.process_time() - start)
    return 2 * SIZE**3 / best / 1e9
