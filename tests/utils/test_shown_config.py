"""`print_config` and `--help`: what an algorithm reads, with comments, and which algorithms there are."""

from __future__ import annotations

import re

import pytest

import main
from learners import REGISTRY
from loops import configured, rehearsal
from loops.usage import EXAMPLES, action_types, usage
from utils.config import algorithm, config_names, layered_config
from utils.keys import Key, inherited
from utils.run_keys import READ_BY_LEARNERS, RUN_KEYS
from utils.shown_config import WIDTH, comments, keys_read, lines

WITH_LEARNER = [name for name in config_names("algs") if algorithm(name)["learner"]]


def own_keys(alg: str) -> dict[str, Key]:
    return inherited(REGISTRY.get(algorithm(alg)["learner"]), "KEYS")


@pytest.mark.parametrize("alg", config_names("algs"))
def test_every_key_that_is_shown_has_a_comment(alg: str) -> None:
    config = layered_config(alg, "mpe", {})
    shown = list(lines(config, own_keys(alg), (alg, "mpe"), {}))
    assert max(map(len, shown)) <= WIDTH
    for above, line in zip(shown, shown[1:], strict=False):
        if " = " in line and not line.lstrip().startswith("#"):
            assert above.lstrip().startswith("# "), line


@pytest.mark.parametrize("alg", WITH_LEARNER)
def test_all_that_a_learner_declares_is_shown(alg: str) -> None:
    config = layered_config(alg, "mpe", {})
    hidden = {key for key in own_keys(alg) if key in config} - set(keys_read(config, own_keys(alg)))
    assert hidden <= {key for key, each in own_keys(alg).items() if each.actions or each.where}, hidden


def test_keys_that_an_algorithm_does_not_read_are_not_shown() -> None:
    offline, online = (keys_read(layered_config(alg, "mpe", {}), own_keys(alg)) for alg in ("spacql", "qmix"))
    assert {"train_reward", "alpha_cql", "final_init", "env_args", "t_max"} <= set(offline)
    assert not {"buffer_size", "epsilon_start", "mixing_embed_dim", "mixer_nonneg", "lr", "use_rnn"} & set(offline)
    assert {"buffer_size", "epsilon_start", "mixing_embed_dim", "q_lr"} <= set(online)
    assert not {"train_reward", "mixer_nonneg", "alpha_cql", "final_init"} & set(online)
    stock = {"learner": "theirs", "anything": 1}
    assert keys_read(stock, {}) == list(stock)
    assert RUN_KEYS.keys() >= READ_BY_LEARNERS


def test_the_highest_layer_comments() -> None:
    found = comments("cfcql", "mpe")
    assert found["batch_size"] == "transitions per critic update"  # of its base
    assert found["ensemble_size"] == "number of critics, and of target critics"
    assert found["env_args.time_limit"].startswith("time limit in steps")
    assert found["mongo"].startswith("MongoDB that records the run too")
    assert comments(None, "none")["batch_size"] == "windows per training batch (episodes where window is null)"


def test_what_is_given_is_marked_and_hidden_is_what_is_secret(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["gamma=0.5", "env_args.time_limit=30", "buffer_size=7", "mongo=me:word@host:27017:runs"]
    assert main.main(["main.py", "print_config", "--config=spacql", "--env-config=mpe", "with", *words]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "  gamma = 0.5 # given" in shown and "    time_limit = 30 # given" in shown
    assert shown[shown.index("  gamma = 0.5 # given") - 1] == "  # discount"
    assert shown[-1] == "  buffer_size = 7 # given, and not read by this run"
    assert "  alpha_cql = 0.5" in shown and not any("me:word@" in line for line in shown)
    assert any("each run draws its own" in line for line in shown)


def test_help_has_examples_and_all_algorithms(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["main.py", "--help"]) == 0
    text = capsys.readouterr().out
    assert text == usage() + "\n" and max(map(len, text.splitlines())) <= WIDTH
    assert len(EXAMPLES) == 3
    listed = text.split("  ENV:")[0]
    for alg in config_names("algs"):
        assert re.search(rf"(^ +|[:,] ){alg}(,|$)", listed, re.MULTILINE), alg
    head, _, rest = listed.partition("learn in an environment (online)")
    assert re.search(r"^    continuous actions: .*\bmatd3_bc\b", head, re.MULTILINE)
    assert "discrete actions: iql, iql_ns" in rest
    assert (action_types("bc"), action_types("matd3"), action_types("vdn")) == (
        ("continuous", "discrete"), ("continuous",), ("discrete",),
    )  # fmt: skip


def test_help_on_flags_and_verbs_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["main.py", "--config=spacql", "--env-config=mpe", "--help"]) == 0
    text = capsys.readouterr().out
    assert "print_config" in text and max(map(len, text.splitlines())) <= WIDTH


@pytest.mark.parametrize("command", [command for _, command in EXAMPLES], ids=[what for what, _ in EXAMPLES])
def test_the_examples_of_help_can_be_typed(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main.ex, "add_config", lambda config: None)
    monkeypatch.setattr(main, "add_observers", lambda flags, config: None)
    monkeypatch.setattr(main, "rehearse", lambda config: None)
    monkeypatch.setattr(configured, "earlier_run", lambda given, alg: None)  # there is no such run here
    words = command.replace("\\\n", " ").split()
    assert words[:2] == ["python", "src/main.py"]
    if not words[2].startswith("--config="):  # then the run that it names says which
        words[2:2] = ["--config=spacql", "--env-config=mpe"]
    assert main.prepare(words[1:]).updates


def shown_by(capsys: pytest.CaptureFixture[str], alg: str, env: str, *words: str) -> set[str]:
    """The keys that `print_config` shows, beside those that are given and not read."""
    updates = ["with", *words] if words else []
    assert main.main(["main.py", "print_config", f"--config={alg}", f"--env-config={env}", *updates]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "not read by this run" not in line]
    return {found[1] for line in lines if (found := re.match(r"  (\w+) = ", line))}


def unfolded(text: str) -> str:
    """Comments without their breaks."""
    return re.sub(r"\s+# |\s+", " ", text)


def test_the_data_decide_which_keys_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    continuous = {"target_noise", "n_penalty_samples", "action_l2", "pre_tanh_l2"}
    moves, choices = (
        shown_by(capsys, "spacql", "none", f"dataset={name}")
        for name in ("mpe/simple_spread/random-100k", "matrix_game/xor/ab")
    )
    assert continuous <= moves and not continuous & choices and "mask_before_softmax" in choices - moves
    nothing_there = shown_by(capsys, "spacql", "none", "dataset=none/of/this/name")
    assert continuous | {"mask_before_softmax"} <= nothing_there
    words = ["print_config", "--config=spacql", "--env-config=none", "with", "dataset=none/of"]
    assert main.main(["main.py", *words]) == 0
    told = unfolded(capsys.readouterr().out)
    assert "discrete actions, since the run's are unknown: there is no dataset 'none/of'" in told
    assert "initial_std" in shown_by(capsys, "mappo", "mpe")
    assert not {"initial_std", "exploration_noise"} & shown_by(capsys, "mappo", "matrix_game")


def test_a_simulator_that_fails_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(settings: object) -> None:
        raise RuntimeError("no screen")

    monkeypatch.setattr(rehearsal, "make_env", fails)
    assert main.main(["main.py", "print_config", "--config=mappo", "--env-config=mpe"]) == 0
    assert "since the run's are unknown: RuntimeError: no screen" in unfolded(capsys.readouterr().out)


def test_keys_that_another_key_switches_off_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert not {"penalty_temperature", "density_lr"} & shown_by(capsys, "spacql", "mpe")
    weighed = shown_by(capsys, "spacql", "mpe", "penalty_weights=density", "partial_replacement=full")
    assert {"penalty_temperature", "density_lr"} <= weighed and "uncertainty_ensemble" not in weighed
    assert main.main(["main.py", "print_config", "--config=spacql", "--env-config=mpe", "with", "density_lr=1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "  density_lr = 1 # given, and not read by this run"
