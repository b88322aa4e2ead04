"""Sacred records as small JSON files, and their tables and figures for docs/results/cooperative-navigation.md.

    python benchmarks/reproduction.py gather results/sacred --into docs/results/cn
    python benchmarks/reproduction.py table docs/results/cn
    python benchmarks/reproduction.py figures docs/results/cn --into docs/images
    python benchmarks/reproduction.py seconds docs/results/cn-schedules --into docs/images

`gather` writes one file per algorithm and dataset, with all seeds: scores by update, final score, seconds from start to
end, logged weights and uncertainties, and the configuration. It stops where runs of one algorithm and dataset have
different configurations, except for keys given to `--ignore`, such as one that is newer than some of the runs and that
the learner does not read. It leaves out runs that did not complete or were not evaluated, with a message.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Curves = list[tuple[list[float], list[float]]]  # per seed of a line: updates or seconds, and values
Panel = dict[str, Curves]  # by label of the line

SCORE, FINAL = "test_normalised_score", "final_normalised_score"
KEPT = (SCORE, *(f"{key}_{k}" for key in "wu" for k in range(1, 11)), "w_max", "u_target", "k_eff", "q_data",
        "q_policy", "actor_saturation", "nu_start", "q_error_abs")  # fmt: skip
# Keys in which seeds of one line may differ.
BOOKKEEPING = {"seed", "local_results_path", "save_model", "save_model_interval", "checkpoint_path", "load_step",
               "mongo", "use_tensorboard", "use_wandb", "wandb_mode", "wandb_project", "wandb_team", "log_interval",
               "learner_log_interval", "label"}  # fmt: skip
RULES = ("final", "best", "last ten")
ORDER = ("random", "medium-replay", "medium", "expert")


class Mismatch(Exception):
    """An error of records that do not belong in one file or table."""


# -- from Sacred ----------------------------------------------------------------------------------------------------


def read_run(folder: Path) -> Record | str:
    """Record of a run from its Sacred directory, or the reason why there is none."""
    try:
        run, metrics, config = (
            json.loads((folder / f"{name}.json").read_text()) for name in ("run", "metrics", "config")
        )
    except (OSError, ValueError) as error:
        return f"not readable ({error})"
    if run["status"] != "COMPLETED":
        return f"not completed ({run['status']})"
    if SCORE not in metrics or FINAL not in metrics:
        return "no training with scores"
    start, stop = (datetime.fromisoformat(run[key]) for key in ("start_time", "stop_time"))
    repository = run["experiment"]["repositories"][:1]
    curves = {
        key: {"updates": metrics[key]["steps"], "values": [round(value, 4) for value in metrics[key]["values"]]}
        for key in KEPT
        if key in metrics
    }
    # A continued run logs the values of the earlier run again at its start, so its times mean nothing.
    whole = not config["checkpoint_path"]
    times = [datetime.fromisoformat(time) - start for time in metrics[SCORE]["timestamps"]]
    curves[SCORE]["seconds"] = [round(time.total_seconds()) for time in times] if whole else None
    return {
        "seed": config["seed"],
        "final": round(metrics[FINAL]["values"][-1], 2),
        "seconds": round((stop - start).total_seconds()) if whole else None,
        "commit": repository[0]["commit"][:7] + ("+" if repository[0]["dirty"] else "") if repository else None,
        "curves": curves,
        "config": {key: value for key, value in config.items() if key not in BOOKKEEPING},
    }


def gather(source: Path, target: Path, name: str | None, ignored: frozenset[str] = frozenset()) -> list[Path]:
    """Write one file per algorithm (or `name`) and dataset of the runs below `source`; return the paths.

    Raises Mismatch where there are no runs or they do not fit together (see `merge`).
    """
    groups: dict[tuple[str, str], list[Record]] = {}
    for file in sorted(source.rglob("metrics.json")):
        record = read_run(file.parent)
        if isinstance(record, str):
            print(f"left out, {record}: {file.parent}", file=sys.stderr)
            continue
        key = (name or record["config"]["name"], Path(record["config"]["dataset"]).stem)
        groups.setdefault(key, []).append(record)
    if not groups:
        raise Mismatch(f"{source} holds no completed run with scores")
    contents = {key: merge(*key, records, ignored) for key, records in groups.items()}
    target.mkdir(parents=True, exist_ok=True)
    for (algorithm, dataset), content in contents.items():
        (target / f"{algorithm}-{dataset}.json").write_text(to_text(content))
    return [target / f"{algorithm}-{dataset}.json" for algorithm, dataset in contents]


def merge(algorithm: str, dataset: str, records: list[Record], ignored: frozenset[str]) -> Record:
    """Content of one file. Raises Mismatch where configurations differ outside `ignored`, or a seed occurs twice."""
    configs = [record.pop("config") for record in records]
    for config in configs[1:]:
        keys = (config.keys() | configs[0].keys()) - ignored
        differing = sorted(key for key in keys if config.get(key, ...) != configs[0].get(key, ...))
        if differing:
            raise Mismatch(f"runs of {algorithm} on {dataset} differ in {', '.join(differing)}: gather them apart")
    seeds = [record["seed"] for record in records]
    if len(set(seeds)) < len(seeds):
        raise Mismatch(f"{algorithm} on {dataset}: a seed occurs twice among the runs {sorted(seeds)}")
    runs = sorted(records, key=lambda record: int(record["seed"]))
    return {"algorithm": algorithm, "dataset": dataset, "config": configs[0], "runs": runs}


def to_text(content: Record) -> str:
    """JSON with one line per curve, which keeps the file small and its differences readable."""
    return json.dumps(content).replace("}, ", "},\n ") + "\n"


# -- to tables ------------------------------------------------------------------------------------------------------


def load(folder: Path) -> dict[tuple[str, str], Record]:
    """Contents of a folder's files by (algorithm, dataset), in `ORDER` of datasets. Raises Mismatch for other files."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        try:
            record = json.loads(file.read_text())
            found[record["algorithm"], record["dataset"]] = record
        except (ValueError, KeyError, TypeError) as error:
            raise Mismatch(f"{file} is no file that `gather` wrote ({error!r})") from error
    if not found:
        raise Mismatch(f"{folder} holds no results")
    places = {dataset: place for place, dataset in enumerate(ORDER)}
    return {key: found[key] for key in sorted(found, key=lambda key: (places.get(key[1], len(ORDER)), key))}


def scores(run: Record) -> dict[str, float]:
    """Score of a run by each of the three `RULES`. The curve's last point is the final evaluation."""
    values = run["curves"][SCORE]["values"]
    return {"final": run["final"], "best": max(values), "last ten": statistics.fmean(values[-10:])}


def spread(values: list[float]) -> str:
    """Mean and, of several values, sample standard deviation."""
    std = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{std}"


def table(folder: Path) -> str:
    """Markdown table of all files: mean ± standard deviation over seeds by each rule, final scores, minutes per run."""
    lines = ["| dataset | algorithm | " + " | ".join(RULES) + " | final by seed | minutes per run |", "|---" * 7 + "|"]
    for (algorithm, dataset), record in load(folder).items():
        by_rule = [spread([scores(run)[rule] for run in record["runs"]]) for rule in RULES]
        finals = " / ".join(f"{run['final']:.1f}" for run in record["runs"])
        known = [run["seconds"] / 60 for run in record["runs"] if run["seconds"] is not None]
        minutes = f"{statistics.fmean(known):.1f}" if known else "continued"
        lines.append(f"| {dataset} | {algorithm} | " + " | ".join(by_rule) + f" | {finals} | {minutes} |")
    return "\n".join(lines)


def uncertainty_table(folder: Path) -> str:
    """Markdown table of standard deviations, values and adaptive weights: means over the second half of training."""
    head = "| dataset | algorithm | u_target by seed | q_data | u_k | u_n / u_1 by seed | w_k | w_max | k_eff |"
    lines = [head, "|---" * 9 + "|"]
    for (algorithm, dataset), record in load(folder).items():
        logged = [{key: second_half(run, key) for key in run["curves"]} for run in record["runs"]]
        targets = " / ".join(f"{late['u_target']:.3g}" for late in logged if "u_target" in late)
        sizes = adaptive_sizes(record)
        u, w = (", ".join(seed_mean(logged, f"{key}_{k}", ".3g") for k in sizes) for key in "uw")
        ratios = " / ".join(f"{late[f'u_{sizes[-1]}'] / late['u_1']:.3f}" for late in logged) if sizes else ""
        q_data, w_max, k_eff = (seed_mean(logged, key, ".4g") for key in ("q_data", "w_max", "k_eff"))
        if targets or sizes:
            lines.append("| " + " | ".join((dataset, algorithm, targets, q_data, u, ratios, w, w_max, k_eff)) + " |")
    return "\n".join(lines)


def seed_mean(logged: list[dict[str, float]], key: str, form: str) -> str:
    """Mean over the seeds that logged `key`, formatted as `form`; empty where none did."""
    found = [late[key] for late in logged if key in late]
    return format(statistics.fmean(found), form) if found else ""


def adaptive_sizes(record: Record) -> list[int]:
    """Numbers of replaced agents, 1..n, for which a record has weights; empty where it has none."""
    return [k for k in range(1, 11) if f"w_{k}" in record["runs"][0]["curves"]]


def second_half(run: Record, key: str) -> float:
    """Mean of a curve's second half."""
    values = run["curves"][key]["values"]
    return statistics.fmean(values[len(values) // 2 :])


# -- to pictures ----------------------------------------------------------------------------------------------------


def figures(folder: Path, target: Path) -> list[Path]:
    """Draw scores and the paper's figures 2 and 3; return the paths.

    Raises Mismatch where two algorithms with weights have the same dataset.
    """
    records = load(folder)
    own: dict[tuple[str, str], Record] = {}  # records with weights
    for (algorithm, dataset), record in records.items():
        if adaptive_sizes(record) and own.setdefault(("", dataset), record) is not record:
            raise Mismatch(f"{folder}: {algorithm} is the second algorithm with weights on {dataset}; draw them apart")
    target.mkdir(parents=True, exist_ok=True)

    def by_algorithm(key: str) -> dict[str, Panel]:
        return panels(records, lambda record: {record["algorithm"]: curves_of(record, key)})

    pictures = (
        ("scores", "normalised score", by_algorithm(SCORE)),
        ("targets", "standard deviation of the target, $u$", by_algorithm("u_target")),
        ("uncertainty", "uncertainty $u_k$", panels(own, lambda record: by_size(record, "u"))),
        ("weights", "weight $w_k$", panels(own, lambda record: by_size(record, "w"))),
    )
    return [draw(content, label, target / f"{folder.name}_{name}.png") for name, label, content in pictures if content]


def seconds(folder: Path, target: Path) -> list[Path]:
    """Draw scores against seconds since the start of a run, with reading data and evaluations; means over seeds."""

    def lines(record: Record) -> Panel:
        curves = [run["curves"][SCORE] for run in record["runs"]]
        return {record["algorithm"]: [(c["seconds"], c["values"]) for c in curves if c["seconds"] is not None]}

    target.mkdir(parents=True, exist_ok=True)
    by_second = panels(load(folder), lines)
    return [draw(by_second, "normalised score", target / f"{folder.name}_seconds.png", "seconds of one core")]


def panels(records: dict[tuple[str, str], Record], lines: Callable[[Record], Panel]) -> dict[str, Panel]:
    """Lines by dataset; those that were not logged are left out."""
    found: dict[str, Panel] = {}
    for (_, dataset), record in records.items():
        for label, curves in lines(record).items():
            if curves:
                found.setdefault(dataset, {})[label] = curves
    return found


def curves_of(record: Record, key: str) -> Curves:
    """Curves of `key` over updates, one per seed that logged it."""
    return [(curve["updates"], curve["values"]) for run in record["runs"] if (curve := run["curves"].get(key))]


def by_size(record: Record, key: str) -> Panel:
    """Curves of `w` or `u`, one line per number of replaced agents."""
    return {f"k = {k}": curves_of(record, f"{key}_{k}") for k in adaptive_sizes(record)}


def draw(content: dict[str, Panel], label: str, file: Path, xlabel: str = "updates") -> Path:
    """Draw one panel per dataset; a line is the mean over seeds, its shade their range."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(content), 3.4), layout="constrained")
    for axis, (dataset, lines) in zip(figure.subplots(1, len(content), squeeze=False)[0], content.items(), strict=True):
        for name, curves in lines.items():
            shared = min(len(where) for where, _ in curves)
            where = np.mean([where[:shared] for where, _ in curves], axis=0)
            values = np.array([values[:shared] for _, values in curves])
            (line,) = axis.plot(where, values.mean(0), label=name, linewidth=1.6)
            axis.fill_between(where, values.min(0), values.max(0), color=line.get_color(), alpha=0.15, linewidth=0)
        axis.set(title=f"Cooperative Navigation, {dataset}", xlabel=xlabel, ylabel=label)
        axis.legend(fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)
    return file


def main() -> int:
    """Run one command; return 1, with an error message, where its files do not fit together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("gather", help="Sacred records to JSON files")
    one.add_argument("source", type=Path, help="a directory of Sacred runs")
    one.add_argument("--into", type=Path, required=True, help="where the JSON files go")
    one.add_argument("--name", help="file the runs under this name instead of the algorithm's")
    one.add_argument("--ignore", nargs="+", default=[], metavar="KEY", help="keys in which runs of one file may differ")
    for name, text in (("table", "print tables"), ("figures", "draw PNGs"), ("seconds", "draw score against time")):
        other = commands.add_parser(name, help=f"{text} from JSON files")
        other.add_argument("folder", type=Path, help="the directory of JSON files")
        if name != "table":
            other.add_argument("--into", type=Path, required=True, help="where the PNGs go")
    options = parser.parse_args()
    try:
        if options.command == "gather":
            print(*gather(options.source, options.into, options.name, frozenset(options.ignore)), sep="\n")
        elif options.command == "table":
            print(table(options.folder), uncertainty_table(options.folder), sep="\n\n")
        else:
            make = figures if options.command == "figures" else seconds
            print(*make(options.folder, options.into), sep="\n")
    except (Mismatch, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
