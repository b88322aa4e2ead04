"""Memory: how much a process may still take, needs that are refused before anything is allocated, and running out."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.errors import UserError, printable

_PROC = Path("/proc")
_CACHE = ("inactive_file", "active_file")  # page cache, which the kernel gives up where memory is short
_UNLIMITED = 1 << 60  # version 1 says "no limit" with a number above this
# File names of limit and usage, and the prefix of the lines of memory.stat that count a group's children too.
_NAMES = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"), 2: ("memory.max", "memory.current", "")}
# How torch words a failed allocation: on the CPU, on a GPU, and where the size overflows.
_TORCH_WORDS = ("can't allocate memory", "not enough memory", "CUDA out of memory", "Storage size calculation overflow")


class MemoryShortage(UserError):
    """More memory is needed than there is."""


def require_memory(need: int, what: str, remedy: str, device: str = "cpu") -> None:
    """Raise MemoryShortage, one sentence, where `need` bytes are more than `device` has left.

    what: what needs them, with the key and value at fault. remedy: what to do, such as "lower batch_size". Swap counts,
    so that nothing is refused that could run.
    """
    there = free_gpu_memory() if device == "cuda" else free_memory(swap=True)
    if need > there:
        where = "of GPU memory are free" if device == "cuda" else "are free"
        raise MemoryShortage(f"{what} needs at least {size_text(need)} and {size_text(there)} {where}; {remedy}")


@contextmanager
def memory_errors(remedy: str) -> Iterator[None]:
    """Turn a failed allocation of Python, NumPy or torch inside the block into MemoryShortage, one sentence."""
    try:
        yield
    except MemoryError as error:
        raise MemoryShortage(f"memory ran out ({_words(error)}); {remedy}") from error
    except RuntimeError as error:
        if not any(words in str(error) for words in _TORCH_WORDS):
            raise
        raise MemoryShortage(f"memory ran out ({_words(error)}); {remedy}") from error


def free_memory(swap: bool = False) -> int:
    """Bytes that this process can still take: the least of what the machine, its control groups and its limits leave.

    The page cache counts as free, as the kernel can give it up. swap: whether the machine's free swap counts too.
    """
    return max(0, min([_machine(swap), *_control_groups(), *_process_limits()]))


def free_addresses() -> int | None:
    """Bytes that the limits of this process leave of its address space and of its data; None where there is no limit.

    Mappings of files take of it, whatever memory is free.
    """
    left = _process_limits()
    return max(0, min(left)) if left else None


def free_gpu_memory() -> int:
    """Free bytes of the current GPU."""
    import torch as th  # here, as the command line for datasets does without torch

    free, _ = th.cuda.mem_get_info()
    # what torch's allocator holds and has not handed out is there as well
    return int(free) + th.cuda.memory_reserved() - th.cuda.memory_allocated()


def size_text(size: int) -> str:
    """A number of bytes for people, such as "1.5 GB"."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= factor:
            return f"{size // factor} {unit}" if size >= 1000 * factor else f"{size / factor:.3g} {unit}"
    return f"{size} bytes"


def _words(error: BaseException) -> str:
    """An allocation error's own words, the first sentence of them."""
    text = printable(str(error)).strip() or type(error).__name__
    return text.split(". ")[0] if "out of memory" in text else text[-200:]


def _machine(swap: bool) -> int:
    """Memory that is free or can be freed without swapping, from Linux's /proc where there is one."""
    found: dict[str, int] = {}
    for line in _lines(_PROC / "meminfo"):
        name, _, amount = line.partition(":")
        found[name] = int(amount.removesuffix("kB")) * 1024 if amount.endswith("kB") else 0
    available = found.get("MemAvailable", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
    return available + (found.get("SwapFree", 0) if swap else 0)


def _control_groups() -> list[int]:
    """What each limited control group that this process is in leaves, its parents' limits among them (v1 and v2)."""
    left: list[int] = []
    for version, folder, top in _group_folders():
        names = _NAMES[version]
        while True:
            limit = _number(folder / names[0])
            if limit is not None and limit < _UNLIMITED:
                left.append(limit - _used(folder, names))
            if folder == top:
                break
            folder = folder.parent
    return left


def _group_folders() -> Iterator[tuple[int, Path, Path]]:
    """Version, folder and topmost visible folder of the memory control groups of this process."""
    own = {}  # version: the group's path
    for line in _lines(_PROC / "self" / "cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            own[1] = path
        elif number == "0" and not controllers:
            own[2] = path
    for line in _lines(_PROC / "self" / "mountinfo"):
        fields, _, kind = line.partition(" - ")
        kind_name, *_, options = kind.split(" ")
        version = {"cgroup": 1, "cgroup2": 2}.get(kind_name)
        if version not in own or (version == 1 and "memory" not in options.split(",")):
            continue
        root, point = (text.replace("\\040", " ") for text in fields.split(" ")[3:5])
        path = own[version]
        within = path[len(root.rstrip("/")) :] if path.startswith(root) else path
        top = Path(point)
        folder = top / within.strip("/")
        # in a container the group's path may be the host's, of which only the mounted top is visible
        yield version, folder if folder.is_dir() and ".." not in folder.parts else top, top


def _used(folder: Path, names: tuple[str, str, str]) -> int:
    """What a group has taken, less its page cache."""
    cache = 0
    for line in _lines(folder / "memory.stat"):
        name, _, amount = line.partition(" ")
        if name in [names[2] + part for part in _CACHE]:
            cache += int(amount)
    return (_number(folder / names[1]) or 0) - cache


def _process_limits() -> list[int]:
    """What RLIMIT_AS and RLIMIT_DATA leave."""
    taken = {}
    for line in _lines(_PROC / "self" / "status"):
        name, _, amount = line.partition(":")
        if name in ("VmSize", "VmData"):
            taken[name] = int(amount.removesuffix("kB")) * 1024
    left = []
    for limit, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            left.append(soft - taken.get(name, 0))
    return left


def _number(path: Path) -> int | None:
    """The number in a file; None where there is none, such as "max"."""
    text = "".join(_lines(path)[:1])
    return int(text) if text.isdigit() else None


def _lines(path: Path) -> list[str]:
    """Lines of a file of the kernel; none where this kernel does not have it or does not show it."""
    try:
        return [line.strip() for line in path.read_text(errors="replace").splitlines()]
    except OSError:
        return []
