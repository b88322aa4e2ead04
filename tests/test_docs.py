"""What the documentation shows is true: its code runs, its commands and links exist."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from learners import REGISTRY as learner_REGISTRY
from tests.command_line import ROOT
from tests.learners.learner_tester import make_batch, make_learner
from utils import config, overrides

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "offline_data" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_configurations_keys_and_scripts_that_exist(page: Path) -> None:
    for line in re.findall(r"python ((?:src|benchmarks)/\S+\.py.*)", page.read_text().replace("`", "\n")):
        words = shlex.split(line, comments=True)
        assert (ROOT / words[0]).is_file(), line
        options = dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
        if words[0] != "src/main.py" or options.get("--config", "YOURS") == "YOURS":
            continue
        updates = overrides.with_updates(words)
        layers = config.layered_config(options["--config"], options["--env-config"], updates)
        overrides.check_updates(layers, updates)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_extras_that_are_installed_exist(page: Path) -> None:
    named = {name for names in re.findall(r"'\.\[([\w,-]+)\]'", page.read_text()) for name in names.split(",")}
    assert named <= extras().keys()


def test_what_stocks_scripts_import_is_installed_by_an_extra() -> None:
    """The test of those scripts skips what it cannot import, so somebody has to be able to install it."""
    skipped = re.findall(
        r'importorskip\("(\w+)"\)', (ROOT / "tests" / "compat" / "stock_in_ours" / "test_scripts.py").read_text()
    )
    installed = {re.split(r"\W", package)[0] for packages in extras().values() for package in packages}
    assert {"seaborn", "click"} <= set(skipped) <= installed
    assert "'.[stock-scripts]'" in (ROOT / "docs" / "from-stock.md").read_text()


def extras() -> dict[str, list[str]]:
    """Those of setup.py and what they install."""
    calls = [node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())) if isinstance(node, ast.keyword)]
    (found,) = [node.value for node in calls if node.arg == "extras_require"]
    extras: dict[str, list[str]] = ast.literal_eval(found)
    return extras


def test_the_example_learner_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class in docs/adding-a-learner.md regresses logged actions."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "adding-a-learner.md").read_text(), re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    exec(code.group(1), names)
    monkeypatch.setitem(learner_REGISTRY, "bc_example", names["RegressionLearner"])
    learner = make_learner(learner="bc_example", actor_lr=0.01)
    batch = make_batch(learner.args)
    losses = []
    for step in range(60):
        losses.append(learner("actor", batch, {})[0].item())
        learner.train(batch, step + 1, 0)
    assert losses[-1] < 0.8 * losses[0]


def test_the_console_command_is_installed() -> None:
    import epymarl_offline_launcher

    assert epymarl_offline_launcher.MAIN == ROOT / "src" / "main.py"
