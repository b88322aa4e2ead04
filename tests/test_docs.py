"""What the documentation shows is true: its code runs; its commands, links, files and recipes exist."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import main
from datasets.arguments import parser as dataset_parser
from datasets.dataset import read_dataset
from datasets.names import recipes
from learners import REGISTRY as learner_REGISTRY
from loops.configured import configured
from loops.unread import unread_warning
from tests.command_line import ROOT
from tests.learners.learner_tester import make_batch, make_learner
from utils import config, overrides

PAGES = [
    ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "offline_data" / "README.md",
    ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md",
]  # fmt: skip
FAMILIES = sorted(path for path in (ROOT / "offline_data" / "recipes").glob("*.sh") if path.name != "common.sh")
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """A page without its blocks of code, in which brackets mean other things."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^ {4}\S.*$", "", text, flags=re.MULTILINE)


@cache
def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings: lower case, spaces to hyphens, most punctuation dropped."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(next(name for name in (anchor, *(f"{anchor}-{i}" for i in range(1, 99))) if name not in found))
    return found


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file or folder of the repository, and every anchor a heading."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists() and path.is_relative_to(ROOT), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(path), f"{link}: {path.name} has no such heading"


def test_every_page_is_linked() -> None:
    """From another page, or by a link to its folder."""
    linked = set()
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)", prose(page)):
            path = (page.parent / link).resolve()
            linked |= set(path.glob("*.md")) if path.is_dir() else {path} - {page}
    assert set(PAGES) - {ROOT / "README.md"} <= linked


@every_page
def test_files_that_are_named_exist(page: Path) -> None:
    """Paths from the repository root, in backticks; those with a placeholder or a pattern are left out."""
    folders = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "results")
    for name in re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text()):
        assert (ROOT / name).exists(), name


@every_page
def test_commands_name_configurations_keys_and_scripts_that_exist(page: Path) -> None:
    for line in re.findall(r"python ((?:src|benchmarks|examples)/\S+\.py.*)", page.read_text().replace("`", "\n")):
        check_command(shlex.split(line, comments=True))
    for line in re.findall(r"^ {4}sh (\S+\.sh.*)", page.read_text(), re.MULTILINE):
        script, *wanted = shlex.split(line, comments=True)
        assert (ROOT / script).is_file() and (not wanted or wanted[0] in sets(ROOT / script)), line


def check_command(words: list[str]) -> None:
    """Fail where a script, a configuration or an overridden key does not exist."""
    assert (ROOT / words[0]).is_file(), words
    options = dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
    if words[0] != "src/main.py" or options.get("--config", "YOURS") == "YOURS":
        return
    command = main.prepare([*words, "--help"])  # every flag is known
    updates = {key: value for key, value in command.updates.items() if key != "config_filename"}
    layers = config.layered_config(options["--config"], options["--env-config"], updates)
    overrides.check_updates(layers, updates)
    # The run of a checkpoint says what it reads; the runner "offline" is stock's, and takes a dataset.
    if "checkpoint_path" not in updates and updates.get("runner") != "offline":
        run = configured(options["--config"], options["--env-config"], updates, False, print, print).final
        assert unread_warning(run, command.words, options["--config"]) is None, words


@every_page
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
    assert "'.[stock-scripts]'" in (ROOT / "docs" / "reference" / "stock-in-ours.md").read_text()


def extras() -> dict[str, list[str]]:
    """The extras of setup.py and what they install."""
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
    learner = make_learner(learner="bc_example", actor_lr=0.01, pre_tanh_l2=0.0)
    batch = make_batch(learner.args)
    losses = []
    for step in range(60):
        losses.append(learner("actor", batch, {})[0].item())
        learner.train(batch, step + 1, 0)
    assert losses[-1] < 0.8 * losses[0]


def test_the_console_command_is_installed() -> None:
    import epymarl_offline_launcher

    assert epymarl_offline_launcher.MAIN == ROOT / "src" / "main.py"


# -- the datasets' recipes ---------------------------------------------------------------------------------------------


def recipe(script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # recipes say `python`
    environment = os.environ | {"PATH": path}
    return subprocess.run(["sh", str(script), *words], capture_output=True, text=True, env=environment, timeout=120)


@cache
def sets(script: Path) -> list[str]:
    """The sets that a family's script makes, by its own words."""
    refused = recipe(script)
    assert refused.returncode == 1
    return refused.stderr.split("one of:")[1].split()


@cache
def commands() -> dict[str, str]:
    """The commands of every set, one per line, by family and set, as `--dry-run` prints them."""
    printed = {}
    for script in FAMILIES:
        for name in sets(script):
            result = recipe(script, name, "--dry-run")
            assert result.returncode == 0, result.stderr
            printed[f"{script.stem}/{name}"] = result.stdout.strip()
    return printed


@pytest.mark.parametrize("family", FAMILIES, ids=lambda path: path.stem)
def test_the_commands_of_a_recipe_are_understood(family: Path) -> None:
    for name, printed in commands().items():
        for command in printed.splitlines() if name.startswith(f"{family.stem}/") else []:
            python, *words = shlex.split(command)
            assert python == "python"
            check_command(words)
            if words[0] == "src/dataset.py":
                dataset_parser().parse_args(words[1:])


def test_the_sets_that_a_recipe_names_are_those_that_it_makes() -> None:
    """A command's `-o`, `collect_to` or `replay_to` is the set by which lists and messages know the recipe."""
    found = {}
    for name, command in recipes().items():
        sh, script, chosen = command.split()
        assert sh == "sh"
        printed = recipe(ROOT / script, chosen, "--dry-run").stdout
        targets = re.findall(r"(?:-o |collect_to=|replay_to=)(\S+)", printed)
        found[name] = targets[-1]
    assert found == {name: name for name in recipes()} and len(found) > 40


def test_a_recipe_refuses_what_it_does_not_know() -> None:
    for words in (("no-such-set",), ("mix", "--dryrun")):
        result = recipe(ROOT / "offline_data" / "recipes" / "bridge.sh", *words)
        assert result.returncode == 1 and "SET is one of: optimal mix random" in result.stderr and not result.stdout


def test_the_smallest_recipe_makes_its_set(tmp_path: Path) -> None:
    """In a copy: datasets go beside the `src` that makes them."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "offline_data" / "recipes", tmp_path / "offline_data" / "recipes")
    result = recipe(tmp_path / "offline_data" / "recipes" / "matrix_game.sh", "xor/ab")
    assert result.returncode == 0, result.stderr
    made = read_dataset(tmp_path / "offline_data" / "matrix_game" / "xor" / "ab.h5")
    assert made.n_episodes == 100 and made.card["returns"]["mean"] == pytest.approx(50)


# -- the files about the project ---------------------------------------------------------------------------------------


def test_the_citation_names_the_papers_that_are_implemented() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["license"] == "Apache-2.0" and citation["authors"]
    titles = [reference["title"] for reference in citation["references"]]
    page = " ".join((ROOT / "docs" / "papers.md").read_text().split())
    assert len(titles) >= 2 and all(title in page for title in titles)


def test_the_hooks_and_the_workflow_run_what_is_here() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert {hook["id"] for repository in hooks for hook in repository["hooks"]} == {"ruff", "ruff-format", "mypy"}
    assert all(repository["repo"] == "local" for repository in hooks)
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["ci"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").is_file()
