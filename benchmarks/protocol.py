"""One protocol for all learners of continuous actions: eight random draws on one dataset, then the best on all.

    python benchmarks/protocol.py draws grids                      # grids/draws-ALGORITHM.yaml
    python src/search.py run --seeds 0-0 --config grids/draws-bc.yaml with local_results_path=results/draws
    python benchmarks/protocol.py finals grids results/draws       # grids/finals-ALGORITHM.yaml
    python src/search.py run --seeds 1-3 --config grids/finals-bc.yaml with local_results_path=results/finals
    python benchmarks/protocol.py published grids                  # grids/published-ALGORITHM.yaml, for --seeds 1-3
    python benchmarks/protocol.py draws grids --task hopper        # the robots' draws; their finals: likewise

The ranges are the same for every dataset and were written down before the first run, with one exception: ICQ's was
written again after its first eight draws. They had the StarCraft values, with which targets run away at this reward's
scale (docs/learners/icq.md): three diverged and three ended below random play. The new range has the algorithm file's
values for continuous actions and draws both temperatures.

A draw takes one value of each key by chance, from a generator seeded with the algorithm's name; no two draws of an
algorithm are alike. CFCQL and its relatives have the same ranges and are given the same draws, so that comparing them
is no matter of luck (a later rule: docs/results/cn-protocol.md). The draw with the highest final score counts, and its
values are used on all datasets of the family's tasks (`--task`). Learning rates have one range for all.

Lengths: 5 000 updates of 256 rows; for conservative Q-learning, whose updates cost several times as much, SPaCQL's
cheap schedule of 2 000 updates of 2 048 rows with two samples; for OMAR, the slowest, 2 000 of 512 with four; for
AlberDICE, whose range was written last, 2 000 of 256, its alpha falling until the end. Draws run for half as long; one
that diverges has no score. The files' values hold for every other key (`tuned=none`).

Robots have draws of their own, on Hopper's medium-replay. What has 5 000 updates elsewhere has 20 000 there, and its
draws a quarter of that. All have the discount 0.99 and the rewards as they are: a mean subtracted from them would make
falling, after which nothing is earned, worth as much as an ordinary step. Penalties look about the policies' actions
too, as the sources' do on robots. ComaDICE and OptDICE do not clip gradients there. This rule came later: with
clipping, values of first states ran away (docs/results/robots.md). A score is of 100 episodes.

`published` runs the same lengths with the values that a method's authors chose: those of its file, or where they chose
others for each dataset, those of `src/config/tuned`. Robots keep what is said above. Not for SPaCQL and its relatives,
whose published values stand at the paper's length in docs/results/cooperative-navigation.md, and not for AlberDICE,
whose authors have no continuous actions.
"""

import argparse
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

import yaml

from benchmarks.command import run
from reporting.places import read_places
from reporting.runs import flat, text_of
from utils.config import algorithm as read_file
from utils.files import output_error
from utils.printing import put

SEARCHED = "medium-replay"  # of a family's first task
DRAWS = 8
RATES = [0.0003, 0.001, 0.003, 0.01]
ALPHA_CQL, Q_WEIGHT = [0.1, 0.5, 1.0, 5.0, 10.0], [1.0, 2.5, 10.0, 40.0, 100.0]
MIXERS = [None, "vdn", "monotone"]
SHORT = {"t_max": 5000, "batch_size": 256}
SPACQLS = ("random", "medium-replay", "medium", "expert")  # the sets of SPaCQL's table
COMADICES = ("medium-replay", "medium", "expert", "medium-expert")  # those of ComaDICE's


class Task(NamedTuple):
    """An environment file, a folder of datasets, and the qualities used."""

    environment: str
    folder: str
    qualities: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """Tasks that share their draws."""

    tasks: dict[str, Task]
    short: dict[str, Any]  # what SHORT is here
    share: float  # of that length, for its draws
    evaluations: int  # in a run, not counting the one at the start
    playing: dict[str, Any]  # how they are played, where the environment's file has too few episodes
    values: dict[str, Any]  # what all runs have, of those keys that the algorithm's file has
    own: dict[str, dict[str, Any]]  # algorithm: what its runs have besides


FAMILIES = (
    Family(
        {"simple_spread": Task("mpe", "mpe/simple_spread", SPACQLS)}
        | {task: Task(task, f"mpe/{task}", SPACQLS) for task in ("simple_tag", "simple_world")},
        short=SHORT,
        share=0.5,
        evaluations=5,
        playing={},
        values={},
        own={},
    ),
    Family(
        {
            "hopper": Task("hopper", "mamujoco/Hopper-3x1", COMADICES),
            "ant": Task("ant", "mamujoco/Ant-2x4", COMADICES),
            "halfcheetah": Task("mamujoco", "mamujoco/HalfCheetah-6x1", COMADICES),
            "halfcheetah_2x3": Task("halfcheetah_2x3", "mamujoco/HalfCheetah-2x3", SPACQLS),
        },
        short=SHORT | {"t_max": 20000},
        share=0.25,
        evaluations=1,
        playing={"test_nepisode": 100, "batch_size_run": 50},
        values={"gamma": 0.99, "reward_scaling": "none"}
        | {"cql_penalty": "logsumexp_policies", "penalty_samples": "policies"},  # as the sources have on robots
        own=dict.fromkeys(("comadice", "optdice"), {"grad_norm_clip": None}),
    ),
)
FAMILY = {task: family for family in FAMILIES for task in family.tasks}
TASKS = {name: task for family in FAMILIES for name, task in family.tasks.items()}
CHEAP = {"t_max": 2000, "batch_size": 2048, "actor_update_interval": 1}
# algorithm: what its runs have in common, and the range of each key that is drawn
RANGES: dict[str, tuple[dict[str, Any], dict[str, list[Any]]]] = {
    "bc": (SHORT, {"actor_lr": RATES, "hidden_dim": [64, 128]}),
    "matd3_bc": (SHORT, {"q_weight": Q_WEIGHT, "critic_lr": RATES, "actor_lr": RATES, "tau": [0.005, 0.02]}),
    "b3c": (SHORT, {"q_weight": Q_WEIGHT, "q_lr": RATES, "actor_lr": RATES, "mixer": ["vdn", "monotone", "free"]}),
    "implicit_q": (
        SHORT,
        {
            "expectile": [0.5, 0.7, 0.9],
            "inverse_temperature": [1.0, 3.0, 10.0, 30.0],
            "value_lr": RATES,
            "q_lr": RATES,
            "actor_lr": RATES,
            "mixer": MIXERS,
        },
    ),
    "omiga": (SHORT, {"alpha": [0.1, 1.0, 10.0, 100.0], "value_lr": RATES, "q_lr": RATES, "actor_lr": RATES}),
    "optdice": (SHORT, {"alpha": [0.1, 1.0, 10.0, 100.0], "value_lr": RATES, "actor_lr": RATES}),
    "comadice": (SHORT, {"alpha": [0.1, 1.0, 10.0, 100.0], "value_lr": RATES, "actor_lr": RATES}),
    "icq": (
        SHORT,
        {
            "value_temperature": [100.0, 1000.0, 10000.0, 1000000.0],  # per standard deviation of the reward
            "policy_temperature": [0.1, 1.0, 10.0, 100.0],
            "q_lr": RATES,
            "actor_lr": RATES,
        },
    ),
    "bcq": (
        SHORT,
        {
            "perturbation_reach": [0.05, 0.2, 0.5],
            "behaviour_lr": RATES,
            "q_lr": RATES,
            "actor_lr": RATES,
            "mixer": MIXERS,
        },
    ),
    "alberdice": (
        {"t_max": 2000, "batch_size": 256},
        {
            "alpha_start": [1.0, 10.0, 100.0],
            "alpha_finish": [0.01, 0.1, 1.0],
            "conservative": [0.0, 0.1],
            "value_lr": RATES,
            "behaviour_lr": RATES,
            "actor_lr": RATES,
        },
    ),
    "macql": (
        CHEAP | {"n_penalty_samples": 2},
        {"alpha_cql": ALPHA_CQL, "critic_lr": RATES, "actor_lr": RATES},
    ),
    "cfcql": (CHEAP, {"alpha_cql": ALPHA_CQL, "critic_lr": RATES, "actor_lr": RATES}),
    "icql_qs": (CHEAP, {"alpha_cql": ALPHA_CQL, "critic_lr": RATES, "actor_lr": RATES}),
    "spacql": (CHEAP, {"alpha_cql": ALPHA_CQL, "critic_lr": RATES, "actor_lr": RATES}),
    "omar": (
        {"t_max": 2000, "batch_size": 512, "n_penalty_samples": 4},
        {"alpha_cql": ALPHA_CQL, "omar_coef": [0.5, 0.7, 0.9, 1.0], "critic_lr": RATES, "actor_lr": RATES},
    ),
}
PER_DATASET = ("macql", "omar")  # their tuned files hold published values
SAME_DRAWS = {"macql": "cfcql", "icql_qs": "cfcql", "spacql": "cfcql"}  # whose draws are theirs too
SCHEDULED = {"alberdice": "alpha_anneal_time"}  # keys that are as long as the run
NOT_PUBLISHED = ("cfcql", "icql_qs", "spacql", "alberdice")


def draws(algorithm: str) -> list[dict[str, Any]]:
    """The values of an algorithm's draws; all combinations where there are no more than that."""
    ranges = RANGES[algorithm][1]
    generator = random.Random(SAME_DRAWS.get(algorithm, algorithm))
    n_combinations = 1
    for values in ranges.values():
        n_combinations *= len(values)
    found: list[dict[str, Any]] = []
    while len(found) < min(DRAWS, n_combinations):
        draw = {key: generator.choice(values) for key, values in ranges.items()}
        if draw not in found:
            found.append(draw)
    return found


def common(algorithm: str, task: str, qualities: Sequence[str], drawn: bool = False) -> dict[str, Any]:
    """What all runs of an algorithm have in common; drawn: of its draws, which are shorter."""
    family = FAMILY[task]
    env_file, folder, _ = TASKS[task]
    base = RANGES[algorithm][0]
    settings, share = (dict(family.short), family.share) if base is SHORT else (dict(base), 0.5)
    t_max = round(share * settings["t_max"]) if drawn else settings["t_max"]
    settings |= {"t_max": t_max, "test_interval": t_max // family.evaluations, "save_model_interval": t_max}
    settings |= family.playing | {key: value for key, value in family.values.items() if key in read_file(algorithm)}
    settings |= family.own.get(algorithm, {})
    if algorithm in SCHEDULED:
        settings[SCHEDULED[algorithm]] = t_max
    datasets = [f"{folder}/{quality}" for quality in qualities]
    return {"--config": [algorithm], "--env-config": [env_file], "dataset": datasets, **settings}


def grid(shared: dict[str, Any], groups: list[dict[str, Any]]) -> dict[str, Any]:
    """A grid file: what the runs share, and groups of values."""
    named = {f"draw{i}": [{key: value} for key, value in group.items()] for i, group in enumerate(groups)}
    return {"grid-search": shared | {"tuned": "none"}, "grid-search-groups": named}


def published(algorithm: str, task: str) -> dict[str, Any]:
    """A grid file of one algorithm with its authors' values."""
    tuned = {} if algorithm in PER_DATASET else {"tuned": "none"}
    return {"grid-search": common(algorithm, task, TASKS[task].qualities) | tuned}


def best_draw(algorithm: str, results: str) -> tuple[dict[str, Any], float]:
    """The draw with the highest final score among the runs found, and that score; a run that broke off has none.

    Says how many draws have a score, for files of results do not hold those that diverged or were never run.
    """
    scores: list[float] = []
    runs = [run for run in read_places([results]).runs if run.algorithm == algorithm]
    for draw in draws(algorithm):
        mine = [run for run in runs if has_values(flat(run.config), draw)]
        if len(mine) > 1:
            raise SystemExit(f"{results} has {len(mine)} runs of {algorithm} with {draw}, where there should be one")
        scores.append(mine[0].final["normalised score"] if mine else -math.inf)
    if max(scores) == -math.inf:
        raise SystemExit(f"{results} has no run of {algorithm}'s draws that ended; do these first")
    n_scores = sum(score > -math.inf for score in scores)
    if n_scores < len(scores):
        put(f"{algorithm}: {n_scores} of {len(scores)} draws have a score; the others diverged or were not run")
    return draws(algorithm)[scores.index(max(scores))], max(scores)


def has_values(config: dict[str, Any], draw: dict[str, Any]) -> bool:
    """Whether a run had the draw's values; a run from before one of the keys existed did not."""
    return all(key in config and text_of(config[key]) == text_of(value) for key, value in draw.items())


def write(path: Path, content: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    except OSError as error:
        raise output_error(path, error) from error
    put(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the grid files of the protocol.")
    parser.add_argument("what", choices=("draws", "finals", "published"))
    parser.add_argument("folder", type=Path, help="where grid files go")
    parser.add_argument("results", nargs="?", help="finals: where the draws' runs are")
    parser.add_argument("--only", nargs="+", choices=list(RANGES), default=list(RANGES), help="these algorithms alone")
    parser.add_argument("--task", choices=list(FAMILY), default="simple_spread", help="a task; draws: of its family")
    args = parser.parse_args()
    for algorithm in args.only:
        path = args.folder / f"{args.what}-{algorithm}.yaml"
        if args.what == "draws":
            first = next(iter(FAMILY[args.task].tasks))
            write(path, grid(common(algorithm, first, [SEARCHED], drawn=True), draws(algorithm)))
        elif args.what == "published":
            if algorithm not in NOT_PUBLISHED:
                write(path, published(algorithm, args.task))
        elif args.results is None:
            parser.error("finals needs the place of the draws' runs")
        else:
            draw, score = best_draw(algorithm, args.results)
            put(f"{algorithm}: {draw} had {score:.1f}")
            write(path, grid(common(algorithm, args.task, TASKS[args.task].qualities), [draw]))


if __name__ == "__main__":
    run(main)
