"""`plug_into.py` killed at any moment: the next run finishes or takes out what was done, byte for byte."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stock import plug, plug_into
from tests.compat.ours_in_stock.stand_in import build, tree

CHANGING = ("os.mkdir", "os.remove", "os.rename", "os.link", "os.rmdir", "os.chmod")  # audit events; `open` beside them
OLDER = {"learners/bc_learner.py": b"# older\n", "learners/gone/one.py": b"# no longer needed\n"}
KILLS = 12  # of each kind
Kill = Callable[[], None]

pytestmark = pytest.mark.usefixtures("planned_once")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return tree(build("stand_in", tmp_path_factory.mktemp("plain")))


@pytest.fixture(scope="module")
def plugged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    checkout = build("stand_in", tmp_path_factory.mktemp("plugged"))
    assert plug_into.main([str(checkout)]) == 0
    return tree(checkout)


def at_change(number: int) -> Kill:
    """Kill this process before its change of that number to the disk."""
    seen = [0]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in CHANGING or (event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT):
            seen[0] += 1
            if seen[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    return lambda: sys.addaudithook(hook)


def after(seconds: float) -> Kill:
    """End this process by an alarm after a time, which nothing in it can catch, as by SIGKILL."""

    def start() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    return start


def moment(seed: int, changes: int) -> int:
    """One of the first `changes` changes, from the part of them that belongs to the seed."""
    part = changes // KILLS
    return random.Random(seed).randrange(seed * part, (seed + 1) * part) + 1


def killed(kill: Kill, checkout: Path, *flags: str) -> bool:
    """Run the script in a process that is killed; whether it was, and not done before."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        kill()
        os._exit(plug_into.main([str(checkout), *flags]))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (-signal.SIGKILL, -signal.SIGALRM)


def restored(checkout: Path, plain: dict[str, str]) -> bool:
    """Whether `--remove` gives the checkout as it was; it may say that nothing is plugged in where that is so."""
    code = plug_into.main([str(checkout), "--remove"])
    return tree(checkout) == plain and (code == 0 or plug_into.main([str(checkout), "--remove"]) == 1)


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_while_plugging_in(seed: int, tmp_path: Path, plain: dict[str, str], plugged: dict[str, str]) -> None:
    """Every state between two changes, sampled: taken out at once, or finished and taken out."""
    number = moment(seed, 375)
    one, other = build("stand_in", tmp_path / "one"), build("stand_in", tmp_path / "other")
    assert killed(at_change(number), one) and killed(at_change(number), other)
    assert restored(one, plain)
    assert plug_into.main([str(other)]) == 0 and tree(other) == plugged
    assert restored(other, plain)


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_while_taking_out(seed: int, tmp_path: Path, plain: dict[str, str], plugged: dict[str, str]) -> None:
    number = moment(seed, 108)
    one, other = build("stand_in", tmp_path / "one"), build("stand_in", tmp_path / "other")
    for checkout in (one, other):
        assert plug_into.main([str(checkout)]) == 0
        assert killed(at_change(number), checkout, "--remove")
    assert restored(one, plain)
    assert plug_into.main([str(other)]) == 0 and tree(other) == plugged
    assert restored(other, plain)


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_while_updating(
    seed: int,
    tmp_path: Path,
    files: dict[str, bytes],
    plain: dict[str, str],
    plugged: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a release with other files and other blocks; each file and block is then of one release or the other."""
    number = moment(seed, 48)
    checkout, older = build("stand_in", tmp_path), {**files, **OLDER}
    blocks = {name: body.replace(plug.END, f"# older\n{plug.END}") for name, body in plug.bodies().items()}
    with monkeypatch.context() as release:
        release.setattr(plug_into, "planned_files", lambda: older)
        release.setattr(plug, "bodies", lambda: blocks)
        assert plug_into.main([str(checkout)]) == 0
    killed(at_change(number), checkout)
    if seed % 2:
        killed(at_change(number // 2), checkout)
    elif seed % 3:
        assert plug_into.main([str(checkout)]) == 0 and tree(checkout).keys() == plugged.keys()
    assert restored(checkout, plain)


@pytest.mark.parametrize("seed", range(KILLS // 2))
def test_killed_again_and_again(seed: int, tmp_path: Path, plain: dict[str, str]) -> None:
    """At random times, in and out by turns."""
    source, checkout = random.Random(f"again {seed}"), build("stand_in", tmp_path)
    started = time.monotonic()
    assert plug_into.main([str(checkout)]) == 0
    whole = time.monotonic() - started
    for flags in ((), ("--remove",), (), (), ("--remove",)):
        killed(after(source.uniform(0, whole) + 1e-4), checkout, *flags)
    assert restored(checkout, plain)


def test_the_second_of_two_at_once_is_refused(
    tmp_path: Path, plain: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = build("stand_in", tmp_path)
    with plug_into.alone(checkout / "src"):
        assert plug_into.main([str(checkout)]) == 1
    assert "another plug_into.py is at work in" in capsys.readouterr().err
    assert tree(checkout) == plain and plug_into.main([str(checkout)]) == 0
