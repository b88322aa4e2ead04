"""Signals at any moment: a run or command ends with one line and status 130, and leaves only what is whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.dataset import read_dataset, write_dataset
from datasets.sources.xor import generate_xor
from tests.command_line import ROOT, CommandLine, status
from tests.fork_server import run_script
from utils import signals
from utils.files import WRITING, writing_file
from utils.signals import Interrupted, StopSignals

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DATASET = ROOT / "src" / "dataset.py"


@pytest.fixture(autouse=True)
def hang_ups_are_not_ignored() -> Iterator[None]:
    """As they are where the tests run under `nohup`, which is respected."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def remains(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name.endswith((WRITING, ".tmp", ".partial"))]


def drawn_signals(seed: int, longest: float) -> list[tuple[float, int]]:
    """One or two signals at drawn times."""
    draw = random.Random(seed)
    first = (draw.uniform(0.05, longest), draw.choice(NUMBERS))
    second = (draw.choice((0.0, 0.001, 0.02, 0.1)), draw.choice(NUMBERS[:2]))
    return [first, second][: draw.choice((1, 2))]


# -- within a process --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_noted_and_read_between_steps(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=f"{number.name} after one step"), StopSignals() as outer:
        signals.check("before it")
        with StopSignals() as inner:
            os.kill(os.getpid(), number)
            assert inner.received == outer.received == signals.received() == number
            with signals.finishing():
                signals.check("in what cannot be had again")
        signals.check("after one step")
    assert signals.received() is None and signal.getsignal(number) == before


def test_a_signal_that_nobody_saw_is_passed_on() -> None:
    with pytest.raises(KeyboardInterrupt), StopSignals():
        os.kill(os.getpid(), signal.SIGINT)
    with StopSignals():
        signals.check("and is gone then")


def test_other_threads_change_no_handlers() -> None:
    seen: list[Any] = []

    def work() -> None:
        with StopSignals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_a_forked_process_can_be_terminated() -> None:
    """As a simulator's own, which its environment ends by SIGTERM."""
    with StopSignals():
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


def test_a_closing_terminal_may_hang_up_twice() -> None:
    with pytest.raises(Interrupted), StopSignals():
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        signals.check("once")


def test_nohup_is_respected() -> None:
    code = (
        "import os, signal, sys; sys.path.insert(0, 'src'); from utils import signals; "
        "signals.end_at_once_on_signals(); os.kill(os.getpid(), signal.SIGHUP); print('alive')"
    )
    ignoring = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c", code]
    assert subprocess.run(ignoring, capture_output=True, text=True, cwd=ROOT).stdout == "alive\n"


def script(number: int, body: str) -> subprocess.CompletedProcess[str]:
    """Run `body` in a process of its own that ends at once on signals; `stop()` sends it one."""
    start = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, 'src')\n"
        "from utils import files, signals\n"
        f"signals.end_at_once_on_signals(); stop = lambda: os.kill(os.getpid(), {number:d})\n"
    )
    command = [sys.executable, "-c", start + body]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("number", NUMBERS[:2])
def test_a_second_signal_ends_at_once_and_leaves_nothing(kind: str, number: int, tmp_path: Path) -> None:
    body = (
        f"with signals.StopSignals(), files.writing_{kind}(Path({str(tmp_path)!r}) / 'x') as temporary:\n"
        "    (temporary / 'part' if temporary.is_dir() else temporary).write_text('half')\n"
        "    stop()\n"
        "    print('first', flush=True)\n"
        "    stop()\n"
        "    print('second', flush=True)\n"
    )
    result = script(number, body)
    assert (result.returncode, result.stdout) == (130, "first\n")
    line = f"interrupted: {signal.Signals(number).name}; what was not complete is not kept\n"
    assert result.stderr == line and not list(tmp_path.iterdir())


def test_a_signal_inside_callbacks_and_finalisers_is_not_swallowed() -> None:
    body = (
        "class Stops:\n"
        "    def __del__(self): stop()\n"
        "with signals.StopSignals():\n"
        "    Stops()\n"
        "    sorted([1, 2], key=lambda _: signals.received())\n"
        "    print('finished', flush=True)\n"
        "print('swallowed')\n"
    )
    result = script(signal.SIGINT, body)
    assert (result.returncode, result.stdout) == (130, "finished\n") and len(result.stderr.splitlines()) == 1


def test_writing_a_dataset_in_a_program_of_ones_own_ends_between_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There Ctrl-C is Python's own KeyboardInterrupt, which HDF5's callbacks would swallow."""
    card = generate_xor("AB", tmp_path / "xor.h5", 5, 0)
    dataset = read_dataset(tmp_path / "xor.h5")
    moments = [0]

    def stop_once(data: Any) -> Any:
        moments[0] += 1
        if moments[0] == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return contiguous(data)

    contiguous = np.ascontiguousarray
    monkeypatch.setattr(np, "ascontiguousarray", stop_once)
    with pytest.raises(Interrupted, match="SIGINT between two blocks of a dataset; what was not complete is not kept"):
        write_dataset(tmp_path / "new.h5", dataset.arrays, dataset.episode_offsets, card)
    assert [path.name for path in tmp_path.iterdir()] == ["xor.h5"]


# -- scripts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [range(8), pytest.param(range(8, 100), marks=pytest.mark.slow)], ids=len)
def test_a_dataset_is_complete_or_absent_whenever_a_signal_comes(seeds: range, tmp_path: Path) -> None:
    out = tmp_path / "new.h5"
    command = ["generate-xor", "random", "--episodes", "500", "-o", str(out)]
    ended: set[int] = set()
    for seed in seeds:
        result = run_script(DATASET, command, signals=drawn_signals(seed, 0.4))
        lines = result.stderr.splitlines()
        assert result.returncode in (0, 130), (seed, lines)
        assert [line[:13] for line in lines] == ["interrupted: "] * (result.returncode == 130), (seed, lines)
        assert result.returncode == 130 or out.exists()
        if out.exists():
            read_dataset(out)
            out.unlink()
        assert not list(tmp_path.iterdir()), seed
        ended.add(result.returncode)
    assert 130 in ended


@pytest.mark.parametrize("seeds", [range(4), pytest.param(range(4, 40), marks=pytest.mark.slow)], ids=len)
def test_a_run_is_recorded_as_it_ended_whenever_a_signal_comes(
    seeds: range, tmp_path: Path, tiny_dataset: Path
) -> None:
    kinds = (
        ("spacql", ("t_max=40",)),
        ("random", ("collect=True", "collect_episodes=3000", "batch_size_run=100")),
        ("spacql", ("t_max=40", "runner=parallel", "batch_size_run=2", "test_nepisode=4")),
    )
    for seed in seeds:
        cli = CommandLine(tmp_path / str(seed), tiny_dataset)
        config, updates = kinds[seed % len(kinds)]
        to = () if config == "spacql" else (f"collect_to={cli.results / 'new.h5'}",)
        result = cli.run(*updates, *to, config=config, signals=drawn_signals(seed, 1.5))
        assert "Traceback" not in result.stderr and "ignored" not in result.stderr, (seed, result.stderr)
        if result.returncode == 130:
            assert result.stderr.count("interrupted: ") == 1, (seed, result.stderr)
        recorded = [status(run) for run in cli.runs()]
        if result.returncode == 0:
            assert recorded == ["COMPLETED"], seed
        else:  # a signal may come before a run, after its end, and when Python has taken down its handlers
            assert recorded in ([], ["INTERRUPTED"], ["COMPLETED"]) and result.returncode in (
                130,
                *(-n for n in NUMBERS),
            )
        assert not remains(cli.results), seed
        for made in cli.results.glob("new.h5"):
            assert read_dataset(made).n_episodes == 3000


def test_signals_while_the_interpreter_imports_make_no_traceback(tmp_path: Path) -> None:
    for wait in (0.25, 1.0):
        command = [sys.executable, "-W", "ignore", str(ROOT / "src" / "main.py"), "--config=spacql"]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (130, "interrupted: SIGINT; what was not complete is not kept\n")


def test_the_last_episodes_of_a_collection_are_written_in_spite_of_a_signal(tmp_path: Path, cli: CommandLine) -> None:
    made = tmp_path / "made.h5"
    code = (
        "import os, signal, sys; sys.path.insert(0, 'src'); import main; from loops import collect\n"
        "joined = collect.join\n"
        "collect.join = lambda parts: (os.kill(os.getpid(), signal.SIGTERM), joined(parts))[1]\n"
        "sys.exit(main.main(sys.argv))\n"
    )
    (tmp_path / "script.py").write_text(code)
    words = cli.arguments("collect=True", "collect_episodes=20", f"collect_to={made}", config="random")
    result = run_script(tmp_path / "script.py", words)
    words_end = f"interrupted: SIGTERM while {made} was written; it is complete"
    assert result.returncode == 130 and result.stderr.splitlines()[-1] == words_end
    assert read_dataset(made).n_episodes == 20 and [status(run) for run in cli.runs()] == ["INTERRUPTED"]


def test_environments_in_processes_outlive_a_signal_to_all_and_end_with_the_run(cli: CommandLine) -> None:
    """As a scheduler sends it: to the run and to every process that it has started."""
    updates = ("t_max=200000", "test_interval=200000", "log_interval=10", "runner=parallel", "batch_size_run=2",
               "test_nepisode=4")  # fmt: skip
    process = subprocess.Popen(cli.command(*updates), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None and any("Recent Stats" in line for line in process.stderr)
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    workers = [pid for pid in children if b"process_env" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) >= 2
    for pid in (*workers, process.pid):
        os.kill(pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted: SIGTERM at update" in errors and "Traceback" not in errors
    assert status(cli.runs()[0]) == "INTERRUPTED" and len(cli.checkpoints()) == 1
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def test_a_signal_does_not_cut_plugging_short(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; sys.path.insert(0, 'src'); from utils import signals\n"
        "signals.end_at_once_on_signals(); from stock import plug_into\n"
        "plug_into.recognised = lambda checkout: checkout\n"
        "plug_into.plug = lambda source, force: (os.kill(os.getpid(), signal.SIGINT), 'all is done')[1]\n"
        "sys.exit(plug_into.main(sys.argv[1:]))\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert (result.returncode, result.stdout) == (130, "all is done\n") and len(result.stderr.splitlines()) == 1


def test_what_a_child_writes_is_no_concern_of_its_parent(tmp_path: Path) -> None:
    """A forked process that ends must not remove its parent's unfinished files."""
    with writing_file(tmp_path / "x") as temporary:
        child = os.fork()
        if child == 0:
            signals.end_at_once_on_signals()
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
        assert temporary.exists()
