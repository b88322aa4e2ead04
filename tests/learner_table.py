"""The table of all learners in docs/choosing-a-learner.md, found by building runs of each on two bundled datasets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from learners import REGISTRY
from loops.configured import configured
from loops.rehearsal import attempt, check_offline
from utils.config import algorithm, config_names, layered_config
from utils.errors import UserError
from utils.keys import Key, inherited

DATA = {"continuous": "mpe/simple_tag/medium-replay", "discrete": "matrix_game/xor/ab-ba"}
RECURRENT = {"window": None, "batch_size": 32, "buffer_size": 32}
SHARED, SEPARATE = {"mac": "basic_mac"}, {"mac": "non_shared_mac"}
DECIDING = ("mixer", "advantage", "critic")  # keys that may decide whose values judge
WITH_MEMORY = ("rnn", "rnn_ns", "bcq_rnn_ns")
HEAD = (
    "| `--config=` | learns from | actions | recurrent agents | parameters | critics | checked against |\n"
    "|---|---|---|---|---|---|---|"
)
# On a page of docs/learners: what a learner's tests hold it against, beside the shared tester. Configurations of one
# learner share an entry, unless they have their own.
PAGES = Path(__file__).resolve().parents[1] / "docs" / "learners"
ENTRY = re.compile(r"^<!-- checked (\S+): (.+) -->$", re.MULTILINE)


def table() -> str:
    """The Markdown table: a row for each algorithm file that has a learner."""
    rows = [HEAD]
    for name in config_names("algs"):
        if algorithm(name).get("learner") is None:
            continue
        config = layered_config(name, "none", {})
        learner: Any = REGISTRY[config["learner"]]
        actions = [kind for kind, dataset in DATA.items() if trains(name, dataset, {})]
        remember = [
            kind for kind in actions
            if any(trains(name, DATA[kind], RECURRENT | {"agent": agent}) for agent in WITH_MEMORY)
        ]  # fmt: skip
        recurrent = "yes" if remember == actions else " and ".join(remember) or "no"
        if not actions:  # it learns from no dataset alone
            actions, recurrent = sorted(learner.action_types), "-"
        source = "data" if config["offline"] else "the environment"
        cells = (f"`{name}`", source, " and ".join(actions), recurrent, parameters(name, config),
                 critics(name, config), checked(name, config["learner"]))  # fmt: skip
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def checked(name: str, learner: str) -> str:
    """What tests hold a configuration's learner against. Raises UserError where no page says it."""
    found = dict(entry for page in sorted(PAGES.glob("*.md")) for entry in ENTRY.findall(page.read_text()))
    if name not in found and learner not in found:
        raise UserError(
            f"no page in docs/learners says what the tests of learner={learner} hold it against; add to its page a "
            f"line such as <!-- checked {learner}: its losses by brute force -->"
        )
    return found.get(name) or found[learner]


def parameters(name: str, config: dict[str, Any]) -> str:
    """Whose the policies' parameters are in runs that could start, the file's own choice first."""
    if getattr(REGISTRY[config["learner"]], "FIXED_POLICY", False):  # another run's policies
        return "-"
    kind = config["agent"].removesuffix("_ns")
    choices = {"per agent": SEPARATE | {"agent": f"{kind}_ns"}, "shared": SHARED | {"agent": kind}}
    found = [words for words, updates in choices.items() if runs(name, updates)]
    return " or ".join(found if config["mac"] == SEPARATE["mac"] else reversed(found))


def critics(name: str, config: dict[str, Any]) -> str:
    """Whose values judge actions, what keys change in that, and whether one network of them may serve all agents."""
    learner: Any = REGISTRY[config["learner"]]
    cell: str = learner.critics(config)
    said = {cell}
    keys: dict[str, Key] = inherited(learner, "KEYS")
    for key in (key for key in DECIDING if key in keys):
        choices = keys[key].allowed
        for value in choices if isinstance(choices, tuple) else ():
            other = learner.critics(config | {key: value})
            if other not in said and runs(name, {key: value}):
                said.add(other)
                cell += f"; with `{key}={value}` {other}"
    if "shared_critics" in keys:
        both = [value for value in (True, False) if runs(name, {"shared_critics": value})]
        cell += "; shared or not" if len(both) == 2 else ""
    return cell


def runs(name: str, updates: dict[str, Any]) -> bool:
    """Whether a run with these updates could start, on a dataset or, where none is learned from, in an environment."""
    if any(trains(name, dataset, updates) for dataset in DATA.values()):
        return True
    if algorithm(name)["offline"]:
        return False
    given = {"use_cuda": False, "seed": 0, **updates}
    try:
        attempt(configured(name, "matrix_game", given, False, quiet, quiet).final)
    except UserError:
        return False
    return True


def trains(name: str, dataset: str, updates: dict[str, Any]) -> bool:
    """Whether a configuration with these updates could train on a dataset."""
    given = {"dataset": dataset, "offline": True, "use_cuda": False, "seed": 0, **updates}
    try:
        check_offline(configured(name, "none", given, False, quiet, quiet).final)
    except UserError:
        return False
    return True


def quiet(sentence: str) -> None:
    """Say nothing."""
