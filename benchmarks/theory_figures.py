"""How loose SPaCQL's bounds are on small processes solved exactly: tables and figures of docs/results/theory.md.

    python benchmarks/theory_figures.py [-o docs/images]

Needs a few seconds on one core and no data. Random processes have 5 states, 2 actions per agent, gamma = 0.95 and
Dirichlet transitions. Policies are the behaviour mixed with a random policy. Ratios are medians over random processes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from tests.theory import tabular
from tests.theory.tabular import Array, DecMDP

ROOT = Path(__file__).resolve().parents[1]
GAMMA, STATES, PROCESSES = 0.95, 5, 60
NEAR, FAR, RATE = 0.01, 1.0, 1e-3
GAP = 8.0
Rows = dict[tuple[int, int], list[float]]
Measured = Callable[[], Rows]


def instance(n: int, seed: int, share: float) -> tuple[DecMDP, Array, Array]:
    """A random process, policies that are `share` random and else the behaviour, and the behaviour."""
    rng = np.random.default_rng([n, seed])
    mdp = tabular.random_mdp(rng, n, n_states=STATES, gamma=GAMMA)
    mu = tabular.random_policies(rng, mdp)
    return mdp, (1 - share) * mu + share * tabular.random_policies(rng, mdp), mu


def shift_ratio(mdp: DecMDP, pi: Array, mu: Array, k: int) -> float:
    """Lemma 1's bound divided by the true distance of state occupancies, averaged over the sets of k agents."""
    base = tabular.occupancy(mdp, tabular.product(mu))
    each = tabular.deviations(pi, mu)
    ratios = []
    for agents in tabular.subsets(len(pi), k):
        shift = tabular.tv(tabular.occupancy(mdp, tabular.mixed(pi, mu, agents)), base)
        ratios.append(GAMMA / (1 - GAMMA) * each[list(agents)].sum() / shift)
    return float(np.mean(ratios))


def shift_ratios() -> Rows:
    """Ratios by (n, k): for near and far policies on random processes, and for the chain where the lemma is tight."""
    rows: Rows = {}
    for n in (2, 3, 4):
        for k in range(1, n + 1):
            random = [
                float(np.median([shift_ratio(*instance(n, seed, share), k) for seed in range(PROCESSES)]))
                for share in (NEAR, FAR)
            ]
            rows[n, k] = [*random, shift_ratio(*tabular.leaving_chain(n, RATE, GAMMA), k)]
    return rows


def value_errors() -> Rows:
    """Values by (n, k): error of the limit of T^(k), eps_Subopt + eps_FQI, the shift term, and the data-error bound."""
    rows: Rows = {}
    for n in (2, 3, 4):
        for k in range(1, n + 1):
            found = [value_error(*instance(n, seed, NEAR), k) for seed in range(PROCESSES)]
            rows[n, k] = [float(value) for value in np.median(found, axis=0)]
    return rows


def value_error(mdp: DecMDP, pi: Array, mu: Array, k: int) -> list[float]:
    policy, behaviour = tabular.product(pi), tabular.product(mu)
    limit = tabular.q_of(mdp, tabular.replaced_k(pi, behaviour, k))
    found = tabular.estimate(mdp, policy, limit)
    mean = tabular.deviations(pi, mu).mean()
    on_data = abs(tabular.pair_occupancy(mdp, behaviour) @ (tabular.q_of(mdp, policy) - limit).ravel())
    shift = 4 * GAMMA / (1 - GAMMA) ** 2 * k * mean
    repaired = on_data + 4 / (1 - GAMMA) ** 2 * len(pi) * mean
    return [found.error, found.suboptimality + found.regression, shift, repaired]


def expansion(spread: float) -> float:
    """Expansion factor of the uncertainty-weighted backup where one of two equal spreads is halved."""
    mdp, pi, logged, q = tabular.disagreeing_critics(GAP, (spread, spread))
    other = tabular.disagreeing_critics(GAP, (spread, spread / 2))[-1]
    return tabular.modulus(partial(tabular.adaptive_backup, mdp, pi, logged), q, other)


# -- output ----------------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    return "0" if value < 1e-9 else f"{value:.2g}" if value < 10 else f"{float(f'{value:.2g}'):.0f}"


def table(rows: Rows) -> list[str]:
    """Markdown rows."""
    return [f"| {n} | {k} | " + " | ".join(map(number, values)) + " |" for (n, k), values in rows.items()]


def draw_looseness(shifts: Rows, errors: Rows, file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for column, (name, style) in enumerate((("near", "-"), ("far", "--"), ("chain", ":"))):
        for n, colour in zip((2, 3, 4), ("tab:blue", "tab:orange", "tab:green"), strict=True):
            values = [shifts[n, k][column] for k in range(1, n + 1)]
            left.plot(range(1, n + 1), values, style, marker="o", color=colour, label=f"n = {n}, {name}")
    left.set(title="Lemma 1: bound / true shift", xlabel="agents replaced, k", yscale="log", xticks=range(1, 5))
    names = ("true error", "eps_Subopt + eps_FQI", "shift term", "data error + 4 / (1 - gamma)^2 sum TV")
    for column, name in enumerate(names):
        shown = [errors[4, k][column] for k in range(1, 5)]
        right.plot(range(1, 5), [value if value > 1e-9 else np.nan for value in shown], marker="o", label=name)
    right.set(title="Theorem 3, n = 4: limit of T^(k)", xlabel="agents replaced, k", yscale="log", xticks=range(1, 5))
    right.set_ylim(bottom=1e-3)
    right.annotate("true error: 0", (4, 1e-3), xytext=(3.4, 1.5e-3), fontsize=8)
    save(figure, (left, right), file)


def draw_expansion(file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axis = figure.subplots()
    spreads = np.geomspace(1e-3, 10, 30)
    axis.plot(spreads, [expansion(spread) for spread in spreads], label="weights that follow Q")
    axis.axhline(0.9, color="black", linestyle=":", label="gamma: fixed weights")
    axis.set(title="Expansion of the backup", xlabel="spread of the critics (gap of values: 8)")
    axis.set(ylabel="distance of images / distance", xscale="log", yscale="log")
    save(figure, (axis,), file)


def save(figure: Any, axes: tuple[Any, ...], file: Path) -> None:
    for axis in axes:
        axis.legend(fontsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "images", help="where the PNGs go")
    options = parser.parse_args()
    shifts, errors = shift_ratios(), value_errors()
    for heading, rows in (
        ("| n | k | near | far | chain |", shifts),
        ("| n | k | true error | eps_Subopt + eps_FQI | shift term | data error and its shift |", errors),
    ):
        print(heading, "|---" * (heading.count("|") - 1) + "|", *table(rows), "", sep="\n")
    draw_looseness(shifts, errors, options.output / "theory-looseness.png")
    draw_expansion(options.output / "theory-expansion.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
