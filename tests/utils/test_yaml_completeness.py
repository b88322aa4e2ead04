"""Every `args.X` that a component reads is a key of default.yaml or of each algorithm that uses the component.

Reads behind `getattr` with a default are no reads here, nor are keys that a run sets itself.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from components.action_selectors import REGISTRY as selector_REGISTRY
from controllers import REGISTRY as mac_REGISTRY
from learners import REGISTRY as learner_REGISTRY
from loops.resolve import CONTINUOUS_OUTPUTS, EXPLORERS, SELECTORS
from modules.agents import REGISTRY as agent_REGISTRY
from utils.config import CONFIG, SOURCE, algorithm, config_names, merge, read_yaml
from utils.keys import POSITIVE, Key, inherited
from utils.run_keys import RUN_KEYS

# What main.py, run.py and the loops put on `args`.
SET_BY_THE_RUN = {"n_agents", "n_actions", "state_shape", "action_low", "action_high", "device", "seed", "unique_token",
                  "results"}  # fmt: skip
# What a component's file reads and this configuration's way through it does not, by a part of the configuration's name.
NOT_HERE = {
    "alberdice": {"ensemble_size", "critic_dtype"},  # the same as in ComaDICE, of critics of one agent's action
    "comadice": {"ensemble_size", "critic_dtype"},  # the learner itself says what its one critic of the state is
    "optdice": {"ensemble_size", "critic_dtype"},  # the same
}
# What an agent reads that refuses all learners but its own.
OF_ONE_LEARNER = {"behaviour_threshold", "perturbation_reach", "acting_candidates"}
MIXERS = set((SOURCE / "modules" / "mixers").glob("*.py"))  # `mixer` may name any of them in any configuration
PACKAGES = ("learners", "controllers", "components", "modules")


def reads(tree: ast.AST) -> set[str]:
    """The X of every `args.X` and `self.args.X` that is read, and the keys that a `LossSpec` names."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "LossSpec":
            keys = [word.value for word in node.keywords if word.arg in ("lr", "interval")]
            found |= {str(key.value) for key in keys if isinstance(key, ast.Constant)}
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if name == "args":
                found.add(node.attr)
    return found


def imported(tree: ast.AST) -> set[Path]:
    """The files of our components that a file imports; registries aside, whose choice is the configuration's."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            names.add(node.module)
    files = (SOURCE / f"{name.replace('.', '/')}.py" for name in names if name != "components.action_selectors")
    return {file for file in files if file.is_file()}


def closure(files: set[Path]) -> set[str]:
    """What `files`, and the component files that they import, read."""
    seen: set[Path] = set()
    keys: set[str] = set()
    while files - seen:
        file = (files - seen).pop()
        seen.add(file)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        keys |= reads(tree)
        files = files | imported(tree)
    return keys


def selector_reads(names: set[str]) -> set[str]:
    """What selectors read, by class: they share a file."""
    classes = {base for name in names for base in selector_REGISTRY[name].__mro__ if base is not object}
    return set().union(*(reads(ast.parse(inspect.getsource(found))) for found in classes))


def components(config: dict[str, Any]) -> set[type]:
    """The classes that a configuration names."""
    chosen: list[tuple[dict[str, Any], str]] = [
        (learner_REGISTRY, "learner"), (mac_REGISTRY, "mac"), (agent_REGISTRY, "agent"),
    ]  # fmt: skip
    return {registry[config[key]] for registry, key in chosen if config.get(key) is not None}


DEFAULT = read_yaml(CONFIG / "default.yaml")


@pytest.mark.parametrize("alg", config_names("algs"))
def test_a_configuration_has_every_key_its_components_read(alg: str) -> None:
    config = merge(DEFAULT, algorithm(alg))
    needed = closure({Path(inspect.getfile(found)) for found in components(config)} | MIXERS)
    selector = config["action_selector"]
    open_choices = {"auto": set(SELECTORS.values()), "explore": set(EXPLORERS.values())}
    needed |= selector_reads(open_choices.get(selector, {selector}))
    elsewhere = set().union(*(keys for part, keys in NOT_HERE.items() if part in alg))
    missing = needed - config.keys() - SET_BY_THE_RUN - elsewhere
    assert not missing, f"{alg}.yaml lacks {sorted(missing)}"


def test_what_no_configuration_names_can_be_chosen_from_default_yaml() -> None:
    """Controllers, agents, selectors and mixers that `with` may choose in any configuration."""
    registries = (mac_REGISTRY, agent_REGISTRY)
    classes: set[Any] = {found for registry in registries for found in registry.values()}
    needed = closure({Path(inspect.getfile(found)) for found in classes} | MIXERS) | selector_reads(
        set(selector_REGISTRY)
    )
    missing = needed - DEFAULT.keys() - SET_BY_THE_RUN - OF_ONE_LEARNER
    assert not missing, f"default.yaml lacks {sorted(missing)}"


def undeclared(learner: type) -> set[str]:
    """What a learner's file reads and neither the learner nor every run declares."""
    read = reads(ast.parse(Path(inspect.getfile(learner)).read_text(encoding="utf-8")))
    return read - RUN_KEYS.keys() - SET_BY_THE_RUN - inherited(learner, "KEYS").keys()


def test_a_learner_that_declares_keys_declares_all_that_it_reads() -> None:
    missing = {name: undeclared(learner) for name, learner in learner_REGISTRY.items() if inherited(learner, "KEYS")}
    assert not any(missing.values()), missing


def test_keys_that_are_read_undeclared_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = learner_REGISTRY["matd3_learner"]
    monkeypatch.setattr(learner, "KEYS", {"reward_scale": Key("factor on rewards", POSITIVE)}, raising=False)
    assert "target_noise" in undeclared(learner) and "reward_scale" not in undeclared(learner)


def test_the_check_sees_what_it_should() -> None:
    body = "args.y = 1; return args.a, self.args.b, getattr(args, 'c', 0), LossSpec('q', lr='d', interval='e')"
    assert reads(ast.parse(f"def f(self, args):\n  {body}")) == {"a", "b", "d", "e"}
    read = closure({Path(inspect.getfile(learner_REGISTRY["spacql_learner"]))})
    assert {"actor_lr", "hidden_dim", "ensemble_size", "learner_log_interval"} <= read


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("action_selector", [*selector_REGISTRY, "auto", "explore"]),
        ("agent_output_type", [*SELECTORS, *CONTINUOUS_OUTPUTS]),
        ("agent", agent_REGISTRY),
        ("mac", mac_REGISTRY),
    ],
)
def test_comments_of_the_defaults_name_every_choice(key: str, names: Iterable[str]) -> None:
    (line,) = (line for line in (CONFIG / "default.yaml").read_text().splitlines() if line.startswith(f"{key}:"))
    missing = set(names) - set(re.findall(r"\w+", line.partition("#")[2]))
    assert not missing
