"""The files of values per dataset: each names a set that there is, and each of its values is one that a run reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from datasets.names import BUNDLED, recipes
from learners import REGISTRY
from utils.config import CONFIG, algorithm, layered_config, read_yaml
from utils.keys import inherited, is_read
from utils.run_keys import RUN_KEYS

TUNED = CONFIG / "tuned"
FILES = sorted(path.relative_to(TUNED).with_suffix("").as_posix() for path in TUNED.rglob("*.yaml"))
PAGES = Path(__file__).resolve().parents[2] / "docs" / "learners"
LEVELS = ("random", "medium-replay", "medium", "expert")
PARTICLES = {"Cooperative Navigation": "simple_spread", "Predator-Prey": "simple_tag", "World": "simple_world"}
TASKS = {task: f"mpe/{key}" for task, key in PARTICLES.items()} | {"HalfCheetah 2x3": "mamujoco/HalfCheetah-2x3"}


def values(name: str) -> dict[str, Any]:
    return read_yaml(TUNED / f"{name}.yaml")


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_of_a_set_that_there_is_and_a_run_reads_all_of_it(name: str) -> None:
    alg, _, place = name.partition("/")
    sets = sorted({*BUNDLED, *recipes()})
    dataset = next((each for each in sets if f"{each}/".startswith(f"{place}/")), "")
    assert dataset, "no set has this name or lies in this folder, so the file never applies"
    config = layered_config(alg, "mpe", {"dataset": dataset})
    learner = inherited(REGISTRY[config["learner"]], "KEYS")
    for key, value in values(name).items():
        assert key in algorithm(alg) and key in {**RUN_KEYS, **learner}, key
        assert key not in learner or is_read(key, config, learner, "continuous"), f"{key} has no effect here"
        assert {**RUN_KEYS, **learner}[key].check(key, value) == value == config[key]
    without = layered_config(alg, "mpe", {"dataset": dataset, "tuned": "none"})
    assert {key: without[key] for key in values(name)} == {key: algorithm(alg)[key] for key in values(name)}


@pytest.mark.parametrize("name", FILES)
def test_a_file_names_the_page_that_says_where_its_values_come_from(name: str) -> None:
    alg = name.partition("/")[0]
    head = (TUNED / f"{name}.yaml").read_text().partition("\n\n")[0]
    assert f"docs/learners/{alg}.md" in " ".join(head.split())
    assert f"src/config/tuned/{alg}/" in (PAGES / f"{alg}.md").read_text()


def row_of(page: str, label: str) -> list[list[float]]:
    """The numbers in the cells of the row of the page's tables that begins with `label`."""
    row = re.search(rf"^\| {re.escape(label)} \|(.*)\|$", (PAGES / f"{page}.md").read_text(), re.MULTILINE)
    assert row is not None
    return [[float(number) for number in re.findall(r"[\d.]+", cell)] for cell in row[1].split("|")]


@pytest.mark.parametrize("task", TASKS)
def test_files_have_the_published_values_that_the_pages_print(task: str) -> None:
    for level, macql, omar in zip(LEVELS, row_of("macql", task), row_of("omar", task), strict=True):
        assert [values(f"macql/{TASKS[task]}/{level}")["alpha_cql"]] == macql
        mine = values(f"omar/{TASKS[task]}/{level}")
        assert [mine["alpha_cql"], mine["omar_coef"]] == omar


@pytest.mark.parametrize(("robot", "folder"), [("Hopper", "Hopper-3x1"), ("Ant", "Ant-2x4")])
def test_b3c_has_its_scripts_values(robot: str, folder: str) -> None:
    levels = ("expert", "medium-expert", "medium", "medium-replay")
    alphas, multiples = row_of("b3c", f"{robot} {', '.join(levels)}")
    files = [values(f"b3c/mamujoco/{folder}/{level}") for level in levels]
    assert [each["q_weight"] for each in files] == alphas
    assert [each["target_clip_multiple"] for each in files] == (multiples if len(multiples) > 2 else [multiples[0]] * 4)


def test_robots_have_the_sources_schedules() -> None:
    """Widths, rates and lengths of the released codes, the same for every level; policies' actions in the penalty."""
    for alg, length in (("macql", 500005), ("omar", 100001)):
        for level in LEVELS:
            mine = values(f"{alg}/mamujoco/HalfCheetah-2x3/{level}")
            assert (mine["hidden_dim"], mine["batch_size"], mine["penalty_samples"]) == (256, 256, "policies")
            assert (mine["critic_lr"], mine["actor_lr"], mine["tau"], mine["t_max"]) == (3e-4, 3e-4, 0.005, length)
            if alg == "omar":
                assert (mine["search_draws"], mine["search_samples"], mine["search_elites"]) == (2, 20, 5)
    assert values("omiga/mamujoco/HalfCheetah-6x1/medium") == {"alpha": 1.0}


@pytest.mark.parametrize("alg", ["comadice", "optdice"])
def test_robots_have_the_papers_discount(alg: str) -> None:
    """ComaDICE's paper has 0.99 on robots; with other data `comadice.yaml` has its own."""
    robots = layered_config(alg, "mpe", {"dataset": "mamujoco/Hopper-3x1/medium-replay"})
    assert robots["gamma"] == 0.99


@pytest.mark.parametrize("alg", ["comadice", "optdice"])
def test_robots_values_of_the_dual_are_not_clipped(alg: str) -> None:
    """First transitions are rare in long episodes; clipped to other batches' norm they no longer hold nu(s_0)."""
    assert values(f"{alg}/mamujoco")["grad_norm_clip"] is None


def test_headers_name_every_value_that_the_sources_do_not_have() -> None:
    """Five, which are SPaCQL's; `cfcql.yaml` has them from there."""
    ours = {"input_norm", "train_reward", "reward_scaling", "actor_lr", "pre_tanh_l2"}
    for alg in ("macql", "omar"):
        head = " ".join((CONFIG / "algs" / f"{alg}.yaml").read_text().partition("\n\n")[0].replace("#", " ").split())
        named = re.search(r"but for five that cfcql.yaml has too: ([\w, ]+) \(docs", head)
        assert named is not None and set(re.split(r", | and ", named[1])) == ours
        page = (PAGES / f"{alg}.md").read_text()
        assert "batch normalisation" in page and all(f"`{key}: " in page for key in ours - {"input_norm"})
        assert {key: algorithm(alg)[key] for key in ours} == {key: algorithm("cfcql")[key] for key in ours}


def test_omars_lengths_are_those_of_its_own_code() -> None:
    """CFCQL's copy of it trains five times as long on World."""
    lengths = {
        f"{key}/{level}": layered_config("omar", "mpe", {"dataset": f"mpe/{key}/{level}"})["t_max"]
        for key in PARTICLES.values()
        for level in LEVELS
    }
    own = {"simple_spread/random": 6001, "simple_tag/medium-replay": 1001}
    own |= {f"simple_world/{level}": 1001 for level in LEVELS}
    assert lengths == dict.fromkeys(lengths, 2001) | own
