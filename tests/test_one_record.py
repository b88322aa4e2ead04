"""One run's numbers in all of its records, one by one: metrics, info, TensorBoard, MongoDB, console, result."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import track
from tests.command_line import CommandLine
from tests.utils.test_mongo import in_memory

SUMMARY = ("final_", "best_", "last10_")
Curves = dict[str, tuple[list[int], list[float]]]  # steps and values, by the metric's name


def test_all_records_hold_the_same_numbers(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    result = cli.run("use_tensorboard=True", "validation_share=0.1", "dataset=mpe/simple_spread/random-100k")
    assert result.returncode == 0, result.stderr
    (run,) = cli.runs()
    stored = json.loads((run / "metrics.json").read_text())
    curves = {name: (each["steps"], each["values"]) for name, each in stored.items()}
    info = json.loads((run / "info.json").read_text())
    assert len(curves) > 20 and any(name.startswith("validation_") for name in curves)
    assert {name: (info[f"{name}_T"], info[name]) for name in curves} == curves
    check_tensorboard(cli.results, curves)
    assert in_mongo(run, monkeypatch) == curves
    check_console((run / "cout.txt").read_text(), curves)
    check_result(json.loads((run / "run.json").read_text())["result"], info, curves)


def check_tensorboard(results: Path, curves: Curves) -> None:
    """The same points; TensorBoard keeps float32."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (results / "tb_logs").iterdir()
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    assert set(events.Tags()["scalars"]) == curves.keys()
    for name, (steps, values) in curves.items():
        drawn = events.Scalars(name)
        assert [point.step for point in drawn] == steps
        assert [point.value for point in drawn] == pytest.approx(values, rel=1e-6)


def in_mongo(run: Path, monkeypatch: pytest.MonkeyPatch) -> Curves:
    """What Omniboard draws of a run that was pushed."""
    monkeypatch.setattr("track.check_mongo", lambda address: None)
    database: Any = in_memory(monkeypatch)
    assert track.main(["push", str(run), "-m", "localhost:27017:sacred"]) == 0
    (document,) = database["runs"].find()
    assert document["result"] == json.loads((run / "run.json").read_text())["result"]
    assert document["info"]["run"] == json.loads((run / "info.json").read_text())["run"]
    return {each["name"]: (each["steps"], each["values"]) for each in database["metrics"].find()}


def check_console(printed: str, curves: Curves) -> None:
    """The last block shows the newest value of each metric, with four decimals; the summary is made after it."""
    block = printed.rpartition("Recent Stats")[2].partition("\n[")[0]
    shown = dict(re.findall(r"([\w.]+): +(-?[\d.]+(?:e\S+)?|nan)(?= |\n|$)", block.partition("\n")[2]))
    newest = {name: f"{values[-1]:.4f}" for name, (_, values) in curves.items()}
    assert shown == {name: value for name, value in newest.items() if not name.startswith(SUMMARY)}


def check_result(result: float, info: dict[str, Any], curves: Curves) -> None:
    """The run's one score is the newest point of its curve; the best one is the curve's highest."""
    scores = curves["test_normalised_score"][1]
    assert result == pytest.approx(scores[-1])
    told = info["run"]
    assert (told["score"], told["best"]) == (round(scores[-1], 2), round(max(scores), 2))
    final = info["final_returns"]
    per_agent = curves["test_return_per_agent_mean"]
    assert final["t"] == per_agent[0][-1]
    assert sum(final["returns"]) / len(final["returns"]) == pytest.approx(per_agent[1][-1], rel=1e-6)
    low, high = final["reference"]["random"], final["reference"]["expert"]
    assert scores == pytest.approx([100 * (value - low) / (high - low) for value in per_agent[1]])
    team = curves["test_return_mean"][1]  # reward_scalarisation=mean: the team is paid the mean
    assert team == pytest.approx(per_agent[1])
    for name, values in (("normalised_score", scores), ("return", per_agent[1])):
        summary = {"final": values[-1], "best": max(values), "last10": sum(values) / len(values)}
        assert {key: curves[f"{key}_{name}"][1] for key in summary} == {
            key: [pytest.approx(value)] for key, value in summary.items()
        }
