"""What the benchmarks' command lines have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from utils.errors import UserError


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def run(main: Callable[[], int | None]) -> None:
    """Run a benchmark and end the process: an error of the user's is one sentence and status 1."""
    try:
        raise SystemExit(main())
    except UserError as error:
        raise SystemExit(str(error)) from error
