"""How much memory is there, and what is refused or said when it is too little."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from utils import memory
from utils.errors import UserError
from utils.memory import MemoryShortage, free_memory, memory_errors, require_memory, size_text

SRC = Path(__file__).resolve().parents[2] / "src"
KB = 1024


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up /proc of a machine with 700 kB of available memory, 100 kB of swap, and no control groups."""
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:  900 kB\nMemFree:  100 kB\nMemAvailable:   700 kB\nSwapFree: 100 kB\n")
    monkeypatch.setattr(memory, "_PROC", proc)
    return proc


def test_the_page_cache_counts_as_free_and_swap_where_asked(machine: Path) -> None:
    assert free_memory() == 700 * KB
    assert free_memory(swap=True) == 800 * KB


@pytest.mark.parametrize("text", ["MemTotal:  900 kB\nMemFree:  100 kB\n", None])  # kernels before 3.14; other systems
def test_without_that_number_the_systems_free_pages_count(
    text: str | None, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "meminfo").unlink()
    if text is not None:
        (machine / "meminfo").write_text(text)
    sizes = {"SC_PAGE_SIZE": os.sysconf("SC_PAGE_SIZE"), "SC_AVPHYS_PAGES": 7}
    monkeypatch.setattr("os.sysconf", sizes.__getitem__)
    assert free_memory() == 7 * os.sysconf("SC_PAGE_SIZE")


def mount(machine: Path, kind: str, point: Path, own: str, root: str = "/") -> None:
    """Say that the control groups of this kind are at `point`, and the process in the group `own`."""
    options = "rw,memory" if kind == "cgroup" else "rw"
    (machine / "self" / "mountinfo").write_text(
        f"25 24 0:23 / /dev/shm rw,relatime - tmpfs tmpfs rw\n31 23 0:28 {root} {point} rw - {kind} {kind} {options}\n"
    )
    (machine / "self" / "cgroup").write_text(f"4:memory:{own}\n" if kind == "cgroup" else f"0::{own}\n")


def group(folder: Path, limit: str, used: int, cache: int, version: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current", "") if version == 2 else (
        "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
    )  # fmt: skip
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]}inactive_file {cache}\n{names[2]}active_file 1\n")


@pytest.mark.parametrize("version", [1, 2])
def test_the_tightest_of_nested_control_groups_counts(version: int, machine: Path, tmp_path: Path) -> None:
    top = tmp_path / "groups"
    unlimited = "max" if version == 2 else "9223372036854771712"
    group(top, unlimited, 9_000_000, 0, version)
    group(top / "a", "500000", 300_000, 99_999, version)
    group(top / "a" / "b", "400000", 100_000, 0, version)
    mount(machine, "cgroup2" if version == 2 else "cgroup", top, "/a/b")
    assert free_memory() == 300_000  # both leave as much; the page cache is not taken for good
    group(top / "a", "500000", 450_000, 49_999, version)
    assert free_memory() == 100_000
    group(top / "a" / "b", "400000", 500_000, 0, version)
    assert free_memory() == 0


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_group_is_found_where_only_its_top_is_visible(version: int, machine: Path, tmp_path: Path) -> None:
    top = tmp_path / "groups"
    group(top, "200000", 50_000, 0, version)
    mount(machine, "cgroup2" if version == 2 else "cgroup", top, "/docker/abc")
    assert free_memory() == 150_001
    mount(machine, "cgroup2" if version == 2 else "cgroup", top, "/docker/abc", root="/docker/abc")
    assert free_memory() == 150_001


@pytest.mark.parametrize("limit, name", [("RLIMIT_AS", "VmSize"), ("RLIMIT_DATA", "VmData")])
def test_limits_of_the_process_count(limit: str, name: str, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "self" / "status").write_text(f"Name:\tpython\n{name}:\t  60 kB\n")
    limits = {getattr(resource, limit): 100 * KB}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits.get(kind, resource.RLIM_INFINITY), -1))
    assert free_memory() == 40 * KB


def test_a_real_limit_is_seen() -> None:
    script = (
        "import resource, sys; sys.path.insert(0, sys.argv[1])\n"
        "from utils.memory import free_memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, -1))\n"
        "print(free_memory())\n"
    )
    found = subprocess.run([sys.executable, "-c", script, SRC], capture_output=True, text=True, check=True)
    assert 0 < int(found.stdout) < 1 << 30


def test_a_need_is_refused_beforehand_in_one_sentence(machine: Path) -> None:
    require_memory(800 * KB, "buffer_size=5", "lower buffer_size")
    with pytest.raises(MemoryShortage) as refusal:
        require_memory(800 * KB + 1, "buffer_size=5", "lower buffer_size")
    assert str(refusal.value) == "buffer_size=5 needs at least 819 KB and 819 KB are free; lower buffer_size"
    with pytest.raises(MemoryShortage, match="needs at least 1000000000000000 GB"):
        require_memory(10**24, "it", "no")


def test_on_a_gpu_its_own_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (1000, 9000))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda: 500)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda: 300)
    require_memory(1200, "it", "no", "cuda")
    with pytest.raises(MemoryShortage, match=r"1\.2 KB of GPU memory are free"):
        require_memory(1201, "it", "no", "cuda")


def allocate_with_numpy() -> None:
    np.empty(1 << 50)


def allocate_with_torch() -> None:
    import torch as th

    th.empty(1 << 50)


def overflow_with_torch() -> None:
    import torch as th

    th.empty(1 << 62, 1 << 62)


@pytest.mark.parametrize("allocate", [allocate_with_numpy, allocate_with_torch, overflow_with_torch])
def test_memory_that_runs_out_is_one_sentence(allocate) -> None:
    with pytest.raises(UserError, match=r"^memory ran out \(.+\); lower it$") as refusal, memory_errors("lower it"):
        allocate()
    assert "\n" not in str(refusal.value)


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="^mat1 and mat2$"), memory_errors("lower it"):
        raise RuntimeError("mat1 and mat2")


@pytest.mark.parametrize(
    "size, text", [(5, "5 bytes"), (1500, "1.5 KB"), (278 * 10**9, "278 GB"), (10**13, "10000 GB")]
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert size_text(size) == text
