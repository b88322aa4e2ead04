"""What tells runs apart at first sight: a name, and a few entries that a table of runs can show as columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sacred.run import Run

from datasets.names import dataset_name
from utils.config import Config
from utils.paths import place_of
from utils.settings import Settings
from utils.versions import commit

# A run's one score, by the names of the figures that loops return: the first one that there is.
SCORES = {
    "final_normalised_score": "normalised score",
    "final_return": "return per agent",
    "fqe_value": "estimated value",
    "return_mean": "return of the collected episodes",
}
BEST = {"final_normalised_score": "best_normalised_score", "final_return": "best_return"}


def data_name(config: Config) -> str | None:
    """The dataset by its short name; a file elsewhere by its own name, without the folders. None without one."""
    dataset = config["dataset"]
    if dataset is None:
        return None
    return dataset_name(dataset) or (Path(dataset).stem if dataset.endswith((".h5", ".hdf5")) else str(dataset))


def run_name(config: Config) -> str:
    """The algorithm and what it learns from or plays in, such as `spacql on mpe/simple_spread/random-100k`."""
    if config["offline"] and not config["collect"] and config["dataset"] is not None:
        return f"{config['name']} on {data_name(config)}"
    return f"{config['name']} in {place_of(config)}"


def label(sacred_run: Run, settings: Settings) -> None:
    """Put what tells this run apart into `info["run"]`; `score` and `best` follow."""
    config = vars(settings)
    sacred_run.info["run"] = {
        "algorithm": settings.name,
        "dataset": data_name(config),
        "environment": None if settings.env is None else place_of(config),
        "seed": settings.seed,
        "score": None,
        "best": None,
        "score_is": None,
        "commit": short(commit()),
    }


def short(name: str | None) -> str:
    """A commit's first ten digits, which fit a column, and its `+changes` where there is one."""
    digits, sign, changes = (name or "unknown").partition("+")
    return digits[:10] + sign + changes


def score(sacred_run: Run, figures: dict[str, Any]) -> float | None:
    """Put a run's final and best score into `info["run"]`; returns the final one, None where there is none.

    The entries have two decimals, as they are for a table. The score is the normalised one, else the return per agent,
    else what the data tell. figures: what a loop returns.
    """
    name = next((name for name in SCORES if name in figures), None)
    if name is None:
        return None
    final = float(figures[name])
    best = round(float(figures[BEST[name]]), 2) if name in BEST else None
    sacred_run.info["run"].update({"score": round(final, 2), "best": best, "score_is": SCORES[name]})
    return final
