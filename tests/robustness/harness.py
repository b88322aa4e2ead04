"""What is true of every input: it is accepted and can be used, or refused by one sentence, at little cost, and stays.

A target makes inputs from seeds, by generators. `campaign` tries a generator's seeds and says which are at fault.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.robustness.server import ROOT

SECONDS, MEGABYTES = 5.0, 500.0  # a reader's own time, and its memory above what importing the libraries takes
COLOUR = re.compile(r"\x1b\[\d\d?m")  # Sacred's `print_config` has them
TIMEOUT = 60  # seconds by the clock, for what waits for ever


@dataclass(frozen=True)
class Call:
    """One use of a reader.

    writes: paths, relative to the case's folder, that an accepted input may make or change. keeps: those that a refused
    one may make or change: the file of a lock, which others may be waiting for; a folder (a name that ends in `/`, with
    those in it) that was tried for writing; what killed writers left. report: whether refusing
    may be a report on stdout, as `inspect` gives, instead of a sentence on stderr. if_accepted: made only where every
    reader before accepted. largest_file: bytes after which writing a file fails, as on a full disk. unprivileged:
    without root's right to pass over permissions.
    """

    reader: str
    arguments: tuple[str, ...]
    writes: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    report: bool = False
    if_accepted: bool = False
    largest_file: int | None = None
    unprivileged: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a call: exit status (negative: a signal), output, seconds of CPU and clock, memory."""

    code: int
    out: str
    err: str
    cpu: float
    wall: float
    megabytes: float


# Makes one input under a folder and returns its uses in turn.
Generator = Callable[[random.Random, Path], list[Call]]


@dataclass(frozen=True)
class Target:
    """A reader and the generators of its inputs."""

    name: str
    generators: dict[str, Generator]


@dataclass
class Tally:
    """Counts of a campaign, and its faults: the seed and what is wrong."""

    accepted: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    largest: float = 0.0

    def add(self, other: Tally) -> None:
        self.accepted += other.accepted
        self.refused += other.refused
        self.faults += other.faults
        self.slowest, self.largest = max(self.slowest, other.slowest), max(self.largest, other.largest)


def campaign(target: Target, generator: str, seeds: Iterable[int]) -> Tally:
    """Try every seed of a generator; the same seed makes the same input."""
    tally = Tally()
    for seed in seeds:
        with case_folder() as folder:
            calls = target.generators[generator](random.Random(f"{target.name} {generator} {seed}"), folder)
            accepted, fault = True, None
            for call in calls:
                if call.if_accepted and not accepted:
                    continue
                outcome, fault = attempt(call, folder)
                tally.slowest = max(tally.slowest, outcome.cpu)
                tally.largest = max(tally.largest, outcome.megabytes)
                if fault is not None:
                    words = " ".join(call.arguments)
                    tally.faults.append(f"{target.name}/{generator}/{seed}: {call.reader} {words[-150:]!r}: {fault}")
                    break
                accepted = accepted and outcome.code == 0
            tally.accepted += accepted and fault is None
            tally.refused += not accepted and fault is None
    return tally


def attempt(call: Call, folder: Path) -> tuple[Outcome, str | None]:
    """Make a call. Returns its outcome and what is wrong with it, None where nothing is."""
    before = snapshot(folder)
    outcome = ask(call, folder)
    return outcome, judge(call, outcome, before, snapshot(folder))


def judge(call: Call, outcome: Outcome, before: dict[str, str], after: dict[str, str]) -> str | None:
    """What breaks the promise, None where it is kept."""
    if outcome.code < 0:
        name = signal.Signals(-outcome.code).name
        return "it hangs" if name == "SIGALRM" else f"it dies of {name}"
    if outcome.code not in (0, 1):
        return f"exit status {outcome.code}"
    last = outcome.err.rstrip("\n").rpartition("\n")[2]
    if "Traceback" in outcome.err or "Exception ignored" in outcome.err:
        return f"a traceback: {last}"
    for text in (COLOUR.sub("", outcome.out), outcome.err):
        odd = next((char for char in text if not char.isprintable() and char != "\n"), None)
        if odd is not None:
            return f"it prints {odd!r}"
    if outcome.code and not (call.report and not outcome.err):
        if not outcome.err.endswith("\n") or not last.startswith("error: ") or outcome.err.count("error: ") < 1:
            return f"no sentence: {outcome.err[-300:]!r}"
        if sum(line.startswith("error: ") for line in outcome.err.splitlines()) != 1:
            return f"more than one sentence: {outcome.err[-300:]!r}"
    if outcome.cpu > SECONDS:
        return f"it takes {outcome.cpu:.1f} s"
    if outcome.megabytes > MEGABYTES:
        return f"it takes {outcome.megabytes:.0f} MB"
    changed = sorted(name for name in before if after.get(name) != before[name])
    new = sorted(after.keys() - before.keys())
    for verb, names in (("changes", changed), ("leaves", new)):
        for name in names:
            allowed = kept(name, after, call.keeps) if outcome.code else name.startswith(call.writes)
            if not allowed:  # no name starts with one of none
                return f"it {verb} {name}"
    return None


def kept(name: str, after: dict[str, str], keeps: tuple[str, ...]) -> bool:
    """Whether a refused call may leave this name so."""
    is_folder = after.get(name, "").startswith("4")
    return name in keeps or (is_folder and f"{name}/".startswith(tuple(each for each in keeps if each.endswith("/"))))


def snapshot(folder: Path) -> dict[str, str]:
    """Every name under a folder, and kind, permissions and content of what has it. Nothing is followed."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            content = ""
            if stat.S_ISREG(mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            elif stat.S_ISLNK(mode):
                content = os.readlink(path)
            found[str(path.relative_to(folder))] = f"{mode:o} {content}"
    return found


@contextmanager
def case_folder() -> Iterator[Path]:
    """An empty folder for one input, gone afterwards whatever its permissions have become."""
    folder = Path(tempfile.mkdtemp(prefix="robustness-"))
    try:
        yield folder
    finally:
        for parent, folders, _ in os.walk(folder):
            for name in folders:
                if not os.path.islink(os.path.join(parent, name)):
                    os.chmod(os.path.join(parent, name), 0o700)
        shutil.rmtree(folder)


def ask(call: Call, folder: Path) -> Outcome:
    """Make a call in a process of its own, in the case's folder."""
    request = {
        "reader": call.reader, "arguments": call.arguments, "folder": str(folder), "timeout": TIMEOUT,
        "largest_file": call.largest_file, "unprivileged": call.unprivileged,
    }  # fmt: skip
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    reply = server.stdout.readline()
    assert reply, f"the process that forks for every case has ended with status {server.wait()}"
    return Outcome(**json.loads(reply))


@functools.cache
def _server() -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "robustness" / "server.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
        start_new_session=True,
    )  # fmt: skip
