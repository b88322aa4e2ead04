"""What `offline_data/` holds and says of itself: sizes, levels against the published ones, policies that play there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from datasets.dataset import read_dataset
from datasets.names import BUNDLED, dataset_path
from datasets.outline import read_outline
from tests.command_line import ROOT, CommandLine

DATA = ROOT / "offline_data"
SPREAD = DATA / "mpe" / "simple_spread"
MEGABYTE = 1_000_000
# Published means and deviations of Cooperative Navigation (OMAR's datasets), and the score's span.
PUBLISHED = {"random": (159.57, 60.46), "medium-replay": (203.74, 80.49), "medium": (273.39, 92.06),
             "expert": (530.95, 71.41)}  # fmt: skip
TEN_POINTS = 0.1 * (516.8 - 159.8)


def test_the_bundle_is_small() -> None:
    """The full-size sets, made here by commands, may lie beside it."""
    policies = list(DATA.rglob("*.th"))
    assert len(policies) == 18
    sizes = [path.stat().st_size for path in [*map(dataset_path, BUNDLED), *policies]]
    assert max(sizes) <= 8 * MEGABYTE and sum(sizes) <= 80 * MEGABYTE, sizes


@pytest.mark.parametrize(("name", "kind"), [("random-100k", "random"), ("medium-100k", "medium"),
                                            ("medium-replay", "medium-replay")])  # fmt: skip
def test_bundled_sets_are_at_the_published_levels(name: str, kind: str) -> None:
    dataset = read_dataset(SPREAD / f"{name}.h5")
    mean, deviation = PUBLISHED[kind]
    returns = dataset.card["returns"]
    assert abs(returns["mean"] - mean) < TEN_POINTS
    assert abs(returns["std"] / deviation - 1) < 0.3
    assert dataset.card["quality"] == kind
    assert dataset.n_transitions == (97_500 if kind == "medium-replay" else 100_000)
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?", source(dataset.card)["commit"])


# Published score of each level against the published prey; ours are against our own.
PURSUIT = {
    "simple_tag": {"medium-replay": 4.2, "medium": 63.5, "expert": 111.8},
    "simple_world": {"medium-replay": 9.3, "medium": 84.2, "expert": 106.6},
}


def score(card: dict) -> float:
    reference = card["reference"]
    span = reference["expert"] - reference["random"]
    return 100 * (card["returns"]["mean"] - reference["random"]) / span


@pytest.mark.parametrize("task", PURSUIT)
def test_bundled_sets_of_predators_have_the_published_size_and_score(task: str) -> None:
    card = read_dataset(DATA / "mpe" / task / "medium-replay.h5").card
    assert card["counts"]["transitions"] == {"simple_tag": 62_500, "simple_world": 80_000}[task]
    assert abs(score(card) - PURSUIT[task]["medium-replay"]) < 10


@pytest.mark.parametrize("level", ["medium", "expert"])
@pytest.mark.parametrize("task", PURSUIT)
def test_bundled_predators_collect_data_of_their_level(task: str, level: str, cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / f"{level}.h5"
    policy = f"offline_data/mpe/{task}/policies/{level}"
    result = cli.run(
        "collect=True", f"checkpoint_path={policy}", "exploration_noise=0.1", f"env_args.key={task}",
        "batch_size_run=500", "collect_episodes=1000", f"collect_to={path}", "seed=0", config="matd3",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert abs(score(read_dataset(path).card) - PURSUIT[task][level]) < 10


@pytest.mark.parametrize("name", [name for name in BUNDLED if name.startswith("mamujoco/")])
def test_bundled_sets_of_robots_are_between_their_references(name: str) -> None:
    card = read_dataset(dataset_path(name)).card
    level = name.rpartition("/")[2].removesuffix("-20k")
    low, high = {"random": (-3, 3), "medium-replay": (5, 75), "medium": (25, 80), "expert": (60, 110)}[level]
    assert low < score(card) < high and 18_000 < card["counts"]["transitions"] < 26_000
    assert card["environment"]["simulator"]["mujoco"]


def source(card: dict) -> dict:
    """Where the rows were made: a slice names its sources'."""
    made_by = card["made_by"]
    return made_by["sources"][0]["made_by"] if "sources" in made_by else made_by


@pytest.mark.parametrize("level", ["medium", "expert"])
def test_bundled_policies_collect_data_of_their_level(level: str, cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / f"{level}.h5"
    result = cli.run(
        "collect=True", f"checkpoint_path=offline_data/mpe/simple_spread/policies/{level}", "batch_size_run=500",
        "collect_episodes=1000", f"collect_to={path}", f"collect_quality={level}", "seed=0", config="matd3",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    returns = read_dataset(path).card["returns"]
    mean, deviation = PUBLISHED[level]
    assert abs(returns["mean"] - mean) < TEN_POINTS and abs(returns["std"] / deviation - 1) < 0.3


def test_the_medium_slice_is_what_its_command_makes(cli: CommandLine, tmp_path: Path) -> None:
    kept = read_dataset(SPREAD / "medium-100k.h5")
    path = tmp_path / "again.h5"
    command = source(kept.card)["command"]
    assert command.startswith("python src/main.py --config=matd3 --env-config=mpe with collect=True ")
    updates = [word for word in command.split(" with ")[1].split() if not word.startswith(("collect_to", "collect_ep"))]
    result = cli.run(*updates, f"collect_to={path}", "collect_episodes=500", config="matd3")
    assert result.returncode == 0, result.stderr
    again = read_dataset(path)
    rows = int(again.episode_offsets[-1])
    # Other processors round the policy's outputs differently, and collisions magnify that: first steps, then levels.
    first = np.asarray(again.episode_offsets[:-1])
    assert np.allclose(again.arrays["obs"][first], kept.arrays["obs"][:rows][first], atol=1e-5)
    assert np.allclose(again.arrays["actions"][first], kept.arrays["actions"][:rows][first], atol=1e-3)
    ours = kept.arrays["reward"][:rows].mean(1).sum() / 500
    assert again.card["returns"]["mean"] == pytest.approx(ours, abs=10)


def test_the_page_tells_what_the_bundled_files_hold() -> None:
    """Episodes, transitions, return, and the score of particle tasks, in every row that names a bundled file."""
    page = (DATA / "README.md").read_text()
    checked = set()
    for name in BUNDLED:
        card = read_outline(dataset_path(name)).card
        counts, returns = card["counts"], card["returns"]
        level = f"{returns['mean']:,.0f} +- {returns['std']:,.0f}".replace(",", " ")
        size = f"{counts['transitions']:,}".replace(",", " ")
        if name.startswith("mamujoco/"):
            row = f"| `{name}` | {counts['episodes']}, {size} | {level} |"
        elif "/simple_spread/" in name:
            row = f"| `{name.rpartition('/')[2]}` | {size} | {returns['mean']:.2f} +- {returns['std']:.2f} |"
        elif name.startswith("mpe/"):
            row = f"| `{name}`, {size} | {returns['mean']:.2f} +- {returns['std']:.2f} | {score(card):.1f} |"
        else:
            continue
        if "-replay-" not in name and "-100k" not in name:  # parts of sets whose rows tell the wholes' numbers
            assert row in page, row
            checked.add(name)
    assert len(checked) == 12


def test_shares_are_of_the_expert_set_of_the_same_size() -> None:
    """Here and as published; HalfCheetah 2x3 has one expert set in the table, which stands for both sizes."""
    page = (DATA / "README.md").read_text()
    found = re.findall(
        r"^\| `mamujoco/(\S+)/(\S+)` \| [^|]* \| ([^|]*) \| ([^|]*) ?\| ([^|]*) \| ([^|]*) ?\|", page, re.M
    )
    number = {(robot, name): [float(re.sub(r" ?\+-.*|\s", "", text)) for text in (ours, published)]
              for robot, name, ours, _, published, _ in found}  # fmt: skip
    for robot, name, _, own, _, theirs in found:
        expert = "expert-20k" if name.endswith("-20k") or (robot, "expert") not in number else "expert"
        for mean, whole, said in zip(number[robot, name], number[robot, expert], (own, theirs), strict=True):
            share = float(said or "nan")
            assert mean < 0 if share != share else abs(share - mean / whole) < 0.0051, (robot, name)
    assert len(found) == 22


@pytest.mark.parametrize("robot", ["Ant-2x4", "HalfCheetah-2x3", "HalfCheetah-6x1", "Hopper-3x1"])
def test_the_recipe_of_a_robots_policies_is_what_trained_its_expert(robot: str) -> None:
    words = ["sh", str(DATA / "recipes" / "mamujoco.sh"), f"{robot}/policies", "--dry-run"]
    printed = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    config = json.loads((DATA / "mamujoco" / robot / "policies" / "expert" / "run.json").read_text())["config"]
    values = dict(word.split("=", 1) for word in printed.partition(" with ")[2].split())
    for key, value in values.items():
        trained = config["env_args"].get(key.removeprefix("env_args."), config.get(key))
        if key not in ("local_results_path", "save_model_interval"):  # they change no number
            assert value == str(trained), (key, value, trained)
    assert {"seed", "t_max", "env_args.key"} <= values.keys()
