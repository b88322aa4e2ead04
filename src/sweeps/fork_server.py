"""A process that imports what runs need, once, and then forks one process per run; started by `sweeps.forks`.

It has one thread, so that forking is safe. Requests are lines of JSON on its standard input, replies on its output. It
ends when its input does, and its runs with it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[1]
# What `main.py` imports, and what runs import later: the compiler with the first optimiser, matplotlib at the end.
IMPORTED = ("run", "utils.observers", "git", "torch._dynamo", "envs.mpe.mpe_env", "PIL.Image",
            "matplotlib.backends.backend_agg", "matplotlib.figure", "sweeps.child")  # fmt: skip
_POLL_SECONDS = 0.1


def serve() -> list[str] | None:
    """Answer requests until the client is gone (None); in a forked process: return the run's command line."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # Ray blocks some for what it starts
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the client decides
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        for name in IMPORTED:
            importlib.import_module(name)
    gc.freeze()  # a forked process that collects these objects would copy every page of them
    children: dict[int, int] = {}  # processes and the requests that they are for
    rest = b""
    while True:
        if select.select([0], [], [], _POLL_SECONDS)[0]:
            received = os.read(0, 1 << 16)
            if not received:
                return None
            *lines, rest = (rest + received).split(b"\n")
            for line in lines:
                request = json.loads(line)
                if "signal" in request:
                    for pid, number in children.items():
                        if number == request["number"]:
                            os.kill(pid, request["signal"])  # not waited for yet, so the number is no other process's
                    continue
                server, child = os.getpid(), os.fork()
                if child == 0:
                    replies.close()
                    return _forked(request["job"], server)
                children[child] = request["number"]
        for pid in list(children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                reply = {"number": children.pop(pid), "status": os.waitstatus_to_exitcode(status)}
                print(json.dumps(reply), file=replies, flush=True)


def _forked(fields: dict[str, Any], server: int) -> list[str]:
    from sweeps.child import become
    from sweeps.job import Job

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return become(Job(**fields), server)


if __name__ == "__main__":
    sys.path[0] = str(SOURCE)
    command = serve()
    if command is not None:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")
