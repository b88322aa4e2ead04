"""Sacred records to small JSON files, and these to the tables and figures of docs/reproduction.md.

    python benchmarks/reproduction.py gather results/sacred --into docs/results/cn
    python benchmarks/reproduction.py table docs/results/cn
    python benchmarks/reproduction.py figures docs/results/cn --into docs/images
    python benchmarks/reproduction.py seconds docs/results/cn-schedules --into docs/images

`gather` writes one file an algorithm and dataset, all seeds in it: scores by update, final score, seconds of training,
the weights and uncertainties that were logged, and what the configuration says. Runs of another configuration under the
same name are refused; runs that did not complete are left out, which is said.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

Record = dict[str, Any]

SCORE, FINAL = "test_normalised_score", "final_normalised_score"
KEPT = (SCORE, "w_1", "w_2", "w_3", "u_1", "u_2", "u_3", "u_target", "k_eff", "q_data", "q_policy", "actor_saturation")
# What tells runs of one line apart without making them different.
BOOKKEEPING = {"seed", "local_results_path", "save_model", "save_model_interval", "checkpoint_path", "load_step",
               "use_cuda", "mongo", "use_tensorboard", "log_interval", "learner_log_interval", "label"}  # fmt: skip
RULES = ("final", "best", "last ten")


class Mismatch(Exception):
    """Records that cannot stand in one file or table."""


# -- from Sacred ----------------------------------------------------------------------------------------------------


def read_run(folder: Path) -> Record | None:
    """One run's record from its Sacred directory; None where it did not complete or was never evaluated."""
    run = json.loads((folder / "run.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())
    if run["status"] != "COMPLETED" or SCORE not in metrics:
        return None
    config = json.loads((folder / "config.json").read_text())
    start, stop = (datetime.fromisoformat(run[key]) for key in ("start_time", "stop_time"))
    repository = run["experiment"]["repositories"][:1]
    curves = {
        key: {"updates": metrics[key]["steps"], "values": [round(value, 4) for value in metrics[key]["values"]]}
        for key in KEPT
        if key in metrics
    }
    times = [datetime.fromisoformat(time) - start for time in metrics[SCORE]["timestamps"]]
    curves[SCORE]["seconds"] = [round(time.total_seconds()) for time in times]
    return {
        "seed": config["seed"],
        "final": round(metrics[FINAL]["values"][-1], 2),
        "seconds": round((stop - start).total_seconds()),
        "commit": repository[0]["commit"][:7] + ("+" if repository[0]["dirty"] else "") if repository else None,
        "curves": curves,
        "config": {key: value for key, value in config.items() if key not in BOOKKEEPING},
    }


def gather(source: Path, target: Path, name: str | None) -> list[Path]:
    """Write one file for each algorithm (or `name`) and dataset found below `source`. Raises Mismatch."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for file in sorted(source.rglob("metrics.json")):
        record = read_run(file.parent)
        if record is None:
            print(f"left out, not completed: {file.parent}", file=sys.stderr)
            continue
        key = (name or record["config"]["name"], Path(record["config"]["dataset"]).stem)
        groups.setdefault(key, []).append(record)
    if not groups:
        raise Mismatch(f"{source} holds no completed run with scores")
    written = []
    for (algorithm, dataset), records in groups.items():
        configs = [record.pop("config") for record in records]
        for config in configs[1:]:
            differing = sorted(key for key in config if config[key] != configs[0].get(key))
            if differing:
                raise Mismatch(f"runs of {algorithm} on {dataset} differ in {', '.join(differing)}: gather them apart")
        seeds = [record["seed"] for record in records]
        if len(set(seeds)) < len(seeds):
            raise Mismatch(f"{algorithm} on {dataset}: a seed occurs twice below {source}")
        content = {"algorithm": algorithm, "dataset": dataset, "config": configs[0]}
        runs = sorted(records, key=lambda record: int(record["seed"]))
        target.mkdir(parents=True, exist_ok=True)
        file = target / f"{algorithm}-{dataset}.json"
        file.write_text(to_text({**content, "runs": runs}))
        written.append(file)
    return written


def to_text(content: Record) -> str:
    """JSON with one line a curve, so that a difference is readable and a file stays small."""
    head = {key: value for key, value in content.items() if key != "runs"}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    runs = []
    for run in content["runs"]:
        curves = ",\n".join(f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in run["curves"].items())
        rest = ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in run.items() if key != "curves")
        runs.append(f'  {{{rest}, "curves": {{\n{curves}}}}}')
    joined = ",\n".join(runs)
    return "{\n" + "\n".join(lines) + f'\n "runs": [\n{joined}\n ]\n}}\n'


# -- to tables ------------------------------------------------------------------------------------------------------


def load(folder: Path) -> dict[tuple[str, str], Record]:
    """Every file of a folder by (algorithm, dataset)."""
    records = (json.loads(file.read_text()) for file in sorted(folder.glob("*.json")))
    return {(record["algorithm"], record["dataset"]): record for record in records}


def scores(run: Record) -> dict[str, float]:
    """A run's score by each of the three rules. The curve's last point is the final evaluation."""
    values = run["curves"][SCORE]["values"]
    return {"final": run["final"], "best": max(values), "last ten": statistics.fmean(values[-10:])}


def spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{deviation}"


def table(folder: Path) -> str:
    """A Markdown table of every file: mean ± deviation over seeds by each rule, seeds' final scores, core minutes."""
    lines = ["| dataset | algorithm | " + " | ".join(RULES) + " | final by seed | minutes a run |", "|---" * 7 + "|"]
    for (algorithm, dataset), record in sorted(load(folder).items(), key=lambda item: item[0][::-1]):
        by_rule = [spread([scores(run)[rule] for run in record["runs"]]) for rule in RULES]
        finals = " / ".join(f"{run['final']:.1f}" for run in record["runs"])
        minutes = statistics.fmean(run["seconds"] for run in record["runs"]) / 60
        lines.append(f"| {dataset} | {algorithm} | " + " | ".join(by_rule) + f" | {finals} | {minutes:.1f} |")
    return "\n".join(lines)


def uncertainty_table(folder: Path) -> str:
    """u_1 .. u_n and w_1 .. w_n of the adaptive runs, means over the second half of training, by dataset."""
    lines = ["| dataset | u_1 | u_2 | u_3 | u_3 / u_1 by seed | w_1 | w_2 | w_3 | k_eff |", "|---" * 9 + "|"]
    for (_, dataset), record in load(folder).items():
        if not all("w_1" in run["curves"] for run in record["runs"]):
            continue
        late = {key: [second_half(run, key) for run in record["runs"]] for key in KEPT if key in run_keys(record)}
        ratio = " / ".join(f"{u3 / u1:.2f}" for u1, u3 in zip(late["u_1"], late["u_3"], strict=True))
        u, w = ([f"{statistics.fmean(late[f'{key}_{k}']):.3g}" for k in (1, 2, 3)] for key in "uw")
        k_eff = f"{statistics.fmean(late['k_eff']):.3f}"
        lines.append(f"| {dataset} | " + " | ".join([*u, ratio, *w, k_eff]) + " |")
    return "\n".join(lines)


def run_keys(record: Record) -> set[str]:
    return set(record["runs"][0]["curves"])


def second_half(run: Record, key: str) -> float:
    values = run["curves"][key]["values"]
    return statistics.fmean(values[len(values) // 2 :])


# -- to pictures ----------------------------------------------------------------------------------------------------


def figures(folder: Path, target: Path) -> list[Path]:
    """Learning curves by dataset, and the paper's figures 2 (uncertainty) and 3 (weights), as PNG."""
    records = load(folder)
    adaptive = {dataset: record for (_, dataset), record in records.items() if "w_1" in run_keys(record)}
    datasets = sorted({dataset for _, dataset in records}, key=ORDER.index)
    target.mkdir(parents=True, exist_ok=True)
    written = [draw(datasets, "normalised score", target / "cn_scores.png", lambda d: lines_of(records, d, (SCORE,)))]
    if adaptive:
        shown = [dataset for dataset in datasets if dataset in adaptive]
        for key, label, file in (("u", "uncertainty $u_k$", "cn_uncertainty"), ("w", "weight $w_k$", "cn_weights")):
            keys = tuple(f"{key}_{k}" for k in (1, 2, 3))
            path = target / f"{file}.png"
            written.append(draw(shown, label, path, lambda d, keys=keys: lines_of({("", d): adaptive[d]}, d, keys)))
    return written


ORDER = ("random", "medium-replay", "medium", "expert")


def lines_of(records: dict[tuple[str, str], Record], dataset: str, keys: tuple[str, ...]) -> dict[str, list[Any]]:
    """By label: the curves of all seeds, [(updates, values), ...]."""
    found: dict[str, list[Any]] = {}
    for (algorithm, owner), record in records.items():
        for key in keys if owner == dataset else ():
            label = algorithm if len(keys) == 1 else f"k = {key[-1]}"
            found[label] = [(run["curves"][key]["updates"], run["curves"][key]["values"]) for run in record["runs"]]
    return found


def seconds(folder: Path, target: Path) -> list[Path]:
    """Score against seconds of a run, evaluations included; each line a mean over seeds, time too."""
    records = load(folder)
    target.mkdir(parents=True, exist_ok=True)

    def lines(dataset: str) -> dict[str, list[Any]]:
        curves = {
            a: [run["curves"][SCORE] for run in r["runs"]] for (a, owner), r in records.items() if owner == dataset
        }
        return {name: [(curve["seconds"], curve["values"]) for curve in several] for name, several in curves.items()}

    datasets = sorted({dataset for _, dataset in records}, key=ORDER.index)
    return [draw(datasets, "normalised score", target / f"{folder.name}_seconds.png", lines, "seconds of one core")]


def draw(datasets: list[str], label: str, file: Path, lines: Any, xlabel: str = "updates") -> Path:
    """One panel a dataset; each line the mean over seeds, shaded from the lowest to the highest."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(datasets), 3.4), layout="constrained")
    axes = figure.subplots(1, len(datasets), squeeze=False)[0]
    for axis, dataset in zip(axes, datasets, strict=True):
        for name, curves in lines(dataset).items():
            shared = min(len(updates) for updates, _ in curves)
            updates = np.mean([updates[:shared] for updates, _ in curves], axis=0)
            values = np.array([values[:shared] for _, values in curves])
            (line,) = axis.plot(updates, values.mean(0), label=name, linewidth=1.6)
            axis.fill_between(updates, values.min(0), values.max(0), color=line.get_color(), alpha=0.15, linewidth=0)
        axis.set(title=f"Cooperative Navigation, {dataset}", xlabel=xlabel, ylabel=label)
        axis.legend(fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)
    return file


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("gather", help="Sacred records to JSON files")
    one.add_argument("source", type=Path, help="a directory of Sacred runs")
    one.add_argument("--into", type=Path, required=True, help="where the JSON files go")
    one.add_argument("--name", help="file the runs under this name instead of the algorithm's")
    others = {"table": "print tables", "figures": "draw PNGs", "seconds": "draw score against time"}
    for name, text in others.items():
        other = commands.add_parser(name, help=f"{text} from JSON files")
        other.add_argument("folder", type=Path, help="the directory of JSON files")
        if name != "table":
            other.add_argument("--into", type=Path, required=True, help="where the PNGs go")
    options = parser.parse_args()
    try:
        if options.command == "gather":
            print(*gather(options.source, options.into, options.name), sep="\n")
        elif not load(options.folder):
            raise Mismatch(f"{options.folder} holds no results")
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
