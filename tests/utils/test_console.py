"""What the console says: newest values, one return, lines that fit, and no line inside a progress bar."""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loops.evaluator import PER_AGENT, Evaluator
from runners.episodes import Episodes
from tests.command_line import ROOT, CommandLine
from utils import logging as console
from utils import progress
from utils.logging import COLUMNS, ConsoleHandler, Logger, folded, get_logger


class Terminal(io.StringIO):
    """What a terminal shows of what is written to it."""

    def shown(self) -> list[str]:
        lines, row, column = [""], 0, 0
        for char in self.getvalue():
            if char == "\r":
                column = 0
            elif char == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            else:
                lines[row] = lines[row][:column].ljust(column) + char + lines[row][column + 1 :]
                column += 1
        return [line.rstrip() for line in lines]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Logger:
    caplog.set_level(logging.INFO)
    return Logger(logging.getLogger("console"))


def test_statistics_are_the_newest_values_and_fit(log: Logger, caplog: pytest.LogCaptureFixture) -> None:
    for t in (1, 2):
        for number in range(7):
            log.log_stat(f"a_statistic_with_a_long_name_{number}", 10.0 * t, t)
        log.log_stat("short", -1e6, t)
    log.note = "sums over agents: " + "return, " * 20
    log.clock = "update"
    log.print_recent_stats()
    lines = caplog.records[-1].getMessage().splitlines()
    assert lines[0] == "Recent Stats (newest values) | update:          2"
    assert "a_statistic_with_a_long_name_3:     20.0000" in "\n".join(lines) and "15.0" not in "\n".join(lines)
    assert max(map(len, lines)) <= COLUMNS and len(lines) >= 5


def test_episodes_are_shown_where_there_are_some(log: Logger, caplog: pytest.LogCaptureFixture) -> None:
    log.log_stat("episode", 7, 100)
    log.print_recent_stats()
    assert caplog.records[-1].getMessage() == "Recent Stats (newest values) | t_env:        100 | Episode:        7"
    log.clock = "update"
    log.print_recent_stats()  # a run continued from a release that counted updates as episodes
    assert "Episode" not in caplog.records[-1].getMessage()


def test_a_wide_line_is_broken_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    handler = get_logger().handlers[0]
    monkeypatch.setattr(handler, "stream", stream)
    path = "/a/" + "long" * 40
    logger = logging.getLogger("wide")
    logger.info(f"words {'and words ' * 20}then {path}")
    *rest, last = stream.getvalue().splitlines()
    assert rest and all(len(line) <= COLUMNS for line in rest) and last == f"    {path}"
    stream.truncate(0)
    logger.warning("a sentence that a search finds " * 8)
    assert len(stream.getvalue().splitlines()) == 1
    monkeypatch.setattr(console, "on_terminal", lambda: True)
    stream.truncate(0)
    logger.warning("a sentence that a person reads " * 8)
    assert len(stream.getvalue().splitlines()) == 3
    assert folded("  - " + "word " * 40).splitlines()[1].startswith("      word")


@pytest.mark.parametrize("delay", [0.0, 0.02])
def test_a_line_and_a_progress_bar_do_not_collide(monkeypatch: pytest.MonkeyPatch, delay: float) -> None:
    """delay: whether the line arrives late, as through Sacred's process."""
    terminal = Terminal()
    monkeypatch.setattr(progress, "_TERMINAL", terminal)
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.05)
    logger = logging.getLogger("collision")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    held = io.StringIO() if delay else terminal
    logger.handlers = [ConsoleHandler(held)]
    bar = progress.Progress(0, 100, logger)
    assert bar.bar is not None
    bar.bar.mininterval = 0.0
    for t in range(1, 40):
        bar.advance(t)
        if t % 10 == 0:
            logger.info("a line of the log")
            bar.advance(t)
            bar.show_score("return per agent 1.00")
            terminal.write(held.getvalue() if delay else "")
            progress.time.sleep(0.06)
            if delay:
                held.truncate(0)
                held.seek(0)
    bar.close()
    lines = terminal.shown()
    assert lines.count("a line of the log") == 3, lines
    assert any("39/100" in line and "return per agent 1.00" in line for line in lines)
    assert progress._SHOWN == []


def on_a_terminal(command: list[str]) -> str:
    """What a program writes to a terminal of `COLUMNS` columns, which it must leave with status 0."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, start_new_session=True)
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:  # how Linux says that the last program has left the terminal
        pass
    finally:
        os.close(ours)
    assert process.wait(timeout=60) == 0, written.decode()
    return written.decode()


def test_a_run_on_a_terminal_writes_each_line_where_no_bar_is(cli: CommandLine) -> None:
    intervals = ("test_interval=50", "save_model_interval=150", "log_interval=25", "learner_log_interval=25")
    written = on_a_terminal(cli.command("t_max=150", *intervals))
    screen = Terminal(written).shown()
    said = [line.rstrip() for line in (cli.runs()[0] / "cout.txt").read_text().splitlines()]
    assert sum("Recent Stats" in line for line in said) == 6
    missing = set(said) - set(screen)  # the record holds the log without the bar
    assert not missing, "\n".join(screen)
    bars = [line for line in screen if re.search(r"\d+/150 \[", line)]
    assert bars and bars[-1].startswith("100%|") and max(map(len, bars)) <= COLUMNS
    assert written.count("/150 [") > len(bars)  # it was drawn, and taken away for the lines
    assert not any(line for line in bars if "[INFO" in line)


@pytest.mark.parametrize(
    ("common", "how", "returns", "note"),
    [
        (True, "mean", [4.0, 6.0], ""),
        (True, "sum", [8.0, 12.0], "sums over agents: return, test_return; "),
        (False, "mean", [[3.0, 5.0], [4.0, 8.0]], "sums over agents: total_return, test_total_return; "),
    ],
)
def test_the_return_is_one_number_whatever_the_reward_is(
    log: Logger, common: bool, how: str, returns: Any, note: str
) -> None:
    episodes = Episodes(np.array(returns), np.array([3, 3]), {})
    runner = SimpleNamespace(evaluate=lambda: episodes, t_env=0)
    args = SimpleNamespace(device="cpu", evaluation_seed=0, common_reward=common, reward_scalarisation=how, n_agents=2)
    evaluator = Evaluator(runner, args, None)
    evaluation = evaluator.evaluate(9)
    evaluation.log(log)
    assert evaluation.return_mean == 5.0 and evaluator.history == [(9, 5.0)] and log.stats[PER_AGENT] == [(9, 5.0)]
    assert evaluator.summary() == {"final_return": 5.0, "best_return": 5.0, "last10_return": 5.0}
    assert evaluator.describe(5.0) == "return per agent 5.00"
    assert evaluator.note().startswith(note) and bool(evaluator.note()) == bool(note)


def test_a_run_tells_its_seed_its_return_and_how_many_it_averages(cli: CommandLine) -> None:
    result = cli.run("reward_scalarisation=sum")
    assert result.returncode == 0, result.stderr
    assert "Seed: 3" in result.stderr and "Episode" not in result.stderr
    assert "mean of last 3 " in result.stderr and "sums over agents: return, test_return;" in result.stderr
    wide = [line for line in result.stderr.splitlines() if len(line) > COLUMNS and not re.search(r"\S{70}", line)]
    assert wide == []
    (last,) = [line for line in result.stderr.splitlines() if line.startswith("  final")]
    metrics: dict[str, Any] = json.loads((cli.runs()[-1] / "metrics.json").read_text())
    final = metrics[PER_AGENT]["values"][-1]
    assert f"return per agent {final:.2f}" in last
    assert metrics["final_return"]["values"] == [final]
    assert metrics["test_return_mean"]["values"][-1] == pytest.approx(3 * final)  # stock's key, stock's meaning


def test_an_earlier_release_is_continued_with_the_whole_curve(tmp_path: Path) -> None:
    args = SimpleNamespace(common_reward=True, reward_scalarisation="sum", n_agents=2)
    evaluator = Evaluator(None, args, None)
    evaluator.resume(None, {"test_return_mean": [(0, 4.0), (5, 6.0)]})
    assert evaluator.history == [(0, 2.0), (5, 3.0)] and evaluator.averaged == 2
