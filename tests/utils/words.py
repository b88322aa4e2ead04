"""Words of a command line, read as main.py reads them."""

from __future__ import annotations

import main
from utils.command_line import Command, parse

FLAGS = main.sacred_flags()
VERBS = [*dict(main.ex.gather_commands()), "help"]
START = ["main.py", "--config=random", "--env-config=mpe"]


def read(*words: str) -> Command:
    return parse([*START, *words], FLAGS, VERBS)
