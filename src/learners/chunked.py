"""A loss in parts: chunks of the batch, done one after the other or by several threads, and added up in their order."""

from collections.abc import Callable, Iterator

from torch import Tensor

from modules.threads import enough_for_all, number_of_threads, spread

Chunk = slice | None
Part = tuple[Tensor, list[Tensor], dict[str, Tensor]]  # a chunk's share of loss, gradients and mean statistics
AT_ONCE = 4  # chunks per thread whose gradients are kept before they are added up


def each_chunk(compute: Callable[[Chunk], Part], cut: list[Chunk], apart: bool) -> Iterator[Part]:
    """What `compute` makes of each chunk, in their order.

    apart: whether threads may do chunks at the same time. They do where there are as many chunks as threads at least;
    where there are fewer, threads are left to share what is inside of a chunk.
    """
    if not apart or not enough_for_all(len(cut)):
        yield from map(compute, cut)
        return
    size = AT_ONCE * number_of_threads()
    for start in range(0, len(cut), size):
        group = cut[start : start + size]
        made: dict[int, Part] = {}

        def work(pieces: Iterator[int], group: list[Chunk] = group, made: dict[int, Part] = made) -> None:
            for piece in pieces:
                made[piece] = compute(group[piece])

        spread(work, len(group))
        yield from (made[piece] for piece in range(len(group)))


def added_up(parts: Iterator[Part]) -> Part:
    """The loss, gradients and statistics of the whole batch: sums in the order of the chunks, at least one."""
    loss, gradients, stats = next(parts)
    for value, part_gradients, means in parts:
        loss = loss + value
        for whole, addend in zip(gradients, part_gradients, strict=True):
            whole.add_(addend)
        stats = {key: stats[key] + mean for key, mean in means.items()}
    return loss, gradients, stats
