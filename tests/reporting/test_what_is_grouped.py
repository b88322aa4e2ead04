"""What differs stands apart, what is no training run does not count, what spoils a mean is refused."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.groups import Task, grouped, quality_of
from reporting.places import read_places
from reporting.runs import ReportError
from reporting.soundness import Refusal, check
from tests.reporting.made import make_run, run_command

RUN = st.fixed_dictionaries({
    "name": st.sampled_from(["bc", "cfcql", "spacql"]),
    "dataset": st.sampled_from(["mpe/simple_spread/random-100k", "mpe/simple_spread/medium-100k"]),
    "lr": st.sampled_from([0.1, 0.01]),
    "seed": st.integers(0, 3),
})  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(RUN, min_size=1, max_size=10, unique_by=lambda run: tuple(sorted(run.items()))))
def test_every_run_is_in_the_one_group_of_its_like(configs: list[dict[str, object]]) -> None:
    """Also where all lie in folders of the same names, as `sacred/NAME/simple_spread/1`."""
    with tempfile.TemporaryDirectory() as top:
        for number, config in enumerate(configs):
            score = float(number)
            make_run(Path(top) / str(number) / "simple_spread" / "1", scores=[0.0, score], minute=number, **config)
        groups, _ = check(grouped(read_places([top]).runs)[0], ())
        for group in groups:
            for run in group.runs:
                number = int(run.final["normalised score"])
                own = configs[number]
                assert (group.algorithm, group.task.dataset) == (own["name"], own["dataset"])
                assert run.seed == own["seed"]
            kinds = {configs[int(run.final["normalised score"])]["lr"] for run in group.runs}
            assert len(kinds) == 1
        placed = sorted(int(run.final["normalised score"]) for group in groups for run in group.runs)
        assert placed == list(range(len(configs)))
        kinds = {(config["name"], config["dataset"], config["lr"]) for config in configs}
        assert len(groups) == len(kinds)


def test_only_completed_training_runs_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1", 1)
    make_run(tmp_path / "2", 2, evaluate=True)
    make_run(tmp_path / "3", 3, collect=True)
    make_run(tmp_path / "4", 4, policy_path="x", minute=1)
    make_run(tmp_path / "5", 5, status="INTERRUPTED")
    make_run(tmp_path / "6", 6, status="RUNNING")
    (make_run(tmp_path / "7", 7) / "metrics.json").write_text('{"half')
    status, out, _ = run_command(capsys, tmp_path)
    assert status == 0 and "| random" not in out.split("\n")[0]
    flat = " ".join(out.split())
    for reason in ("evaluation: ", "collecting: ", "fitted Q evaluation: ", "interrupted: ", "damaged or unfinished: "):
        assert f"Not counted: {reason}{tmp_path}" in flat
    assert f"Not counted: damaged or unfinished: {tmp_path}/7/metrics.json is damaged: it is no JSON" in flat
    assert "| 1 | 3.0" in out  # one seed


def test_descriptions_and_other_json_are_no_runs(tmp_path: Path) -> None:
    make_run(tmp_path / "sacred" / "1")
    (tmp_path / "models" / "x").mkdir(parents=True)
    (tmp_path / "models" / "x" / "run.json").write_text('{"format": "epymarl-offline run"}')
    (tmp_path / "card.json").write_text("[1]")
    found = read_places([str(tmp_path)])
    assert len(found.runs) == 1 and not found.left_out


@pytest.mark.parametrize(
    ("what", "change", "sentence"),
    [
        ("seed", {"seed": 1, "minute": 5}, "seed 1 occurs 2 times"),
        ("length", {"seed": 2, "scores": (0.0, 1.0)}, "runs have different lengths (seed 1: 300, seed 2: 100)"),
        ("commit", {"seed": 2, "commit": "f" * 12, "sources": "t"}, "runs are of different code, 0123456789 (seed 1)"),
        ("dataset", {"seed": 2, "checksum": "d"}, "runs learned from different data of this name"),
    ],
)
def test_what_spoils_a_mean_is_refused_with_the_way_out(
    what: str, change: dict[str, object], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "a" / "1", 1)
    make_run(tmp_path / "b" / "1", **change)  # type: ignore[arg-type]
    status, out, err = run_command(capsys, tmp_path)
    assert (status, out) == (1, "") and sentence in err and f"--allow {what}" in err and err.count("\n") == 1
    status, out, _ = run_command(capsys, tmp_path, "--allow", what)
    assert status == 0 and sentence.split(" (")[0].replace("seed 1 occurs 2 times", "only the newest") in " ".join(
        out.split()
    )
    assert run_command(capsys, tmp_path, "--without", tmp_path / "b")[0] == 0


def test_of_a_repeated_seed_the_newest_run_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1", 1, [0.0, 5.0], minute=7)
    make_run(tmp_path / "2", 1, [0.0, 9.0], minute=3)
    assert "5.0" in run_command(capsys, tmp_path, "--allow", "seed")[1]
    assert "9.0" not in run_command(capsys, tmp_path, "--allow", "seed")[1]


def test_other_commits_of_the_same_files_are_only_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1", 1)
    make_run(tmp_path / "2", 2, commit="f" * 12)
    status, out, _ = run_command(capsys, tmp_path)
    assert status == 0 and "of which this program's files are the same" in " ".join(out.split())


@pytest.mark.parametrize(("repositories", "expected"), [("false", 0), ("true", 1), (None, 1)])
def test_files_count_where_the_commit_does_not_say_them(
    repositories: str | None, expected: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sweep imports others than a run by hand. Files that differ from their commit may be any."""
    for seed, sources in ((1, "s"), (2, "t")):
        file = make_run(tmp_path / f"{seed}", seed, sources=sources) / "run.json"
        dirty = '"dirty": false'
        entry = file.read_text().replace(dirty, f'"dirty": {repositories}' if repositories else dirty)
        file.write_text(entry if repositories else entry.replace('"repositories"', '"elsewhere"'))
    status, _, error = run_command(capsys, tmp_path)
    assert status == expected and ("different code" in error) == bool(expected)


def test_one_run_read_twice_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "sacred" / "1", 1)
    assert run_command(capsys, tmp_path / "sacred", "--to", "json", "-o", tmp_path / "kept.json")[0] == 0
    status, out, _ = run_command(capsys, tmp_path)
    assert status == 0 and "read twice, counted once" in out and "| 1 | 3.0" in out


def test_a_score_that_is_no_number_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1", 1, [0.0, float("nan")])
    status, _, err = run_command(capsys, tmp_path)
    assert status == 1 and "a score is no finite number" in err and "--without" in err


def test_datasets_of_one_file_name_in_two_folders_stay_apart(tmp_path: Path) -> None:
    for number, checksum in enumerate(("a" * 64, "b" * 64)):
        make_run(tmp_path / f"{number}" / "1", dataset=f"/data/{number}/mine.h5", checksum=checksum, minute=number)
    make_run(tmp_path / "2" / "1", 2, dataset="/elsewhere/mine.h5", checksum="a" * 64, minute=2)  # the first one moved
    groups = grouped(read_places([str(tmp_path)]).runs)[0]
    assert sorted(len(group.runs) for group in groups) == [1, 2]
    assert len({group.task.name() for group in groups}) == 2


def test_keys_newer_than_a_run_count_at_their_file_s_value(tmp_path: Path) -> None:
    make_run(tmp_path / "1", 1)
    make_run(tmp_path / "2", 2, critic_dtype="float32")
    groups, notes = grouped(read_places([str(tmp_path)]).runs)
    assert len(groups) == 1 and "critic_dtype" in notes[0]
    make_run(tmp_path / "3", 3, critic_dtype="bfloat16")
    groups, _ = grouped(read_places([str(tmp_path)]).runs)
    assert {group.variant: len(group.runs) for group in groups} == {
        "critic_dtype=float32": 2,
        "critic_dtype=bfloat16": 1,
    }
    make_run(tmp_path / "4", 4, unheard_of=3)
    groups, _ = grouped(read_places([str(tmp_path)]).runs)
    assert len(groups) == 3  # nobody knows what the others would have
    assert len(grouped(read_places([str(tmp_path)]).runs, ["unheard_of", "critic_dtype"])[0]) == 1


def test_conditions_choose_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, lr in ((1, 0.1), (2, 0.1), (3, 0.5)):
        make_run(tmp_path / f"{seed}", seed, [0.0, float(seed)], lr=lr)
    _, out, _ = run_command(
        capsys, tmp_path, "--where", "lr=0.10", "--where", "seed=1,3", "--where", "dataset=random-100k"
    )
    assert "| 1 | 1.0" in out and "2.0" not in out
    status, _, err = run_command(capsys, tmp_path, "--where", "lrr=1")
    assert status == 1 and "no run has the key 'lrr'; did you mean 'lr'?" in err
    status, _, err = run_command(capsys, tmp_path, "--where", "env_args.key=simple_spraed")
    assert status == 1 and "did you mean 'simple_spread'?" in err
    for words, said in (
        (["--where", "lr"], "must be key=value"),
        (["--allow", "comit"], "did you mean 'commit'?"),
        (["--baseline", "sqacql"], "no method is called so"),
        (["--paper", "spaqcl"], "did you mean 'spacql'?"),
        (["--without", tmp_path / "9"], "there is no such run"),
        (["--where", "seed=1,7"], "no run has the value 7 of seed"),
        (["--where", "lr=0.1", "--where", "seed=3"], "the conditions before it hold"),
        (["--ignore", "lrr"], "no run has this key; did you mean 'lr'?"),
    ):
        status, _, err = run_command(capsys, tmp_path, *words)
        assert status == 1 and said in err and err.count("\n") == 1, err


def test_conditions_count_a_key_that_a_run_lacks_as_its_row_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "1", 1, [0.0, 7.0])
    make_run(tmp_path / "2", 2, [0.0, 9.0], ensemble_size=10)  # the file's value
    _, out, _ = run_command(capsys, tmp_path, "--where", "ensemble_size=10")
    assert "7.0 / 9.0" in out


def test_files_and_runs_of_files_can_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2):
        make_run(tmp_path / "runs" / f"{seed}", seed, [0.0, float(seed)])
    make_run(tmp_path / "more" / "3", 3, [0.0, 3.0])
    file = tmp_path / "runs.json"
    run_command(capsys, tmp_path / "runs", "--to", "json", "-o", file)
    source = read_places([str(file)]).runs[0].source
    places = (file, tmp_path / "more")
    assert {run.seed for run in read_places(map(str, places), [source]).runs} == {2, 3}
    assert {run.seed for run in read_places(map(str, places), [str(file)]).runs} == {3}
    status, _, err = run_command(capsys, *places, "--beside", file, "--without", source)
    assert (status, err) == (0, "")
    status, _, err = run_command(capsys, file, "--without", tmp_path / "more")  # there, but not read
    assert status == 1 and "there is no such run at these places" in err
    stored = json.loads(file.read_text())
    stored["runs"][1]["source"] = source
    file.write_text(json.dumps(stored))
    status, _, err = run_command(capsys, file, "--without", source)
    assert status == 1 and "2 runs say that they were read from there" in err


def test_nothing_is_null_as_in_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "1", 1, [0.0, 7.0], loss_chunk=None)
    make_run(tmp_path / "2", 2, [0.0, 9.0], loss_chunk=256)
    _, out, _ = run_command(capsys, tmp_path)
    assert "loss_chunk=null" in out and "None" not in out
    for word in ("null", "None"):
        _, out, _ = run_command(capsys, tmp_path, "--where", f"loss_chunk={word}")
        assert "| 1 | 7.0" in out and "9.0" not in out


def test_places_without_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no completed training run with scores is there"):
        read_places([str(tmp_path)])
    with pytest.raises(ReportError, match="there is no such file or directory"):
        read_places([str(tmp_path / "nothing")])
    make_run(tmp_path / "1", evaluate=True)
    with pytest.raises(ReportError, match="found there: evaluation"):
        read_places([str(tmp_path)])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content["runs"][0].pop("seed"), "its run 0 has no sound 'seed'"),
        (lambda content: content["runs"][0].update(config=7), "its run 0 has no configuration"),
        (lambda content: content["runs"][0]["final"].update(x="1"), "holds what is no number"),
        (
            lambda content: content["runs"][0]["curves"].update(x={"steps": [1], "values": []}),
            "holds what is no number",
        ),
        (lambda content: content.update(version=2), "this release reads version 1"),
        (lambda content: content.update(runs={}), "needs the lists"),
    ],
)
def test_damaged_files_of_results_are_refused(damage: object, said: str, tmp_path: Path, capsys: object) -> None:
    make_run(tmp_path / "1")
    run_command(capsys, tmp_path, "--to", "json", "-o", tmp_path / "r.json")
    content = json.loads((tmp_path / "r.json").read_text())
    damage(content)  # type: ignore[operator]
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(ReportError, match=said):
        read_places([str(tmp_path / "r.json")])
    (tmp_path / "r.json").write_text('{"format": "epymarl-offline results", ')
    with pytest.raises(ReportError, match="it is no JSON"):
        read_places([str(tmp_path / "r.json")])
    (tmp_path / "r.json").write_text("[" * 100_000)
    with pytest.raises(ReportError, match="it is no JSON"):
        read_places([str(tmp_path / "r.json")])
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(ReportError, match="is no file of results of this program; make it again"):
        read_places([str(tmp_path / "r.json")])


def test_all_reasons_are_said_at_once(tmp_path: Path) -> None:
    make_run(tmp_path / "1", 1)
    make_run(tmp_path / "2", 1, minute=1, checksum="d")
    with pytest.raises(Refusal) as refusal:
        check(grouped(read_places([str(tmp_path)]).runs)[0], ())
    assert len(refusal.value.reasons) == 2


@pytest.mark.parametrize(("dataset", "quality"), [
    ("mpe/simple_tag/random", "random"), ("mpe/simple_spread/medium-100k", "medium"),
    ("simple_tag-random (0de1)", "random"), ("mine (random)", ""),
    ("mine-medium-replay (784c)", "medium-replay"), ("medium-expert (784c)", "medium-expert"),
])  # fmt: skip
def test_a_datasets_name_tells_its_quality(dataset: str, quality: str) -> None:
    assert quality_of(Task("simple_tag", dataset))[1] == quality
