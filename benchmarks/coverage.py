"""How often intervals of few seeds hold the true mean: the reports' bootstrap of seeds, and Student's t.

    python benchmarks/coverage.py [--repetitions 20000]

Scores of seeds are drawn from a normal distribution. An interval of 95 % should hold its mean in 95 of 100 cases; a
percentile bootstrap of n seeds can reach no farther than the lowest and the highest of them.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.append(str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.command import positive
from reporting.numbers import bounds, seeds_drawn, student_interval
from utils.printing import Parser, put

SEEDS = (2, 3, 5, 10)


def coverage(n: int, repetitions: int) -> tuple[float, float]:
    """The shares of repetitions in which the bootstrap's and Student's interval of `n` seeds hold the true mean."""
    rng, drawn = np.random.default_rng(0), seeds_drawn(n)
    held = np.zeros(2)
    for _ in range(repetitions):
        scores = rng.normal(size=n)
        of_t = student_interval(float(scores.mean()), float(scores.std(ddof=1)), n)
        assert of_t is not None
        held += [low <= 0.0 <= high for low, high in (bounds(scores[drawn].mean(1)), of_t)]
    bootstrap, student = held / repetitions
    return float(bootstrap), float(student)


def main(argv: list[str] | None = None) -> None:
    parser = Parser(description="How often intervals of few seeds hold the true mean.")
    parser.add_argument("--repetitions", type=positive, default=20_000, help="draws of n seeds")
    args: argparse.Namespace = parser.parse_args(argv)
    put("| seeds | bootstrap | Student's t |\n|---|---|---|")
    for n in SEEDS:
        put("| {} | {:.1%} | {:.1%} |".format(n, *coverage(n, args.repetitions)).replace("%", " %"))


if __name__ == "__main__":
    main()
