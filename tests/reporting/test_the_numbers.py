"""What the report says is what brute force and rliable's own functions say."""

from __future__ import annotations

import itertools
import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from reporting import across, numbers
from reporting.assembled import SEEDS_ONLY, SOME
from reporting.budget import simulate
from reporting.groups import Group, Task, grouped
from reporting.places import read_places
from tests.reporting.made import REFERENCE, make_run, rows, run_command

NORMALISED = "normalised score"
RNG = np.random.default_rng(7)


def group_of(folder: Path) -> Group:
    (found,) = grouped(read_places([str(folder)]).runs)[0]
    return found


def test_a_group_s_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = [float(number) for number in range(12)]
    make_run(tmp_path / "1", 1, scores)
    make_run(tmp_path / "2", 2, [score + 2 for score in scores[:-1]] + [9.0])
    _, out, _ = run_command(capsys, tmp_path)
    (row,) = rows(out, "Final scores")
    assert (row["final"], row["n"], row["by seed"]) == ("10.0 ± 1.4", "2", "11.0 / 9.0")
    (row,) = rows(out, "Other rules")  # means of the last ten: 6.5 and (4 + .. + 12 + 9) / 10 = 8.1
    assert (row["last ten"], row["of"], row["best*"]) == ("7.3 ± 1.1", "10", "11.5 ± 0.7")
    assert "looks at online returns" in out


def test_the_time_of_one_core_is_shown_where_it_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1", 1)
    (row,) = rows(run_command(capsys, tmp_path)[1], "Other rules")
    assert row["minutes a run"] == "1.0" and "core-minutes" not in row
    for seed, seconds in ((2, 90.0), (3, 150.0)):
        make_run(tmp_path / f"{seed}", seed, cpu_seconds=seconds)
    (row,) = rows(run_command(capsys, tmp_path)[1], "Other rules")
    assert (row["minutes a run"], row["core-minutes"]) == ("1.0", "2.0")
    make_run(tmp_path / "4", 4, cpu_seconds=1e6, checkpoint_path="earlier")  # continued: its own part alone is no cost
    assert rows(run_command(capsys, tmp_path)[1], "Other rules") == [row]


def test_few_evaluations_say_how_many_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1", 1, [1.0, 3.0])
    (row,) = rows(run_command(capsys, tmp_path)[1], "Other rules")
    assert (row["last ten"], row["of"]) == ("3.0", "1")  # not that before the first update


def test_returns_where_no_score_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1", 1, [0.0, 5.0], raw=True)
    out = run_command(capsys, tmp_path)[1]
    assert out.startswith("## Final scores (return,") and rows(out, "Final scores")[0]["final"] == "110.0"
    make_run(tmp_path / "2", 2, [0.0, 5.0])  # only the other one has a score: both are taken as returns
    assert rows(run_command(capsys, tmp_path)[1], "Final scores")[0]["final"] == "110.0 ± 0.0"
    make_run(tmp_path / "3" / "1", 1, [0.0, 5.0], dataset="other", checksum="d")
    assert "returns have no common scale" in run_command(capsys, tmp_path, "--raw")[1]


def test_the_interval_of_seeds_is_that_of_all_resamples(tmp_path: Path) -> None:
    finals = [10.0, 20.0, 60.0]
    for seed, final in enumerate(finals):
        make_run(tmp_path / f"{seed}", seed, [0.0, final])
    found = numbers.interval(group_of(tmp_path), NORMALISED)
    assert found is not None and not found.episodes
    every = [statistics.fmean(sample) for sample in itertools.product(finals, repeat=3)]
    low, high = np.quantile(every, [0.025, 0.975], method="inverted_cdf")
    assert found.low == pytest.approx(low, abs=4) and found.high == pytest.approx(high, abs=4)


def test_the_interval_of_two_levels_is_that_of_a_plain_loop(tmp_path: Path) -> None:
    episodes = RNG.normal(150, 40, (3, 20)) + np.array([[0.0], [30.0], [60.0]])
    for seed, own in enumerate(episodes):
        score = float((own.mean() - REFERENCE["random"]) / 2)
        make_run(tmp_path / f"{seed}", seed, [0.0, score], episodes=own.tolist())
    found = numbers.interval(group_of(tmp_path), NORMALISED)
    assert found is not None and found.episodes
    scores, means = (episodes - 100) / 2, []
    for _ in range(4000):
        drawn, starts = RNG.integers(0, 3, 3), RNG.integers(0, 20, 20)
        means.append(scores[np.ix_(drawn, starts)].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=3) and found.high == pytest.approx(high, abs=3)


def test_one_seed_has_an_interval_of_its_episodes_alone(tmp_path: Path) -> None:
    make_run(tmp_path / "a" / "1", 1, episodes=[100.0, 300.0] * 50)
    found = numbers.interval(group_of(tmp_path), NORMALISED)
    assert found is not None and 35 < found.low < 50 < found.high < 65  # standard error 5
    make_run(tmp_path / "b" / "1", 1)
    assert numbers.interval(group_of(tmp_path / "b"), NORMALISED) is None


def test_a_row_without_an_interval_says_nothing_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (1, 2):
        make_run(tmp_path / f"{seed}", seed, [0.0, float(seed)])
    make_run(tmp_path / "3", 3, [0.0, 3.0], name="bc")
    out = run_command(capsys, tmp_path)[1]
    assert SEEDS_ONLY in out and "†" not in out
    make_run(tmp_path / "4", 4, [0.0, 3.0], name="cfcql", episodes=[100.0, 300.0] * 9)
    out = " ".join(run_command(capsys, tmp_path)[1].split())
    assert SOME in out and "2.0] † |" in out


def scores_of(**methods: np.ndarray) -> across.Scores:
    tasks = [Task("mpe", str(number)) for number in range(next(iter(methods.values())).shape[1])]
    return across.Scores(tasks, methods, NORMALISED)


def test_statistics_over_tasks_are_rliable_s() -> None:
    pytest.importorskip("rliable")
    from rliable import library, metrics

    first, second = RNG.normal(0, 1, (5, 4)), RNG.normal(0.5, 1, (6, 4))
    second[0, 0] = first[0, 0]  # a tie
    scores = scores_of(first=first, second=second)
    point, low, high = across.interquartile_means(scores)["first"]
    ordered = np.sort(first, axis=None)
    assert point == pytest.approx(ordered[5:15].mean())
    _, limits = library.get_interval_estimates({"x": first}, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=2000)
    assert (low, high) == (pytest.approx(limits["x"][0, 0], abs=0.12), pytest.approx(limits["x"][1, 0], abs=0.12))
    assert across.probability_of_improvement(second, first)[0] == pytest.approx(
        metrics.probability_of_improvement(second, first)
    )
    better = across.improvements(scores, "first")
    assert list(better) == ["second"] and better["second"][1] <= better["second"][0] <= better["second"][2]
    assert across.interquartile_means(scores)["first"] == (point, low, high)  # the same draws again


def test_tasks_and_seeds_that_all_have_are_compared(tmp_path: Path) -> None:
    every = {("bc", "a"): (1, 2, 3), ("bc", "b"): (2, 3), ("spacql", "a"): (1, 2), ("spacql", "b"): (1, 2)}
    for (name, task), seeds in (every | {("spacql", "c"): (1,)}).items():
        for seed in seeds:
            make_run(tmp_path / f"{name}{task}{seed}", seed, [0.0, float(seed)], name=name, dataset=task, checksum=task)
    groups = grouped(read_places([str(tmp_path)]).runs)[0]
    found = across.scores_of(groups, numbers.units(groups, raw=False))
    assert isinstance(found, across.Scores)
    assert [task.dataset for task in found.tasks] == ["a", "b"]
    assert found.by_method["bc"].tolist() == [[2.0, 2.0], [3.0, 3.0]]
    assert found.by_method["spacql"].tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert found.notes == ["Over the 2 of 3 tasks that all methods have", "bc: only its seeds 2, 3 are on all tasks"]


def test_without_the_library_one_line_says_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "1")
    monkeypatch.setattr(across, "is_installed", lambda: False)
    status, out, _ = run_command(capsys, tmp_path)
    assert status == 0 and "rliable is not installed" in out and "'.[report]'" in out and "IQM" not in out


def test_a_budget_goes_from_a_pick_at_random_to_the_best_policy() -> None:
    pool = [RNG.normal(mean, 300.0, 400) for mean in (1000.0, 2000.0, 3000.0)]  # far from 0 to 1: scaled first
    found = simulate(pool, trials=400)
    means = [returns.mean() for returns in pool]
    assert found.mean[0] == pytest.approx(statistics.fmean(means), abs=120)
    assert found.mean[-1] == pytest.approx(max(means), abs=30) and found.mean[2] > found.mean[0] + 500
    assert (found.limits[0] <= found.mean + 1e-9).all() and (found.mean <= found.limits[1] + 1e-9).all()
    certain = simulate([np.array([1.0]), np.array([5.0])], trials=50, pulls=3)
    assert certain.mean[1:].tolist() == [5.0, 5.0]


def test_a_budget_needs_the_returns_of_episodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1", 1, episodes=[100.0, 110.0])
    make_run(tmp_path / "2", 2, episodes=[300.0, 310.0], lr=0.5)
    make_run(tmp_path / "3", 3)
    _, out, _ = run_command(capsys, tmp_path, "--budget")
    (row,) = rows(out, "Tuning budget")
    assert row["runs"] == "2" and float(row["200"]) == pytest.approx(102.5, abs=0.1) and 40 < float(row["1"]) < 65
    assert "spacql on mpe/simple_spread/random-100k: 1 runs kept no returns" in " ".join(out.split())


def test_published_numbers_stand_beside_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, score in enumerate((60.0, 62.0, 66.0)):
        make_run(tmp_path / f"{seed}", seed, [0.0, score], name="cfcql")
        make_run(tmp_path / f"bc{seed}", seed, [0.0, score], name="bc")  # which the paper has not
    status, out, _ = run_command(capsys, tmp_path, "--paper", "spacql")
    assert status == 0
    (row,) = rows(out, "Beside the paper")
    assert (row["method"], row["paper"], row["difference"], row["overlap"]) == ("cfcql", "62.2 ± 8.1", "+0.5", "yes")
    assert row["best known"] == "78.2 SPaCQL" and "not checked by us" in " ".join(out.split())
    assert "OMAR's published files" in " ".join(out.split())
    status, _, err = run_command(capsys, tmp_path, "--paper", "comadice")
    assert status == 1 and "leave --paper out, or add --raw" in err
    ant = {"name": "comadice", "dataset": "mamujoco/Ant-2x4/medium-expert", "env": "x"}
    make_run(tmp_path / "ant", 1, [0.0, 1000.0], raw=True, checksum="d", **ant)
    (row,) = rows(run_command(capsys, tmp_path, "--paper", "comadice")[1], "Beside the paper")
    assert (row["ours"], row["paper"], row["overlap"]) == ("2100.0", "1813.9 ± 68.4", "not known")


@pytest.mark.parametrize(("ours", "overlap"), [(1901.5, "yes"), (1911.5, "no")])
def test_a_paper_s_population_standard_deviation_is_made_a_sample_s(
    ours: float, overlap: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """1813.9 ± 68.4 of five seeds reaches to 1908.9, and to 1898.8 were it a sample's; ours reach 1.2 down."""
    for seed, more in enumerate((-0.5, 0.0, 0.5)):
        score = (ours + more - 100) / 2  # `made` turns scores into returns
        make_run(
            tmp_path / f"{seed}", seed, [0.0, score], raw=True, checksum="d", name="comadice", env="x",
            dataset="mamujoco/Ant-2x4/medium-expert",
        )  # fmt: skip
    out = run_command(capsys, tmp_path, "--paper", "comadice")[1]
    (row,) = rows(out, "Beside the paper")
    assert (row["paper"], row["overlap"]) == ("1813.9 ± 68.4", overlap)
    assert "as a population (divided by 5), and the interval takes that of a sample" in " ".join(out.split())


def test_the_files_of_published_numbers_are_whole() -> None:
    from reporting.published import PAPERS, paper_names

    papers = {name: json.loads((PAPERS / f"{name}.json").read_text()) for name in paper_names()}
    keys = {"paper", "title", "source", "seeds", "unit", "notes", "rows"}
    assert {name: set(paper) - keys for name, paper in papers.items()} == {"comadice": {"population"}, "spacql": set()}
    counts = {name: paper["rows"] for name, paper in papers.items()}
    assert {name: len(rows) for name, rows in counts.items()} == {"comadice": 39, "spacql": 16}
    assert sum("best" in row for row in counts["comadice"]) == 12 and all("best" in row for row in counts["spacql"])
    hopper = next(row for row in counts["comadice"] if (row["task"], row["quality"]) == ("Hopper", "medium-replay"))
    assert hopper["scores"]["comadice"] == [906.2, 242.1]
    assert counts["spacql"][3]["scores"]["spacql"] == [78.2, 14.0]


def test_uncertainty_is_of_the_second_half_of_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2):
        u = {f"u_{k}": [9.0, 9.0, 1.0 * k, 1.5 * k * seed] for k in (1, 2)}
        w = {"w_1": [0.0, 0.0, 0.6, 0.8], "w_2": [1.0, 1.0, 0.4, 0.2]}
        metrics: dict[str, list[float]] = {"u_target": [9.0, 9.0, 1.0, 2.0 * seed], **u, **w}
        make_run(tmp_path / f"spacql{seed}", seed, metrics=metrics)
    make_run(tmp_path / "bc", name="bc")
    status, out, _ = run_command(capsys, tmp_path, "--uncertainty")
    (row,) = rows(out, "Uncertainty")
    assert status == 0 and row["u_target by seed"] == "1.50 / 2.50" and row["w_k"] == "0.700, 0.300"
    assert row["u_k"] == "1.62, 3.25" and row["u_n / u_1 by seed"] == "2.000 / 2.000" and row["q_data"] == ""
    status, _, err = run_command(capsys, tmp_path / "bc", "--uncertainty")
    assert status == 1 and "none of these runs logged u_target" in err
    make_run(tmp_path / "short", metrics={"u_target": [1.0]})  # one statistic, at step 0
    (row,) = rows(run_command(capsys, tmp_path / "short", "--uncertainty")[1], "Uncertainty")
    assert row["u_target by seed"] == "1.00"
