"""Does the excess correlation of a dataset predict where partial action replacement pays?

    python benchmarks/kappa_gain.py docs/results/cn-finals [MORE ...] [--methods spacql cfcql] [--allow dataset]

SPaCQL's Theorem 2 has a bound that grows with kappa. So its gain over full replacement (CFCQL) should fall with kappa.
One point a dataset: kappa as `dataset.py inspect --full` estimates it, and the mean difference of the two methods'
final scores on common seeds. Printed: the points, Spearman's rank correlation, and its interval of 95 %, of a bootstrap
of datasets, and of seeds within each. Methods are named as in reports: an algorithm, or one with the keys that differ.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

import numpy as np
from scipy.stats import spearmanr

from benchmarks.command import run
from datasets.dataset import read_dataset
from datasets.doctor.kappa import find_correlation
from datasets.names import dataset_path
from reporting.groups import Group, Task, grouped
from reporting.numbers import Difference, bounds, paired, units
from reporting.places import read_places
from reporting.soundness import check
from utils.printing import Parser, put

REPETITIONS, FEWEST = 2000, 3  # of the bootstrap; different datasets in a repetition that counts


def gains(groups: list[Group], method: str, base: str) -> dict[Task, Difference]:
    """What `method` has over `base`, for each task that both were run on with a common seed."""
    unit = units(groups, raw=False)
    of = {(group.task, group.method): group for group in groups}
    found = {}
    for task in dict.fromkeys(group.task for group in groups):
        mine, theirs = of.get((task, method)), of.get((task, base))
        difference = None if mine is None or theirs is None else paired(mine, theirs, unit[task])
        if difference is not None:
            found[task] = difference
    return found


def rank_correlation(kappas: np.ndarray, gained: list[np.ndarray], seed: int = 0) -> tuple[float, float, float]:
    """Spearman's correlation of kappa (D,) and the mean gains, and its interval. gained: of each dataset by seed.

    Repetitions that draw fewer than `FEWEST` different datasets say too little and do not count.
    """
    rng = np.random.default_rng(seed)
    point = float(spearmanr(kappas, [values.mean() for values in gained]).statistic)
    drawn = []
    for _ in range(REPETITIONS):
        chosen = rng.integers(0, len(kappas), len(kappas))
        if len(np.unique(chosen)) < FEWEST:
            continue
        means = [rng.choice(gained[i], len(gained[i])).mean() for i in chosen]
        drawn.append(spearmanr(kappas[chosen], means).statistic)
    return point, *bounds(np.array(drawn)[np.isfinite(drawn)])


def kappa_of(name: str) -> dict[str, Any]:
    """What the dataset doctor says of a dataset's correlation."""
    values: dict[str, Any] = find_correlation(read_dataset(dataset_path(name))).values
    return values


def main() -> None:
    parser = Parser(description="Excess correlation against what partial replacement gains.")
    parser.add_argument("results", nargs="+", help="files or folders of results, as for report.py")
    parser.add_argument("--methods", nargs=2, default=["spacql", "cfcql"], help="whose scores are compared")
    parser.add_argument("--allow", action="append", default=["commit"], help="as in report.py; commit always is")
    args: argparse.Namespace = parser.parse_args()
    groups, _ = check(grouped(read_places(args.results).runs)[0], args.allow)
    found = gains(groups, *args.methods)
    if len(found) <= FEWEST:
        raise SystemExit(f"{len(found)} datasets have runs of both {' and '.join(args.methods)}; four are needed")
    put("| dataset | kappa | interval | gain | by seed |\n|---|---|---|---|---|")
    kappas, gained = [], []
    for task, difference in found.items():
        values = kappa_of(str(task.dataset))
        if "mean" not in values:
            raise SystemExit(f"{task.dataset}: the dataset doctor has no kappa of it; leave its runs out")
        kappas.append(values["mean"])
        gained.append(np.array(difference.values))
        low, high = values.get("interval", (math.nan, math.nan))
        by_seed = " / ".join(f"{value:+.1f}" for value in difference.values)
        put(f"| {task.dataset} | {kappas[-1]:.3f} | {low:.3f} to {high:.3f} | {difference.mean:+.1f} | {by_seed} |")
    point, low, high = rank_correlation(np.array(kappas), gained)
    put(f"\nSpearman's rank correlation {point:+.2f}, 95 % [{low:+.2f}, {high:+.2f}], of {len(found)} datasets")


if __name__ == "__main__":
    run(main)
