"""The algorithm files that go into a stock checkout say what is true there."""

from __future__ import annotations

import pytest

from stock import plug
from utils.config import flattened_yaml


@pytest.mark.parametrize("name", plug.CONFIGS)
def test_lengths_are_commented_as_stock_counts(name: str) -> None:
    """Updates with runner=offline and environment steps online; nothing is evaluated at the start or for the end."""
    lines = plug.stock_config(name).splitlines()
    ours = flattened_yaml(name).splitlines()
    start = lines.index(plug.LENGTHS)
    section = lines[start + 1 : start + 1 + len(plug.COMMENTS)]
    assert {plug.key_of(line): line.partition(" # ")[2] for line in section} == plug.COMMENTS
    values = {line.partition(" # ")[0] for line in ours if plug.key_of(line) in plug.COMMENTS}
    assert {line.partition(" # ")[0] for line in section} == values
    assert "in environment steps online" in plug.LENGTHS
    assert not any("at the start" in line or "the end" in line for line in section)
    assert sum(line.startswith("# --- length") for line in lines) == 1
