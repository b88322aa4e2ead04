"""Sweeps that are killed in whatever they do end as undisturbed ones; two sweeps do not do the same work."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import CommandLine, status
from tests.sweeps.sweeping import END, LONG, arguments, begin, below, kill_all, same, search, steps, wait_for, weights

pytestmark = pytest.mark.slow
NEEDS_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
backends = pytest.mark.parametrize("backend", ["processes", pytest.param("ray", marks=NEEDS_RAY)])


def state(words: list[str]) -> list[str]:
    """The table of a sweep."""
    own = ["status", *words[words.index("--seeds") :]]
    return search(own).stdout.splitlines()


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def check_same(results: Path, whole: Path, seeds: range) -> None:
    for seed in seeds:
        assert same(weights(results, seed, END), weights(whole, seed, END)), seed


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Path) -> Path:
    """The results of an undisturbed sweep."""
    results = tmp_path_factory.mktemp("whole") / "r"
    words = arguments(results, tiny_dataset, "--backend", "processes", "--seeds", "1-4", keys=LONG)
    assert search(words).returncode == 0
    return results


@backends
def test_killed_with_all_its_workers_and_begun_again(
    backend: str, tmp_path: Path, tiny_dataset: Path, whole: Path
) -> None:
    results = tmp_path / "r"
    words = arguments(results, tiny_dataset, "--backend", backend, "--seeds", "1-4", keys=LONG)
    for number in (2, 9):  # in the first runs, and in later ones
        sweep = begin(words, tmp_path / "out")
        try:
            wait_for(lambda number=number: len(steps(results)) >= number)
        finally:
            family = kill_all(sweep.pid)
            sweep.wait()
        wait_for(lambda family=family: not any(is_alive(pid) for pid in family))
    sweep = begin(words, tmp_path / "out")
    assert sweep.wait(300) == 0, (tmp_path / "out").read_text()
    other = [word.replace(str(results), str(whole)) for word in words]
    assert state(words) == state(other) and state(words)[-1] == "4 done of 4"
    check_same(results, whole, range(1, 5))
    continued = [json.loads((run / "config.json").read_text())["checkpoint_path"]
                 for run in CommandLine(results, tiny_dataset).runs()]  # fmt: skip
    assert any(continued), "something was continued"


def test_runs_end_with_a_driver_that_is_killed(tmp_path: Path, tiny_dataset: Path) -> None:
    results = tmp_path / "r"
    words = arguments(results, tiny_dataset, "--backend", "processes", "--seeds", "1-2", keys=LONG)
    sweep = begin(words, tmp_path / "out")
    wait_for(lambda: len(steps(results)) >= 2)
    family = below(sweep.pid)
    assert len(family) >= 4, "the driver, its server, two runs"
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in family), 20)
    assert {status(run) for run in CommandLine(results, tiny_dataset).runs()} == {"INTERRUPTED"}


def test_a_run_whose_process_is_killed_is_continued_at_once(tmp_path: Path, tiny_dataset: Path, whole: Path) -> None:
    results = tmp_path / "r"
    words = arguments(results, tiny_dataset, "--backend", "processes", "--workers", "1", "--seeds", "1-1", keys=LONG)
    sweep = begin(words, tmp_path / "out")
    wait_for(lambda: len(steps(results)) >= 2)
    os.kill(run_of(sweep.pid), signal.SIGKILL)
    assert sweep.wait(120) == 0
    first, second = CommandLine(results, tiny_dataset).runs()
    assert status(first) == "RUNNING" and status(second) == "COMPLETED"
    assert json.loads((second / "config.json").read_text())["checkpoint_path"]
    check_same(results, whole, range(1, 2))


def run_of(driver: int) -> int:
    """The process of a run: the one that a fork server has forked and that leads a session of its own."""
    for pid in below(driver)[2:]:
        if os.getsid(pid) == pid:
            return pid
    raise AssertionError("no run is at work")


def test_two_sweeps_on_one_folder_share_the_work(tmp_path: Path, tiny_dataset: Path) -> None:
    results = tmp_path / "r"
    words = arguments(results, tiny_dataset, "--backend", "processes", "--workers", "1", "--seeds", "1-4", keys=LONG)
    sweeps = [begin(words, tmp_path / f"out{i}") for i in range(2)]
    try:
        assert [sweep.wait(300) for sweep in sweeps] == [0, 0]
    finally:
        for sweep in sweeps:
            kill_all(sweep.pid)
    runs = CommandLine(results, tiny_dataset).runs()
    assert [status(run) for run in runs] == ["COMPLETED"] * 4
    seeds = sorted(json.loads((run / "config.json").read_text())["seed"] for run in runs)
    assert seeds == [1, 2, 3, 4], "no run took place twice"
    for i in range(2):
        assert "4 done of 4" in (tmp_path / f"out{i}").read_text()
    assert any("is run by another process" in (tmp_path / f"out{i}").read_text() for i in range(2))


@NEEDS_RAY
def test_a_node_that_leaves_costs_the_work_since_the_last_checkpoint(
    tmp_path: Path, tiny_dataset: Path, whole: Path
) -> None:
    import ray
    from ray.cluster_utils import Cluster

    results = tmp_path / "r"
    small: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    try:
        node = cluster.add_node(**small)
        flags = ("--address", cluster.address, "--seeds", "1-2")
        words = arguments(results, tiny_dataset, *flags, keys=LONG)
        sweep = begin(words, tmp_path / "out")
        try:
            wait_for(lambda: {1, 2} <= {seed for seed in (1, 2) if list(results.glob(f"models/*_seed{seed}_*/100"))})
            cluster.remove_node(node, allow_graceful=False)
            gone = time.time()
            assert sweep.wait(300) == 0, (tmp_path / "out").read_text()
        finally:
            kill_all(sweep.pid)
        assert "2 done of 2" in (tmp_path / "out").read_text() and gone
    finally:
        cluster.shutdown()
        ray.shutdown()
    runs = CommandLine(results, tiny_dataset).runs()
    assert sorted(map(status, runs)).count("COMPLETED") == 2 and len(runs) >= 3
    check_same(results, whole, range(1, 3))
