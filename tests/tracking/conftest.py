"""Servers that tests of tracking share or have to themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracking.tools import Server, tools_or_skip


@pytest.fixture(scope="session")
def tools() -> Path:
    return tools_or_skip()


@pytest.fixture
def server(tools: Path, tmp_path: Path) -> Iterator[Server]:
    """A MongoDB server of the test's own, empty."""
    server = Server(tools, tmp_path / "mongodb")
    yield server
    server.close()
