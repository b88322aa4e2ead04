"""A run's checkpoints, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.utils.test_records import Models, state_at
from utils.checkpoint import save_checkpoint


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The model directory of a run with two checkpoints, 10 and 20."""
    folder = tmp_path / "run"
    for t in (10, 20):
        save_checkpoint(folder, t, Models(t), state_at(t))
    return folder
