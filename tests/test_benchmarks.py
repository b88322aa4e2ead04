"""The benchmarks' set-ups still fit the code they measure; what they measure is not checked here."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.command import run
from datasets.dataset import read_dataset
from datasets.importers.run import import_dataset
from loops.configured import configured
from loops.unread import unread_warning
from sweeps.grid import grid_file
from tests.command_line import ROOT
from tests.reporting.made import make_run
from utils.config import CONFIG, algorithm, config_names
from utils.errors import ConfigError


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


def test_the_set_larger_than_memory_is_as_large_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = load("larger_than_memory")
    benchmark.write_foreign(tmp_path / "foreign.h5", 5)
    import_dataset("pymarl", tmp_path / "foreign.h5", tmp_path / "set.h5", {})
    dataset = read_dataset(tmp_path / "set.h5")
    assert sum(array.nbytes for array in dataset.arrays.values()) == 5 * benchmark.EPISODE_BYTES
    monkeypatch.setattr("sys.stdin", ["\n"])
    benchmark.learn(str(tmp_path / "set.h5"), "bc_discrete", 0, 1)


def test_every_offline_learner_is_measured() -> None:
    """Configurations of learners that learn from data, but those for discrete actions alone of which there are both."""
    found = load("learners").offline_algorithms()
    measured = {algorithm(name)["learner"] for name in found}
    offline = {algorithm(name)["learner"] for name in config_names("algs") if algorithm(name).get("offline")}
    assert measured == offline - {None} and len(found) == len(set(found))
    assert "fqe" in found and "bc" in found and "bc_discrete" not in found


def test_a_learner_has_its_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of continuous actions; one that refuses them and is measured on discrete ones; one twice."""
    benchmark = load("learners")
    small = {"batch_size": 16, "hidden_dim": 8, "ensemble_size": 3, "loss_chunk": 8}
    configuration = benchmark.configuration
    monkeypatch.setattr(benchmark, "RECORDINGS", 1)
    monkeypatch.setattr(benchmark, "configuration", lambda *a: configuration(*a).extended(**small))
    only = ("navigation", "bc", "spacql", "iql_cql")
    also = ("--also", "critic_dtype=bfloat16")
    assert benchmark.main(["--repeats", "2", "--only", *only, *also, "--transitions", "500"]) == 0
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    head, _, *rows = lines
    learners = ["bc", "iql_cql", "spacql", "spacql, critic_dtype=bfloat16", "spacql, paper length"]
    learners.append("spacql, paper length, critic_dtype=bfloat16")
    assert [tuple(row[:2]) for row in rows] == [("Cooperative Navigation", name) for name in learners]
    for row in rows:
        of = dict(zip(head, (cell.rstrip(" %x") for cell in row), strict=True))
        assert int(of["rows"]) == 16 and 0 < float(of["outside products"]) < 100
        assert 0 < float(of["ms min"]) <= float(of["ms median"])
        assert float(of["sampling ms"]) > 0 and float(of["recorded"]) > 0 and float(of["GFLOP/s"]) >= 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--only bc hopper --also actor_lr=-3", "actor_lr=-3: this must be a number above 0"),
        ("--only bc hopper --also q_lr=1", "--also q_lr=1: none of bc has this key"),
    ],
)
def test_a_row_that_cannot_be_measured_is_no_silence(words: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load("learners").main([*words.split(), "--repeats", "1", "--transitions", "200"])


def test_an_evaluation_that_cannot_be_timed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = load("evaluation_share")

    def refuse(task: str, algorithm: str, updates: int) -> None:
        raise ConfigError("not installed")

    monkeypatch.setattr(benchmark, "measure", refuse)
    assert benchmark.rows(["mpe"], ["bc"], 1) == []
    assert capsys.readouterr().err == "bc_discrete on mpe is left out: not installed\n"


def test_the_work_of_products_is_counted() -> None:
    """BC of three agents: a product forward and two backward, but none for the gradient of the observations."""
    benchmark = load("learners")
    (case,) = benchmark.cases("hopper", ["bc"], 2000, {"": {"hidden_dim": 32}})
    case.count()
    layers = [(14, 32), (32, 32), (32, 1)]
    products = sum(2 * 3 * 1024 * inputs * outputs * (3 if inputs == 32 else 2) for inputs, outputs in layers)
    assert case.operations == products
    assert load("products").flops("aten::addmv", [[4], [4, 3], [3]]) == 2 * 4 * 3


def test_the_learners_benchmark_takes_the_files_values() -> None:
    configuration = load("learners").configuration
    assert [configuration(name).batch_size for name in ("bc", "spacql", "comadice")] == [1024, 2048, 256]
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


def test_the_protocol_draws_keys_that_exist_and_writes_grid_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = load("protocol")
    monkeypatch.setattr(sys, "argv", ["protocol.py", "draws", str(tmp_path)])
    benchmark.main()
    capsys.readouterr()
    for name, (common, ranges) in benchmark.RANGES.items():
        assert not (common | ranges).keys() - algorithm(name).keys()
        found = grid_file(str(tmp_path / f"draws-{name}.yaml"), [])
        assert len(found) == len({choice.words for choice in found}) == 8
        assert {choice.updates["dataset"] for choice in found} == {f"mpe/simple_spread/{benchmark.SEARCHED}"}
        for choice in found:
            assert all(choice.updates[key] in values for key, values in ranges.items())
            config = configured(name, str(choice.env), choice.updates, False, print, print).final
            assert unread_warning(config, choice.words, name) is None


def test_relatives_of_cfcql_get_the_same_draws() -> None:
    benchmark = load("protocol")
    assert all(benchmark.draws(name) == benchmark.draws("cfcql") for name in ("macql", "icql_qs", "spacql"))
    assert benchmark.draws("omar") != benchmark.draws("cfcql")


def test_the_protocol_takes_its_best_draw_and_published_values_to_other_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = load("protocol")
    draws = json.loads((ROOT / "docs" / "results" / "cn-draws" / "omiga.json").read_text())
    best = max(draws["runs"], key=lambda run: run["final"]["normalised score"])
    draws["runs"] = [best, *(run for run in draws["runs"] if run is not best)][:5]
    (tmp_path / "five").mkdir()
    (tmp_path / "five" / "omiga.json").write_text(json.dumps(draws))
    for words in (["finals", str(tmp_path), str(tmp_path / "five"), "--only", "omiga"],
                  ["published", str(tmp_path), "--only", "icq", "omar", "spacql"]):  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["protocol.py", *words, "--task", "simple_tag"])
        benchmark.main()
    assert "omiga: 5 of 8 draws have a score" in capsys.readouterr().out
    names = {path.stem for path in tmp_path.glob("*.yaml")}
    assert names == {"finals-omiga", "published-icq", "published-omar"}  # SPaCQL's published values are elsewhere
    found = {name: grid_file(str(tmp_path / f"{name}.yaml"), []) for name in names}
    for choices in found.values():
        assert [choice.updates["dataset"].split("/") for choice in choices] == [
            ["mpe", "simple_tag", quality] for quality in ("random", "medium-replay", "medium", "expert")
        ]
    assert {choice.updates["alpha"] for choice in found["finals-omiga"]} == {10.0}
    assert all("tuned" not in choice.updates for choice in found["published-omar"])
    assert all(choice.updates["tuned"] == "none" for choice in found["published-icq"])


def test_robots_have_longer_runs_their_own_draws_and_rewards_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = load("protocol")
    for what in ("draws", "published"):
        for task in ("hopper", "ant", "halfcheetah", "halfcheetah_2x3"):
            monkeypatch.setattr(sys, "argv", ["protocol.py", what, str(tmp_path / task), "--task", task])
            benchmark.main()
    for name in benchmark.RANGES:
        drawn = grid_file(str(tmp_path / "ant" / f"draws-{name}.yaml"), [])
        assert {choice.updates["dataset"] for choice in drawn} == {"mamujoco/Hopper-3x1/medium-replay"}
        short = benchmark.RANGES[name][0] is benchmark.SHORT
        assert {choice.updates["t_max"] for choice in drawn} == {5000 if short else 1000}
        for choice in drawn:
            config = configured(name, str(choice.env), choice.updates, False, print, print).final
            assert unread_warning(config, choice.words, name) is None
            assert config["test_nepisode"] == 100
            assert name not in ("comadice", "optdice") or config["grad_norm_clip"] is None
            assert config.get("gamma", 0.99) == 0.99 and config.get("reward_scaling", "none") == "none"
            assert config.get("penalty_samples", "policies") == "policies"
            assert config.get("cql_penalty", "logsumexp_policies") == "logsumexp_policies"
    full = grid_file(str(tmp_path / "halfcheetah" / "published-comadice.yaml"), [])
    assert {(str(choice.env), choice.updates["t_max"]) for choice in full} == {("mamujoco", 20000)}
    assert [choice.updates["dataset"] for choice in full] == [
        f"mamujoco/HalfCheetah-6x1/{quality}" for quality in ("medium-replay", "medium", "expert", "medium-expert")
    ]
    other = grid_file(str(tmp_path / "halfcheetah_2x3" / "published-bc.yaml"), [])
    assert {str(choice.env) for choice in other} == {"halfcheetah_2x3"}
    assert [choice.updates["dataset"] for choice in other] == [
        f"mamujoco/HalfCheetah-2x3/{quality}" for quality in ("random", "medium-replay", "medium", "expert")
    ]


def test_the_protocol_covers_every_offline_learner_of_continuous_actions() -> None:
    names = [path.stem for path in (CONFIG / "algs").glob("*.yaml")]
    offline = {name for name in names if algorithm(name).get("offline")}
    discrete = {"bc_discrete", "comadice_discrete", "icq_discrete", "iql_cql", "qmix_cql", "spacql_discrete"}
    # fqe values policies and makes none
    assert set(load("protocol").RANGES) == offline - discrete - {"fqe"}


def test_kappa_is_ranked_against_what_partial_replacement_gains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Gains of 9, 6, 3 and 0 for kappas of 0.1, 0.2, 0.4 and 0.3: two neighbours are the wrong way round."""
    benchmark = load("kappa_gain")
    kappas = {"a": 0.1, "b": 0.2, "c": 0.4, "d": 0.3}
    monkeypatch.setattr(benchmark, "kappa_of", lambda name: {"mean": kappas[name], "interval": [0.0, 0.5]})
    for number, name in enumerate(kappas):
        for seed in (1, 2):
            for method, gain in (("cfcql", 0), ("spacql", 9 - 3 * number)):
                make_run(tmp_path / f"{name}{seed}{method}", seed, [0.0, 50.0 + seed + gain], name=method, dataset=name,
                         checksum=name)  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["kappa_gain.py", str(tmp_path)])
    benchmark.main()
    said = capsys.readouterr().out
    assert "| a | 0.100 | 0.000 to 0.500 | +9.0 | +9.0 / +9.0 |" in said
    assert "rank correlation -0.80, 95 % [-1.00, " in said
    with pytest.raises(SystemExit, match="0 datasets have runs of both spacql and bc; four are needed"):
        monkeypatch.setattr(sys, "argv", ["kappa_gain.py", str(tmp_path), "--methods", "spacql", "bc"])
        benchmark.main()


def test_a_run_has_an_evaluation_at_the_start_after_every_interval_and_at_the_end() -> None:
    benchmark = load("evaluation_share")
    assert [benchmark.evaluations(10, interval) for interval in (5, 4, 10, 20)] == [3, 4, 2, 2]
    row = benchmark.Row("mpe", "bc", updates=100, update=0.02, evaluations=4, episodes=10, evaluation=0.5)
    assert row.share == pytest.approx(0.5)  # two seconds each
    assert set(benchmark.TASKS) <= set(config_names("envs")) and set(benchmark.ALGORITHMS) <= set(config_names("algs"))


def test_seeds_trained_together_are_measured() -> None:
    line = load("lanes").measure("bc", lanes=2, repeats=1, transitions=200)
    assert line.startswith("| bc | 1024 | ")


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "x", ""])
def test_a_number_of_repeats_is_above_zero(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load("lanes").main(["--repeats", given])
    assert ended.value.code == 2
    assert f"argument --repeats: {given!r} is no whole number above 0" in capsys.readouterr().err


def test_a_benchmark_ends_with_one_sentence() -> None:
    with pytest.raises(SystemExit) as ended:
        run(lambda: load("lanes").main(["--only", "nothing"]))
    assert str(ended.value) == "--config=nothing: there is no such configuration; nothing similar is known"
