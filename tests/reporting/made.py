"""Runs as Sacred's directories hold them, made without training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import report as command

BASE: dict[str, Any] = {
    "name": "spacql", "learner": "spacql_learner", "mac": "non_shared_mac", "offline": True, "collect": False,
    "evaluate": False, "dataset": "mpe/simple_spread/random-100k", "env": "mpe", "tuned": "own", "lr": 0.01,
    "env_args": {"key": "simple_spread", "time_limit": 25}, "t_max": 300, "test_interval": 100, "checkpoint_path": "",
    "local_results_path": "results",
}  # fmt: skip
DECLARED = {"execution": "local", "observations": "local", "critics": "central", "parameters": "not shared",
            "hyperparameters": "tuned file"}  # fmt: skip
REFERENCE = {"random": 100.0, "expert": 300.0}


def make_run(
    folder: Path, seed: int = 1, scores: Sequence[float] = (0.0, 1.0, 2.0, 3.0), status: str = "COMPLETED", *,
    episodes: Sequence[float] | None = None, commit: str = "0123456789ab", sources: str | None = "s",
    checksum: str | None = "c", minute: int = 0, metrics: dict[str, Sequence[float]] | None = None,
    given: Sequence[str] = (), cpu_seconds: float | None = None, raw: bool = False,
    command_given: str | None = None, **config: Any,
) -> Path:  # fmt: skip
    """A finished run's directory; `scores` are of its evaluations, 100 steps apart. raw: only returns are known."""
    folder.mkdir(parents=True)
    steps = [100 * number for number in range(len(scores))]
    start = f"2026-01-01T0{minute // 60}:{minute % 60:02d}"
    times = [f"{start}:{number % 60:02d}" for number in range(len(scores))]
    returns = [100 + 2 * score for score in scores]
    curves: dict[str, Sequence[float]] = {"test_return_per_agent_mean": returns, **(metrics or {})}
    finals = {"final_return": returns[-1]}
    if not raw:
        curves["test_normalised_score"], finals["final_normalised_score"] = scores, scores[-1]
    found: dict[str, Any] = {
        name: {"steps": steps[: len(values)], "values": list(values), "timestamps": times[: len(values)]}
        for name, values in curves.items()
    }
    found |= {
        name: {"steps": steps[-1:], "values": [value], "timestamps": times[-1:]} for name, value in finals.items()
    }
    info: dict[str, Any] = {"run": {"declared": DECLARED, "checksum": checksum, "sources": sources}}
    if cpu_seconds is not None:
        info["run"]["cpu_seconds"] = cpu_seconds
    if command_given is not None:
        info["run"]["command"] = command_given
    if episodes is not None:
        info["final_returns"] = {"t": steps[-1], "returns": list(episodes), "reference": None if raw else REFERENCE}
    entry = {
        "status": status, "command": "my_main", "host": {}, "artifacts": [], "start_time": f"{start}:00",
        "stop_time": f"{start}:59", "meta": {"options": {"UPDATE": list(given)}},
        "experiment": {"repositories": [{"commit": commit, "dirty": False}], "sources": []},
    }  # fmt: skip
    files = {"run": entry, "config": {**BASE, "seed": seed, **config}, "metrics": found, "info": info}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "cout.txt").write_text("")
    return folder


def rows(text: str, title: str) -> list[dict[str, str]]:
    """The rows of a Markdown report's table whose title begins so, its continuations joined."""
    (section,) = [part for part in text.split("## ") if part.startswith(title)]
    found: list[dict[str, str]] = []
    for block in section.split("\n\n"):
        lines = [line.strip("| ").split(" | ") for line in block.splitlines() if line.startswith("|")]
        lines = [[cell.strip() for cell in line] for line in lines]
        if lines:
            head, _, *body = lines
            parts = [dict(zip(head, line, strict=False)) for line in body]
            found = [{**old, **new} for old, new in zip(found, parts, strict=True)] if found else parts
    return found


def run_command(capsys: Any, *words: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `report.py`."""
    status = command.main([str(word) for word in words])
    said = capsys.readouterr()
    return status, said.out, said.err
