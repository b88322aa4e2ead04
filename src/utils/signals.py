"""Signals that end a run: noted in the middle of a step and read between two; a second one ends the process at once.

Python runs a signal's handler between any two instructions, also inside a callback of a C library, a finaliser or an
import, where an exception would be swallowed or leave something half done. So no handler here raises.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED_STATUS = 130

# What must still be done when the process ends at once. Each is called once, in the main thread, and must not wait.
when_ending: list[Callable[[], object]] = []


class Interrupted(KeyboardInterrupt):
    """A signal that ended the work between two steps; the message says what is kept.

    Sacred marks a run that a KeyboardInterrupt ends as INTERRUPTED.
    """


class _State:
    """What was received, how many contexts are open or hold signals back, and the handlers outside all of them."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.open = self.held = 0
        self.said = False  # whether the last line is printed
        self.before: dict[signal.Signals, Any] = {}
        self.mask: set[Any] = set()  # signals that were blocked before a fork


_state = _State()  # signals are the process's, so this is too


class StopSignals(ContextDecorator):
    """A context in which the first signal only sets `received`, for the work to read; a second one ends the process.

    One inside another shares what was received. Where the work ends without having seen a signal, it is passed on to
    whoever handled signals before. Outside the main thread, where Python takes no signals, nothing changes.
    """

    @property
    def received(self) -> signal.Signals | None:
        """The first signal that came, None before."""
        return _state.received

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            if _state.open == 0:
                _state.received, _state.before = None, _handle_by(_note)
            _state.open += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        _state.open -= 1
        if _state.open == 0:
            for number, handler in _state.before.items():
                signal.signal(number, handler)
            unseen, _state.received = _state.received, None
            if unseen is not None and error is None:
                signal.raise_signal(unseen)


def received() -> signal.Signals | None:
    """The signal by which the work in progress shall end after its step, None while there is none."""
    return _state.received


def check(kept: str) -> None:
    """End the work here if a signal has come: to be called between two steps.

    kept: the rest of the sentence, on what is kept and what is lost. Raises Interrupted.
    """
    if _state.received is not None and not _state.held:
        raise Interrupted(f"{_state.received.name} {kept}")


@contextmanager
def finishing() -> Iterator[None]:
    """A context in which `check` lets the work go on, as stopping it would lose what cannot be had again."""
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1


def end_at_once_on_signals() -> None:
    """From now on the first signal ends the process: with one line, and without what was not complete.

    For scripts, as their first act: nothing is lost while they start. `StopSignals` takes over for work in steps.
    """
    _handle_by(_end)
    atexit.register(_ignore_for_good)


def outlive_signals() -> None:
    """Ignore signals, for a process whose parent ends it. Programs that it starts are not affected."""
    _handle_by(_ignore)


def say(line: str) -> None:
    """Print the process's last line on stderr; nothing happens where stderr is closed or full."""
    _state.said = True
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def _handle_by(handler: Callable[[int, FrameType | None], None]) -> dict[signal.Signals, Any]:
    """Set the handler; returns the handlers before. SIGHUP stays ignored where `nohup` has had it ignored."""
    numbers = [number for number in HANDLED if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP]
    return {number: signal.signal(number, handler) for number in numbers}


def _note(number: int, frame: FrameType | None) -> None:
    if _state.received is None:
        _state.received = signal.Signals(number)
    elif number != signal.SIGHUP:  # which a terminal that closes may send twice
        _end(number, frame)


def _end(number: int, frame: FrameType | None) -> None:
    """End the process: an exception could be swallowed, and normal ending would run what a second signal interrupts."""
    for other in HANDLED:
        signal.signal(other, signal.SIG_IGN)
    for action in when_ending:
        with suppress(Exception):  # whatever fails here, the process must end
            action()
    with suppress(OSError):
        if not _state.said:
            os.write(2, f"interrupted: {signal.Signals(number).name}; what was not complete is not kept\n".encode())
    os._exit(INTERRUPTED_STATUS)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing. Unlike SIG_IGN, a handler is not inherited by programs that the process starts."""


def _ignore_for_good() -> None:
    """Ignore signals in the process's last moments, in which Python would leave them to the operating system."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)


def _hold_back() -> None:
    """Let no signal through while the process forks: the new one would note it and forget it."""
    _state.mask = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _state.mask)


def _leave_to_child() -> None:
    """In a forked process, signals do again what they do by default: its parent may want to terminate it."""
    for number in HANDLED:
        if signal.getsignal(number) in (_note, _end, _ignore):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _state.open, _state.received = 0, None
    _let_through()


os.register_at_fork(before=_hold_back, after_in_parent=_let_through, after_in_child=_leave_to_child)
