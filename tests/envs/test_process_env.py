"""Environments in processes of their own where the system has no room for one more."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from envs.process_env import ProcessVectorEnv
from utils.errors import EnvError


def refusing_the_second(real: Callable[..., Any], code: int, made: list[Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if made:
            raise OSError(code, os.strerror(code))
        made.append(real(*args, **kwargs))
        return made[-1]

    return call


@pytest.mark.parametrize(
    ("module", "name", "code", "words"),
    [
        (socket, "socketpair", errno.EMFILE, "too many open files"),
        (subprocess, "Popen", errno.EAGAIN, "resource temporarily unavailable"),
    ],
)
def test_a_process_too_many_is_one_sentence(
    module: Any, name: str, code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes: list[Any] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: processes.append(popen(*a, **k)) or processes[-1])
    monkeypatch.setattr(module, name, refusing_the_second(getattr(module, name), code, []))
    sentence = rf"process 1 of the environments cannot be started \({words}\): lower batch_size_run"
    with pytest.raises(EnvError, match=sentence):
        ProcessVectorEnv(3, "matrix_game", {"key": "penalty"})
    assert [process.returncode is None for process in processes] == [False]  # the first is not left behind
