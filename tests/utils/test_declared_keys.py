"""Keys are declared once: the YAML files and the documentation say what the declarations say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from learners import REGISTRY
from learners.bc_learner import BCLearner
from learners.optimisation import MIXER_KEYS
from tests import key_tables
from utils.config import CONFIG, algorithm, config_names, flattened_yaml, read_yaml
from utils.errors import ConfigError
from utils.keys import COUNT, POSITIVE, TEXT_OR_NULL, Key, Range, inherited
from utils.run_keys import RUN_KEYS

DEFAULT = CONFIG / "default.yaml"
NOT_IN_DEFAULT = {"name", "seed"}  # an algorithm file gives its name, Sacred draws the seed
IN_STOCKS_DEFAULT = {"gamma", "lr", "batch_size", "grad_norm_clip", "hidden_dim", "learner_log_interval"}


def faults(keys: dict[str, Key], values: dict[str, Any], text: str) -> list[str]:
    """What is wrong with a configuration file, by its learner's declarations."""
    found = []
    remarks = key_tables.comments(text)
    for name, key in keys.items():
        if name not in values:
            spared = name in IN_STOCKS_DEFAULT or name in MIXER_KEYS or key.optional or key.actions == "continuous"
            found += [] if spared else [f"{name} is missing"]
            continue
        try:
            key.check(name, values[name])
        except ConfigError as error:
            found.append(str(error))
        if not key_tables.begins_with(remarks[name], key.meaning):
            found.append(f"{name}: the comment '{remarks[name]}' does not begin with '{key.meaning}'")
    return found


def test_the_keys_of_every_run_are_those_of_the_defaults() -> None:
    values = read_yaml(DEFAULT)
    assert RUN_KEYS.keys() - NOT_IN_DEFAULT == values.keys()
    assert faults({name: RUN_KEYS[name] for name in values}, values, DEFAULT.read_text()) == []


@pytest.mark.parametrize("alg", [name for name in config_names("algs") if algorithm(name)["learner"]])
def test_an_algorithm_file_has_what_its_learner_declares(alg: str) -> None:
    values = algorithm(alg)
    assert faults(inherited(REGISTRY[values["learner"]], "KEYS"), values, flattened_yaml(alg)) == []


class Declaring(BCLearner):
    KEYS = {
        "actor_lr": Key("learning rate of the policies", Range(0, above=True)),
        "offline": Key("learn", bool),  # its comment goes on without a mark
        "input_norm": Key("standardisation of inputs", ("none", "batch")),
        "alpha": Key("weight", COUNT),
        "gamma": Key("discount", COUNT),
    }


def test_what_is_wrong_with_a_file_is_found() -> None:
    assert faults(vars(Declaring)["KEYS"], algorithm("bc_discrete"), flattened_yaml("bc_discrete")) == [
        "offline: the comment 'learn from a dataset' does not begin with 'learn'",
        "input_norm=dataset: choose one of none, batch",
        "alpha is missing",
    ]


def test_declarations_are_inherited() -> None:
    class Further(Declaring):
        KEYS = {"alpha": Key("another weight", COUNT), "beta": Key("one more", COUNT)}

    keys = inherited(Further, "KEYS")
    assert keys["alpha"].meaning == "another weight" and {"beta", "actor_lr"} <= keys.keys()
    assert inherited(Further, "ELSE") == {} == inherited(None, "KEYS")


@pytest.mark.parametrize(
    ("allowed", "good", "bad", "words"),
    [
        (bool, True, 1, "this must be True or False"),
        (str, "", None, "this must be text"),
        (TEXT_OR_NULL, None, 3, "this must be text, or None"),
        (dict, {}, [], "this must be a mapping"),
        (("one", None), None, "two", "choose one of one, None"),
        (COUNT, 1e4, 0, "this must be a whole number of at least 1"),
        (POSITIVE, 3e38, 1e39, "this must be a number above 0 and within single precision"),
        (RUN_KEYS["final_init"].allowed, 0.003, 1e308, "this must be a number above 0 and at most 1000, or None"),
        (Range(1, whole=True, word="auto"), "auto", "all", "this must be a whole number of at least 1, or auto"),
    ],
)
def test_values_are_checked_by_the_declaration(allowed: Any, good: Any, bad: Any, words: str) -> None:
    key = Key("what it means", allowed)
    assert key.check("k", good) == good
    with pytest.raises(ConfigError, match=f"^k=.*{words}$"):
        key.check("k", bad)


PAGES = key_tables.pages()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_in_the_documentation_are_up_to_date(page: Path) -> None:
    text = page.read_text()
    assert key_tables.rewritten(text) == text, "run python tests/key_tables.py --write"


def test_some_page_has_the_keys_of_every_run() -> None:
    assert any("<!-- keys: run -->" in page.read_text() for page in PAGES)


def test_a_learners_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "bc_learner", Declaring)
    page = "before\n<!-- keys: bc -->\nold\n<!-- end -->\nafter\n"
    lines = key_tables.rewritten(page).splitlines()
    assert lines[0] == "before" and lines[-1] == "after" and "old" not in lines
    assert r"| `actor_lr` | a number above 0 | `0.001` | learning rate of the policies |" in lines
    start = r"| `input_norm` | none \| batch | `dataset` | standardisation of inputs: "
    assert any(line.startswith(start) for line in lines)
