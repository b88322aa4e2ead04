"""A process that has imported everything and forks one child per case, so that a case costs milliseconds.

`python tests/robustness/server.py` reads requests as lines of JSON and answers each with what became of the child.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
IMPORTED_BEFORE = ("main", "dataset", "policy", "track", "deployment.export", "deployment.play", "PIL.Image",
                   "mongomock.gridfs", "stock.plug_into", "datasets.loading", "envs.matrix_game", "torch._dynamo",
                   "matplotlib.backends.backend_agg", "matplotlib.figure", "tests.robustness.readers")  # fmt: skip
ADDRESS_SPACE = 12 << 30  # above the start, so that a reader without bounds harms itself and not this machine
DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2  # capabilities by which root ignores permissions


def serve() -> None:
    """Answer requests until the client is gone."""
    sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print when they are imported is no reply
    for name in IMPORTED_BEFORE:
        importlib.import_module(name)
    readers = importlib.import_module("tests.robustness.readers").READERS
    gc.collect()
    gc.freeze()  # a forked process that collects these objects would copy every page of them
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        print(json.dumps(attempt(readers[request["reader"]], request)), file=replies, flush=True)


def attempt(reader: Callable[..., int], request: dict[str, Any]) -> dict[str, Any]:
    """Fork a child that runs the reader; return its status, output and costs."""
    (out, write_out), (err, write_err), (start, write_start) = os.pipe(), os.pipe(), os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        for number, end in enumerate((os.open(os.devnull, os.O_RDONLY), write_out, write_err)):
            os.dup2(end, number)
        answer(reader, request, write_start)
    for end in (write_out, write_err, write_start):
        os.close(end)
    texts = read_all((start, out, err))
    _, status, usage = os.wait4(child, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "out": texts[1],
        "err": texts[2],
        "cpu": usage.ru_utime + usage.ru_stime,
        "wall": time.monotonic() - started,
        "megabytes": max(0, usage.ru_maxrss * 1024 - int(texts[0])) / 1e6,
    }


def read_all(ends: tuple[int, ...]) -> list[str]:
    """Read pipes until no process holds their other end; of each the first megabyte is kept."""
    texts = dict.fromkeys(ends, b"")
    with selectors.DefaultSelector() as selector:
        for end in ends:
            selector.register(end, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                piece = os.read(key.fd, 1 << 16)
                texts[key.fd] += piece if len(texts[key.fd]) < 1 << 20 else b""
                if not piece:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return [texts[end].decode("utf-8", "backslashreplace") for end in ends]


def answer(reader: Callable[..., int], request: dict[str, Any], start: int) -> None:
    """Run the reader in this child as a script would be run, and end with its status. start: takes the memory used."""
    os.setpgrp()  # a signal to its group is its own affair
    signal.alarm(request["timeout"])
    os.chdir(request["folder"])
    limit(request)
    os.write(start, str(resident()).encode())
    os.close(start)
    code = 1
    try:
        code = reader(*request["arguments"])
    except SystemExit as end:  # argparse's way to refuse
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    gc.collect()  # what an object says when it goes belongs to the output
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def limit(request: dict[str, Any]) -> None:
    """Bound this process's memory and, where the case says so, its files and its rights."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESS_SPACE, -1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if request["largest_file"] is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does: writing then fails as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"], request["largest_file"]))
    if request["unprivileged"] and os.getuid() == 0:
        obey_permissions()


def obey_permissions() -> None:
    """Give up root's right to pass over permissions, but not its name, which the interpreter's own files need."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capget(header, data):
        raise OSError(ctypes.get_errno(), "capget")
    for word in (0, 1):  # effective and permitted
        data[word] &= ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
    if libc.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve()
