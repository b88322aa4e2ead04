"""The benchmarks' set-ups still fit the code they measure; what they measure is not checked here."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.command_line import ROOT


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("penalty", ["policy", "logsumexp"])
def test_the_critic_step_is_the_plain_mathematics_and_trains(penalty: str) -> None:
    benchmark = load("critic_step")
    learner, batch = benchmark.build(penalty, False, None)
    plain_loss = benchmark.plain_update(learner, batch)()
    assert benchmark.relative_difference(penalty, learner, batch, plain_loss) <= benchmark.TOLERANCE
    learner.train(batch, 1, 0)
    learner.check_finite(1)


def test_alternatives_to_operators_give_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = load("operators")
    learner, batch = benchmark.build("policy", False, None)
    found = {}
    for name, changes in benchmark.ALTERNATIVES.items():
        with monkeypatch.context() as patch:
            for module, attribute, value in changes:
                assert hasattr(module, attribute), f"{name}: {attribute} is no longer there"
                patch.setattr(module, attribute, value)
            found[name] = benchmark.gradient(learner, batch)
    for name, gradient in found.items():
        assert benchmark.distance(gradient, found[benchmark.AS_IS]) < 1e-5, name


def test_the_sampling_buffers_hold_the_same_episodes() -> None:
    replay, offline = load("buffer_sampling").build(20)
    assert replay.episodes_in_buffer == offline.episodes_in_buffer == 20


def sacred_run(folder: Path, seed: int, scores: list[float], status: str = "COMPLETED", **config: object) -> None:
    """A finished run's files, as far as `reproduction.py` reads them."""
    folder.mkdir(parents=True)
    steps = [100 * i for i in range(len(scores))]
    curves = {f"{key}_{k}": [k * i / 10 + 1 for i in steps] for key in "wu" for k in (1, 2, 3)}
    curves |= {"k_eff": [2.0 for _ in steps], "u_target": steps, "q_data": steps, "test_normalised_score": scores}
    times = [f"2026-01-01T00:00:{5 * i:02d}" for i in range(len(scores))]
    metrics = {key: {"steps": steps, "values": values, "timestamps": times} for key, values in curves.items()}
    metrics["final_normalised_score"] = {"steps": steps[-1:], "values": scores[-1:], "timestamps": times[-1:]}
    run: dict[str, object] = {"status": status, "start_time": "2026-01-01T00:00:00", "stop_time": "2026-01-01T00:02:00"}
    run["experiment"] = {"repositories": [{"commit": "0123456789", "dirty": False}]}
    known = {"seed": seed, "name": "spacql", "dataset": "mpe/simple_spread/random", "lr": 0.01, "checkpoint_path": ""}
    for name, content in (("metrics", metrics), ("run", run), ("config", known | config)):
        (folder / f"{name}.json").write_text(json.dumps(content))


def test_records_become_tables_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reproduction = load("reproduction")
    scores = [float(i) for i in range(12)]
    sacred_run(tmp_path / "runs" / "1", 1, scores)
    sacred_run(tmp_path / "runs" / "2", 2, [score + 2 for score in scores[:-1]] + [9.0])
    sacred_run(tmp_path / "runs" / "3", 3, scores, status="INTERRUPTED")
    (tmp_path / "runs" / "4").mkdir()
    (tmp_path / "runs" / "4" / "metrics.json").write_text('{"half')
    (file,) = reproduction.gather(tmp_path / "runs", tmp_path / "json", None)
    assert file.name == "spacql-random.json"
    left_out = capsys.readouterr().err
    assert "not completed (INTERRUPTED)" in left_out and "not readable" in left_out
    written = json.loads(file.read_text())["runs"][0]["curves"]["test_normalised_score"]
    assert written["seconds"] == [5 * i for i in range(12)] and written["values"] == scores
    row = reproduction.table(tmp_path / "json").splitlines()[-1]
    # final 11 and 9, best 11 and 12, means of the last ten 6.5 and (4 + .. + 12 + 9) / 10 = 8.1
    assert row == "| random | spacql | 10.0 ± 1.4 | 11.5 ± 0.7 | 7.3 ± 1.1 | 11.0 / 9.0 | 2.0 |"
    # updates 600 to 1100 count: u_k = 85 k + 1
    row = reproduction.uncertainty_table(tmp_path / "json").splitlines()[-1]
    ratio = f"{256 / 86:.3f}"
    assert row == f"| random | spacql | 850 / 850 | 850 | 86, 171, 256 | {ratio} / {ratio} | 86, 171, 256 |  | 2 |"
    pictures = reproduction.figures(tmp_path / "json", tmp_path / "images")
    pictures += reproduction.seconds(tmp_path / "json", tmp_path / "images")
    stems = ["scores", "targets", "uncertainty", "weights", "seconds"]
    assert [picture.stem for picture in pictures] == [f"json_{stem}" for stem in stems]
    assert all(picture.stat().st_size > 1000 for picture in pictures)
    sacred_run(tmp_path / "more" / "1", 1, scores)
    reproduction.gather(tmp_path / "more", tmp_path / "json", "another")
    with pytest.raises(reproduction.Mismatch, match="second algorithm with weights on random"):
        reproduction.figures(tmp_path / "json", tmp_path / "images")


def test_runs_of_another_kind_are_not_averaged(tmp_path: Path) -> None:
    reproduction = load("reproduction")
    for order, (first, second) in enumerate([({}, {"lr": 0.1}), ({"new": 1}, {}), ({}, {"new": 1})]):
        source = tmp_path / str(order)
        sacred_run(source / "1", 1, [0.0, 1.0], **first)
        sacred_run(source / "2", 2, [0.0, 1.0], **second)
        with pytest.raises(reproduction.Mismatch, match="differ in (lr|new)"):
            reproduction.gather(source, tmp_path / "json", None)
        assert len(reproduction.gather(source, tmp_path / "ignored", None, frozenset({"lr", "new"}))) == 1
    sacred_run(tmp_path / "b" / "1", 1, [0.0, 1.0])
    sacred_run(tmp_path / "b" / "2", 1, [0.0, 1.0])
    with pytest.raises(reproduction.Mismatch, match="a seed occurs twice"):
        reproduction.gather(tmp_path / "b", tmp_path / "json", None)
    assert not (tmp_path / "json").exists()
    with pytest.raises(reproduction.Mismatch, match="no completed run"):
        reproduction.gather(tmp_path / "json", tmp_path / "json", None)
    (tmp_path / "else.json").write_text("[1]")
    with pytest.raises(reproduction.Mismatch, match="no file that `gather` wrote"):
        reproduction.load(tmp_path)


def test_times_of_continued_runs_are_not_known(tmp_path: Path) -> None:
    reproduction = load("reproduction")
    sacred_run(tmp_path / "runs" / "1", 1, [0.0, 1.0], checkpoint_path="results/models/x")
    sacred_run(tmp_path / "runs" / "2", 2, [0.0, 1.0])
    reproduction.gather(tmp_path / "runs", tmp_path / "json", None)
    runs = json.loads((tmp_path / "json" / "spacql-random.json").read_text())["runs"]
    assert [run["seconds"] for run in runs] == [None, 120]
    assert reproduction.table(tmp_path / "json").endswith("| 2.0 |")
    assert len(reproduction.seconds(tmp_path / "json", tmp_path)) == 1


def test_every_learner_has_its_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark = load("learners")
    small = {"batch_size": 16, "hidden_dim": 8, "ensemble_size": 3, "loss_chunk": 8}
    configuration = benchmark.configuration
    monkeypatch.setattr(benchmark, "RECORDINGS", 1)
    monkeypatch.setattr(benchmark, "configuration", lambda *a: configuration(*a).extended(**small))
    assert benchmark.main(["--repeats", "2", "--only", "navigation", "ant", "--transitions", "2000"]) == 0
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    head, _, *rows = lines
    learners = ["bc", "spacql", "comadice"]
    expected = [("Cooperative Navigation", name) for name in (*learners, "spacql, paper length")]
    assert [tuple(row[:2]) for row in rows] == expected + [("Ant 2x4", name) for name in learners]
    for row in rows:
        named = dict(zip(head, (cell.rstrip(" %x") for cell in row), strict=True))
        assert int(named["rows"]) == 16 and 0 < float(named["outside products"]) < 100
        assert 0 < float(named["ms min"]) <= float(named["ms median"])
        assert float(named["sampling ms"]) > 0 and float(named["recorded"]) > 0


def test_the_learners_benchmark_takes_the_files_values() -> None:
    configuration = load("learners").configuration
    assert [configuration(name, None).batch_size for name in ("bc", "spacql", "comadice")] == [1024, 2048, 256]
    tuned = configuration("spacql", "mpe/simple_spread/medium")
    assert (tuned.batch_size, tuned.actor_update_interval, tuned.loss_chunk) == (1024, 5, 256)


def test_self_times_leave_out_what_is_inside() -> None:
    events = [(0, -10, "all"), (1, -4, "outer"), (2, -2, "inner"), (5, -1, "inner"), (6, -3, "outer")]
    assert load("learners").self_times(events) == {"all": 2, "outer": 5, "inner": 3}


def test_the_set_whose_reading_is_measured_is_sound(tmp_path: Path) -> None:
    benchmark = load("datasets")
    arrays, offsets, card = benchmark.particle_world(20)
    benchmark.write_dataset(tmp_path / "d.h5", arrays, offsets, card)
    read, loaded = benchmark.measure(benchmark.ROOT, tmp_path / "d.h5")
    assert 0 < read < loaded


def test_robots_played_together_are_those_played_one_by_one() -> None:
    benchmark = load("robots")
    together, alone = (benchmark.make_runner(kind, 2, 20).evaluate().returns for kind in ("vector", "episode"))
    assert together == pytest.approx(alone, rel=benchmark.LARGEST_DIFFERENCE)
