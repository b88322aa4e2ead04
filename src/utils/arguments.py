"""The words of a command line with subcommands, refused in one sentence as `main.py` refuses them."""

from __future__ import annotations

import argparse
from typing import NoReturn

from utils.errors import printable
from utils.redact import redacted


class ArgumentParser(argparse.ArgumentParser):
    """A parser that refuses in one line, without the usage and without a password that a word holds."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with status 2."""
        self.exit(2, f"error: {redacted(printable(message))}; `{self.prog} --help` lists what there is\n")
