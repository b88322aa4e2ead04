"""The checkout of uoe-agents/epymarl that EPYMARL_CHECKOUT names, for the tests that need stock itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stock.plug import RECORD, PlugError
from stock.plug_into import recognised

NAME = "EPYMARL_CHECKOUT"


def stock_checkout() -> Path:
    """Its root, absolute. Skips the test where none is named; fails it, in one sentence, where it is of no use."""
    named = os.environ.get(NAME)
    if not named:
        pytest.skip(f"{NAME} names no checkout of uoe-agents/epymarl")
    path = Path(named).expanduser().resolve()  # tests run commands in other folders
    try:
        source = recognised(path)
    except PlugError as error:
        pytest.fail(f"{NAME}={named}: {error}", pytrace=False)
    if (source / RECORD).exists():  # what is said of stock would be said of our learners
        remedy = f"unplug it first: python src/stock/plug_into.py {path} --remove"
        pytest.fail(f"{NAME}={named} has our learners plugged in; {remedy}", pytrace=False)
    return path
