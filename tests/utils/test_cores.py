"""What `threads` means."""

from __future__ import annotations

from typing import Any

import pytest

from loops.continuation import FREE_TO_CHANGE
from loops.earlier import FREE_TO_PLAY
from loops.identity import WITHOUT_EFFECT
from reporting.sacred_runs import BOOKKEEPING
from utils import cores
from utils.errors import ConfigError
from utils.progress import FILE_VARIABLE
from utils.run_keys import RUN_KEYS


@pytest.mark.parametrize(
    ("environment", "threads", "expected"),
    [
        ({}, "auto", 8),
        ({"OMP_NUM_THREADS": "2"}, "auto", 2),
        ({"OMP_NUM_THREADS": "2,4"}, "auto", 2),
        ({"OMP_NUM_THREADS": "64"}, "auto", 8),
        ({"OMP_NUM_THREADS": "many"}, "auto", 8),
        ({FILE_VARIABLE: "progress.json"}, "auto", 1),
        ({FILE_VARIABLE: "progress.json", "OMP_NUM_THREADS": "1"}, 3, 3),
        ({}, 1, 1),
    ],
)
def test_auto_is_every_core_of_a_single_run(
    environment: dict[str, str], threads: Any, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", FILE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cores, "cores", lambda: 8)
    assert cores.update_threads(threads) == expected


@pytest.mark.parametrize(("value", "expected"), [("auto", "auto"), (2, 2), ("3", 3), (1e1, 10)])
def test_threads_are_auto_or_a_count(value: Any, expected: Any) -> None:
    assert RUN_KEYS["threads"].check("threads", value) == expected


@pytest.mark.parametrize("value", [0, -1, 1.5, "all", None, True])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="threads=.*: this must be a whole number of at least 1, or auto"):
        RUN_KEYS["threads"].check("threads", value)


def test_threads_make_no_other_run() -> None:
    assert "threads" in {*FREE_TO_CHANGE} & WITHOUT_EFFECT & BOOKKEEPING & {*FREE_TO_PLAY["machine"]}
