"""Does fitted Q evaluation rank policies as they play? `python tests/fqe_ranking.py [--seeds N] [key=value ...]`

Five policies of Cooperative Navigation are played for their true returns and valued from the three bundled datasets
together, which the best of them did not record. Printed: both, the spread, and Spearman's rank correlation. Overrides
are keys of --config=fqe.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch as th
import yaml

from datasets.edit import merge_datasets
from datasets.names import dataset_path
from loops.describe import describe
from tests.loops.in_process import NO_RUN, parts_of, save, train
from utils.description import find_description, write_description

ROOT = Path(__file__).resolve().parents[1]
SETS = [f"mpe/simple_spread/{name}" for name in ("random-100k", "medium-replay", "medium-100k")]
BUNDLED = ROOT / "offline_data" / "mpe" / "simple_spread" / "policies"
EPISODES = 500  # per true return


def policies(folder: Path) -> dict[str, Path]:
    """Runs' folders: an untrained policy, clones of random and of medium data, and the two bundled policies."""
    made = {}
    for name, dataset, updates in (("untrained", SETS[0], 0), ("clone of random", SETS[0], 300),
                                   ("clone of medium", SETS[2], 100)):  # fmt: skip
        parts = parts_of("bc", "mpe", folder, dataset=dataset)
        train(parts, updates)
        made[name] = save(parts, folder / name, max(updates, 1))
    for name in ("medium", "expert"):
        made[name] = Path(shutil.copytree(BUNDLED / name, folder / name))
        if find_description(made[name]) is None:
            write_description(made[name], describe(parts_of("matd3", "mpe", folder), NO_RUN))
    return made


def true_return(name: str, path: Path) -> float:
    """The mean return over `EPISODES` episodes, per agent."""
    alg = "matd3" if name in ("medium", "expert") else "bc"
    keys: dict[str, Any] = {"evaluate": True, "checkpoint_path": str(path), "test_nepisode": EPISODES}
    evaluator = parts_of(alg, "mpe", path.parent, **keys).evaluator
    assert evaluator is not None
    return evaluator.evaluate(0).return_mean


def fitted(path: Path, dataset: Path, **keys: Any) -> dict[str, float]:
    """What `--config=fqe` finds."""
    parts = parts_of("fqe", "none", path.parent, dataset=str(dataset), policy_path=str(path), **keys)
    train(parts, parts.args.t_max)
    found: dict[str, float] = parts.learner.assess(parts.buffer)
    return found


def spearman(one: list[float], other: list[float]) -> float:
    """Rank correlation of numbers without ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def ranking(folder: Path, **keys: Any) -> tuple[float, list[str]]:
    """Spearman's rank correlation, and a table of what it is between."""
    merge_datasets([dataset_path(name) for name in SETS], folder / "all.h5")
    truth, values, lines = [], [], []
    for name, path in policies(folder).items():
        truth.append(true_return(name, path))
        found = fitted(path, folder / "all.h5", **keys)
        values.append(found["fqe_value"])
        lines.append(f"| {name} | {truth[-1]:.1f} | {values[-1]:.1f} ± {found['fqe_spread']:.1f} |")
    return spearman(truth, values), lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[2])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    th.set_num_threads(1)
    overrides = {key: yaml.safe_load(value) for key, _, value in (word.partition("=") for word in given.overrides)}
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as place:
            correlation, table = ranking(Path(place), seed=seed, **overrides)
        print(f"\nseed {seed}: rank correlation {correlation:.2f}\n", *table, sep="\n", flush=True)
