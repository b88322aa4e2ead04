"""Learning curves of runs from their Sacred records: one panel per directory, with each seed and the mean.

    python benchmarks/learning_curves.py results/sacred/qmix/simple_spread_v3 -o docs/images/qmix.png

Every completed run below a directory is one seed of its panel. Prints the first, best and last value of each run.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

Curve = tuple[list[int], list[float]]


def curves(directory: Path, metric: str) -> dict[str, Curve]:
    """Steps and values of `metric` for every completed run below `directory`, by "seed N"."""
    found: dict[str, Curve] = {}
    for file in sorted(directory.rglob("metrics.json")):
        run = json.loads((file.parent / "run.json").read_text())
        logged = json.loads(file.read_text())
        if run["status"] != "COMPLETED" or metric not in logged:
            continue
        config = json.loads((file.parent / "config.json").read_text())
        if config.get("evaluate"):
            continue
        name = f"seed {config['seed']}"
        if name in found:
            raise SystemExit(f"{directory} holds several runs with {name}; name a folder with one run per seed")
        found[name] = (logged[metric]["steps"], logged[metric]["values"])
    return found


def draw(lines: dict[str, dict[str, Curve]], metric: str, xlabel: str, file: Path) -> None:
    """Write a PNG with one panel per directory: the curve of every run and their mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(lines), 3.6), layout="constrained")
    axes = figure.subplots(1, len(lines), squeeze=False)[0]
    for axis, (title, runs) in zip(axes, lines.items(), strict=True):
        for name, (steps, values) in runs.items():
            axis.plot(steps, values, linewidth=0.8, alpha=0.6, label=name)
        shared = min(len(values) for _, values in runs.values())
        mean = np.mean([values[:shared] for _, values in runs.values()], axis=0)
        axis.plot(next(iter(runs.values()))[0][:shared], mean, color="black", linewidth=2, label="mean")
        axis.set(title=title, xlabel=xlabel, ylabel=metric.replace("_", " "))
        axis.legend(fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="+", type=Path, help="directories of Sacred runs, one panel each")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--metric", default="test_return_mean")
    parser.add_argument("--xlabel", default="environment steps")
    options = parser.parse_args()
    lines = {}
    for directory in options.directories:
        runs = curves(directory, options.metric)
        if not runs:
            print(f"error: {directory} holds no completed run that logged {options.metric}", file=sys.stderr)
            return 1
        lines[directory.name] = runs
        for name, (_, values) in sorted(runs.items()):
            print(f"{directory.name} {name}: first {values[0]:.1f}, best {max(values):.1f}, last {values[-1]:.1f}")
    draw(lines, options.metric, options.xlabel, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
