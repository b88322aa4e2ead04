"""Stock's `plot_results.py` and `search.py`, from the checkout that EPYMARL_CHECKOUT names, on our runs.

They need seaborn and click, which the extra `stock-scripts` installs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command_line import ROOT, CommandLine, status
from tests.compat.stock_checkout import stock_checkout

pytestmark = pytest.mark.slow
SHORT = {"t_max": 200, "test_interval": 100, "test_nepisode": 4, "batch_size_run": 2, "batch_size": 4,
         "save_model": False, "log_interval": 100, "env_args.time_limit": 10, "use_cuda": False}  # fmt: skip
DISCRETE = "env_args.continuous_actions=False"


def runs(results: Path) -> list[Path]:
    found = sorted(results.glob("sacred/*/*/[0-9]*"))
    assert found and all(status(run) == "COMPLETED" for run in found), found
    return found


def python(script: Path, *words: str, cwd: Path, answer: str = "") -> subprocess.CompletedProcess[str]:
    """A script of stock's; what it starts as `python` is this interpreter."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "PATH": path, "MPLBACKEND": "Agg", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-W", "ignore", str(script), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, input=answer, timeout=600)


def test_plot_results_draws_two_seeds_as_one_curve(cli: CommandLine, tmp_path: Path) -> None:
    script = stock_checkout() / "plot_results.py"
    pytest.importorskip("seaborn")
    updates = [f"{key}={value}" for key, value in SHORT.items()]
    for seed in (0, 1):
        result = cli.run(*updates, DISCRETE, f"seed={seed}", config="qmix")
        assert result.returncode == 0, result.stderr
    configs = [json.loads((run / "config.json").read_text()) for run in runs(cli.results)]
    assert [written.pop("seed") for written in configs] == [0, 1]
    assert configs[0] == configs[1]  # one curve, not two
    words = ("--path", str(cli.results / "sacred"), "--save_dir", str(tmp_path), "--smoothing_window", "2")
    result = python(script, *words, "--best_per_alg", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [path.name for path in tmp_path.glob("*.pdf")] == ["mpe_simple_spread_test_return_mean_True.pdf"]
    assert (tmp_path / "mpe_simple_spread_test_return_mean_True.pdf").read_bytes().startswith(b"%PDF")


def search_file(tmp_path: Path, grid: dict[str, Any], group: dict[str, Any]) -> Path:
    grid = {**grid, "local_results_path": [str(tmp_path / "results")]}
    content = {
        "grid-search": grid,
        "grid-search-groups": {"env0": [{key: value} for key, value in group.items()]},
    }
    file = tmp_path / "search.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_search_runs_every_combination(tmp_path: Path) -> None:
    """`locally`, after its question: two learning rates, two seeds, each with the hypergroup that it sets."""
    script = stock_checkout() / "src" / "search.py"
    pytest.importorskip("click")
    grid = {"--config": ["iql"], "lr": [0.0001, 0.0003], **{key: [value] for key, value in SHORT.items()}}
    file = search_file(tmp_path, grid, {"--env-config": "mpe", "env_args.continuous_actions": False})
    words = ("run", "--config", str(file), "--seeds", "2", "locally", "--cpus", "1")
    result = python(script, *words, cwd=ROOT / "src", answer="y\n")
    assert result.returncode == 0 and "[0, 0, 0, 0]" in result.stdout, result.stdout + result.stderr
    configs = [json.loads((run / "config.json").read_text()) for run in runs(tmp_path / "results")]
    found = sorted((written["hypergroup"], written["q_lr"], written["seed"]) for written in configs)
    groups = (("hp_grp_0", 0.0001), ("hp_grp_1", 0.0003))
    assert found == [(*group, seed) for group in groups for seed in (0, 1)]


def test_search_runs_stocks_example(tmp_path: Path) -> None:
    """One combination of the file that stock ships, with all its keys, on our configuration of the same name."""
    script = stock_checkout() / "src" / "search.py"
    pytest.importorskip("click")
    pytest.importorskip("lbforaging")
    example = yaml.safe_load((script.parent / "search.config.example.yaml").read_text())
    grid = {key: values[:1] for key, values in example["grid-search"].items()}
    grid |= {key: [value] for key, value in SHORT.items() if key in grid}
    (group,) = example["grid-search-groups"].values()
    file = search_file(tmp_path, grid, {key: value for entry in group for key, value in entry.items()})
    words = ("run", "--config", str(file), "--seeds", "1", "single", "0")
    result = python(script, *words, cwd=ROOT / "src")
    assert result.returncode == 0, result.stderr
    (run,) = runs(tmp_path / "results")
    assert json.loads((run / "config.json").read_text())["hypergroup"] == "hp_grp_0"
