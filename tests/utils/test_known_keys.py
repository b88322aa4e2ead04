"""A misspelt key of a configuration file is refused with the nearest one; what something reads loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import main
from learners import REGISTRY
from learners.bc_learner import BCLearner
from tests.compat.stock_checkout import stock_checkout
from utils import config
from utils.errors import ConfigError
from utils.keys import COUNT, Key
from utils.known_keys import STOCK_KEYS, check_known, keys_in_code, keys_of_learner
from utils.run_keys import RUN_KEYS


def keys_of(learner: Any) -> set[str]:
    return keys_of_learner(REGISTRY.get(learner))


def layers(alg: str, env: str = "mpe", **updates: Any) -> dict[str, Any]:
    return config.layered_config(alg, env, updates, known_of=keys_of)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of configuration files, with an algorithm `mine` and an environment `here`."""
    monkeypatch.setattr(config, "CONFIG", tmp_path)
    for folder in ("algs", "envs", "tuned/mine"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "default.yaml").write_text("tuned: own\ndataset: null\noffline: true\n")
    (tmp_path / "algs" / "mine.yaml").write_text('name: "mine"\nlearner: "bc_learner"\nactor_lr: 0.1\n')
    (tmp_path / "envs" / "here.yaml").write_text('env: "here"\nenv_args: {any: 1}\n')
    return tmp_path


@pytest.mark.parametrize("alg", config.config_names("algs"))
def test_the_shipped_files_hold_known_keys(alg: str) -> None:
    for env in config.config_names("envs"):
        layers(alg, env)
    layers(alg, learner="bc_learner")  # whose file does not declare the other learner's keys


@pytest.mark.parametrize("name", ["default.yaml", "algs/mine.yaml", "envs/here.yaml", "tuned/mine/d.yaml"])
@pytest.mark.parametrize(("key", "near"), [("actr_lr", "actor_lr"), ("btach_size", "batch_size"), ("Gamma", "gamma")])
def test_a_misspelt_key_is_refused_with_the_nearest(files: Path, name: str, key: str, near: str) -> None:
    with (files / name).open("a") as file:
        file.write(f"{key}: 1\n")
    with pytest.raises(ConfigError, match=f"^{name}: nothing reads the key '{key}'; did you mean '{near}'"):
        layers("mine", "here", dataset="d")


def test_a_base_is_checked_as_well(files: Path) -> None:
    (files / "algs" / "child.yaml").write_text("base: mine\n")
    assert layers("child", "here")["actor_lr"] == 0.1
    (files / "algs" / "mine.yaml").write_text("actr_lr: 0.1\nlearner: bc_learner\n")
    with pytest.raises(ConfigError, match=r"algs/mine.yaml: nothing reads the key 'actr_lr'"):
        layers("child", "here")


class Declaring(BCLearner):
    KEYS = {"sharpness": Key("sharpness of all things", COUNT)}
    ALIASES = {"blunt": "sharpness"}


class Undeclared:
    """A learner as stock EPyMARL has them, which reads args.my_own_temperature of a SimpleNamespace."""

    def __init__(self, args: Any) -> None:
        hyper = vars(args)
        self.value = hyper["my_own_temperature"]


def test_a_users_learner_declares_its_keys_or_none(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'name: "mine"\nlearner: "their_learner"\n'
    for learner, good, bad in (
        (Declaring, ("sharpness", "blunt"), "sharpnes"),
        (Undeclared, ("my_own_temperature",), "_".join(("mine", "own"))),
    ):
        monkeypatch.setitem(REGISTRY, "their_learner", learner)  # type: ignore[arg-type]
        for key in good:
            (files / "algs" / "mine.yaml").write_text(f"{text}{key}: 2\n")
            layers("mine", "here")
        (files / "algs" / "mine.yaml").write_text(f"{text}{bad}: 2\n")
        with pytest.raises(ConfigError, match=f"nothing reads the key '{bad}'"):
            layers("mine", "here")


def test_code_is_searched_for_what_it_reads(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "args.one; self.args.two\ngetattr(args, 'three', 0); args['four']\n'five': Key('x', COUNT)"
    )
    assert keys_in_code(tmp_path) == {"one", "two", "three", "four", "five"}


def test_stock_files_load_as_they_are() -> None:
    """Every key of every file of stock EPyMARL is known, whoever reads it."""
    folder = stock_checkout() / "src" / "config"
    for path in sorted(folder.glob("*/*.yaml")):
        check_known({path.name: config.read_yaml(path)}, (), Path("/nowhere"))
    stock = config.read_yaml(folder / "default.yaml")
    assert stock.keys() <= STOCK_KEYS | RUN_KEYS.keys()


def test_force_lets_every_key_pass(files: Path) -> None:
    command = ["main.py", "print_config", "--config=mine", "--env-config=here"]
    (files / "algs" / "mine.yaml").write_text("actr_lr: 0.1\nlearner: bc_learner\n")
    with pytest.raises(ConfigError, match="nothing reads"):
        main.prepare(command)
    (files / "default.yaml").write_text("tuned: own\nenv_args: {}\n")
    with pytest.raises(ConfigError, match="has no key `name`"):
        main.prepare([*command, "--force"])
