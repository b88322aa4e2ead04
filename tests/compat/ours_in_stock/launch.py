"""Runs commands in checkouts, one after the other, each in a fork of a process that has the libraries loaded.

argv: a JSON file with a list of {"cwd", "argv", "log"}; exit codes go to the same file. Not imported by tests.
A word that ends in `*` stands for the one path that it matches, such as what an earlier command saved.
"""

from __future__ import annotations

import glob
import json
import os
import runpy
import sys
import traceback
from pathlib import Path

import gymnasium  # noqa: F401  loaded for the forks
import h5py  # noqa: F401
import numpy  # noqa: F401
import sacred  # noqa: F401
import torch
import torch._dynamo
import yaml  # noqa: F401


def child(cwd: str, argv: list[str], log: str) -> int:
    os.chdir(cwd)
    with open(log, "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        sys.argv, sys.path[0] = [matched(word) for word in argv], os.path.join(cwd, "src")
        runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0) if not isinstance(stop.code, str) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def matched(word: str) -> str:
    if not word.endswith("*"):
        return word
    key, _, pattern = word.rpartition("=")
    (path,) = glob.glob(pattern)
    return f"{key}={path}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    jobs = Path(sys.argv[1])
    codes = []
    for job in json.loads(jobs.read_text(encoding="utf-8")):
        pid = os.fork()
        if pid == 0:
            code = child(**job)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    jobs.write_text(json.dumps(codes), encoding="utf-8")
