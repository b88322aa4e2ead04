"""The measure of waiting, on programs of which it is known how long they wait."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tracking.idle import idle_until_end

pytestmark = pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="needs Linux's /proc")
BURN = "import time; end = time.process_time() + 0.4\nwhile time.process_time() < end: pass"


def idle_of(code: str) -> float:
    return idle_until_end(subprocess.Popen([sys.executable, "-S", "-c", code], text=True), 60)


def test_waiting_counts_and_work_does_not() -> None:
    assert idle_of("import time; time.sleep(0.4)") > 0.3
    assert idle_of(BURN) < 0.2


def test_work_of_a_child_and_of_a_thread_is_work() -> None:
    assert idle_of(f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {BURN!r}])") < 0.2
    thread = (
        f"import threading; burner = threading.Thread(target=exec, args=({BURN!r},)); burner.start(); burner.join()"
    )
    assert idle_of(thread) < 0.2


def test_a_process_without_end_fails() -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], text=True)
    try:
        with pytest.raises(AssertionError, match="has not ended"):
            idle_until_end(process, 0.2)
    finally:
        process.kill()
        process.wait()
