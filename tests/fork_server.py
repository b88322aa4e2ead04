"""Scripts in processes of their own that start at once: a server process imports the libraries, then forks per script.

Importing torch and the rest takes three seconds, longer than most of what the tests run. The script itself runs as
`python -W ignore src/main.py ...` would run it: from its file, as `__main__`, with its own exit status and streams.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# What `src/main.py` imports, and what runs import later: the compiler with the first optimiser, matplotlib at the end.
IMPORTED_BEFORE = ("run", "utils.observers", "git", "torch._dynamo", "envs.mpe.mpe_env", "PIL.Image",
                   "matplotlib.backends.backend_agg", "matplotlib.figure")  # fmt: skip
KNOWN_BEFORE = ("loops.describe", "utils.versions", "sacred.dependencies")


def run_script(
    script: Path, arguments: Sequence[str], timeout: int = 120, signals: Sequence[tuple[float | str, int]] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a Python script in a forked process in the checkout; its status is -SIGALRM after `timeout` seconds.

    signals: signals to send, each with the seconds to wait before it, or with words of standard error to wait for; a
    process that has ended gets none. The first wait begins when the script has taken over signals, so that none comes
    between the fork and the script's first line, however busy the machine is.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        argv = [str(script), *arguments]
        request = {"argv": argv, "out": str(out), "err": str(err), "timeout": timeout, "signals": [*signals]}
        status = int(_ask(json.dumps(request)))
        return subprocess.CompletedProcess(argv, status, out.read_text(), err.read_text())


@functools.cache
def _server() -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", __file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def _ask(line: str) -> str:
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(f"{line}\n")
    server.stdin.flush()
    return server.stdout.readline()


def know_before() -> None:
    """Find out once what every run asks: about the installed packages, the imported files and this checkout."""
    describe, versions, dependencies = map(importlib.import_module, KNOWN_BEFORE)
    describe.sources()
    versions.installed_imports()
    if versions.commit() is None:
        return
    asked = dependencies.get_commit_if_possible
    here = asked(str(ROOT / "src" / "main.py"), True)

    def remembered(filename: str, save_git_info: bool) -> Any:
        """Sacred asks git about each file, which takes a quarter of a second."""
        return here if save_git_info and Path(filename).is_relative_to(ROOT / "src") else asked(filename, save_git_info)

    dependencies.get_commit_if_possible = remembered


def serve() -> list[str] | None:
    """Answer requests until the client is gone (None); in a forked process: return the script's command line."""
    sys.path.insert(0, str(ROOT / "src"))
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print when they are imported is no reply
    for name in IMPORTED_BEFORE:
        importlib.import_module(name)
    know_before()
    gc.freeze()  # a forked process that collects these objects would copy every page of them
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            replies.close()
            signal.alarm(request["timeout"])
            for number, name in enumerate((os.devnull, request["out"], request["err"])):
                os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY), number)
            return list(request["argv"])
        if request["signals"]:
            wait(functools.partial(handles_signals, child), child)
        for delay, number in request["signals"]:
            if isinstance(delay, str):
                wait(functools.partial(has_written, Path(request["err"]), delay), child)
            else:
                time.sleep(delay)
            os.kill(child, number)  # not waited for yet, so that its number is no other process's
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=replies, flush=True)
    return None


def wait(until: Callable[[], bool], child: int) -> None:
    """Wait until this is so, or a process has ended."""
    while not until() and not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        time.sleep(0.01)


def handles_signals(process: int) -> bool:
    """Whether a process has a handler for SIGTERM, which Python alone has not; True where there is no /proc."""
    state = Path(f"/proc/{process}/status")
    if not state.exists():
        return True
    caught = next(line for line in state.read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def has_written(file: Path, words: str) -> bool:
    return file.exists() and words in file.read_text()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    command = serve()
    if command is not None:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")
