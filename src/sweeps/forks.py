"""The client of a fork server: asks for runs, each in a process of its own, and learns how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from sweeps.job import Job
from sweeps.places import LAST_LINES

SERVER = Path(__file__).resolve().parent / "fork_server.py"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
GONE = None  # how a run ended whose server is gone: nobody waited for it
Ends = dict[int, Future[int | None]]


class Forks:
    """A fork server and its client; it may be used from several threads.

    A server that ended is started again by the next request. The processes of runs end with their server.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._waiting: Ends = {}  # of the server at work
        self._number = 0
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this is

    def start(self) -> None:
        """Start the server where none is at work; it imports in the background."""
        with self._lock:
            self._running()

    def fork(self, job: Job) -> tuple[int, Future[int | None]]:
        """Have a run begun; returns its number, for `send`, and its exit status to come, GONE where nobody knows it."""
        with self._lock:
            server = self._running()
            self._number += 1
            future: Future[int | None] = Future()
            self._waiting[self._number] = future
            self._ask(server, {"number": self._number, "job": job.plain()})
            return self._number, future

    def send(self, number: int, signal_number: int) -> None:
        """Send a signal to a run that has not ended; nothing happens where it has."""
        with self._lock:
            if number in self._waiting and self._server is not None:
                self._ask(self._server, {"number": number, "signal": signal_number})

    def last_words(self) -> list[str]:
        """The last lines that the server itself printed, such as why it could not start."""
        with self._lock:
            self._errors.seek(0)
            return self._errors.read().decode("utf-8", "replace").splitlines()[-LAST_LINES:]

    def close(self) -> None:
        """End the server, and with it whatever still runs."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            assert server.stdin is not None
            with suppress(BrokenPipeError):
                server.stdin.close()
            server.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._server is None or self._server.poll() is not None:
            self._server = subprocess.Popen(
                [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                env={**os.environ, **ONE_THREAD},
            )  # fmt: skip
            self._waiting = {}
            threading.Thread(target=self._listen, args=(self._server, self._waiting), daemon=True).start()
        return self._server

    def _ask(self, server: subprocess.Popen[bytes], request: dict[str, object]) -> None:
        """Write a request. Where the server is gone, its last reply was the last: the listener says so to all."""
        assert server.stdin is not None
        with suppress(BrokenPipeError):
            server.stdin.write(json.dumps(request).encode() + b"\n")
            server.stdin.flush()

    def _listen(self, server: subprocess.Popen[bytes], waiting: Ends) -> None:
        """Hand on replies; when they end, so did every run that is waited for."""
        assert server.stdout is not None
        for line in server.stdout:
            reply = json.loads(line)
            with self._lock:
                future = waiting.pop(reply["number"])
            future.set_result(reply["status"])
        server.wait()  # from here on the next request starts another one
        with self._lock:
            left = list(waiting.values())
            waiting.clear()
        for future in left:
            future.set_result(GONE)
