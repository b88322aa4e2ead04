"""Columns that float32 moves by much: told by array and column, whatever the blocks of rows are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets import from_episodes, rounding, stream
from datasets.rounding import Rounding

STEPS = 40


def episodes(column: np.ndarray, **more: Any) -> list[dict[str, Any]]:
    """Episodes of two agents, of which the second observes the column in its second number."""
    rng, found = np.random.default_rng(0), []
    for part in column.reshape(-1, STEPS + 1):
        second = np.stack([rng.normal(size=STEPS + 1), part], axis=1)
        found.append({
            "obs": [rng.normal(size=(STEPS + 1, 2)), second],
            "actions": rng.uniform(-1, 1, (STEPS, 2, 1)),
            "reward": rng.normal(size=STEPS),
            "terminated": False,
        } | more)  # fmt: skip
    return found


def notes(column: np.ndarray, tmp_path: Path, **more: Any) -> list[str]:
    card = from_episodes(episodes(column, **more), tmp_path / "out.h5", action_low=-1, action_high=1)
    return list(card["made_by"].get("notes", []))


def test_a_clock_is_told_by_array_and_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1.7e9 + np.arange(10 * (STEPS + 1))
    said = notes(clock, tmp_path)
    varies = np.arange(len(clock)).std()
    assert len(said) == 1 and f"moves obs of agent 1, column 1 by up to 64, where it varies by {varies:.3g};" in said[0]
    monkeypatch.setattr(rounding, "_AT_ONCE", 1)
    monkeypatch.setattr(stream, "BLOCK_BYTES", 1000)
    assert notes(clock, tmp_path) == said


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_what_float32_holds_well_is_not_told(offset: float, tmp_path: Path) -> None:
    noise = offset + np.random.default_rng(1).normal(size=10 * (STEPS + 1))
    assert notes(noise, tmp_path) == []
    assert notes(np.full(len(noise), offset + 0.1), tmp_path) == [], "a constant is moved, and says nothing"


def test_states_and_many_columns_are_named(tmp_path: Path) -> None:
    far = 1e9 + np.arange(STEPS + 1.0)
    state = np.stack([np.zeros(STEPS + 1), far], axis=1)
    said = notes(np.zeros(2 * (STEPS + 1)), tmp_path, state=state)
    assert len(said) == 1 and "moves state, column 1 by up to 32, where it varies by 11.8; take off" in said[0]
    wide = Rounding()
    many = {"obs": np.repeat(far, 8).reshape(-1, 2, 4)}
    wide.add(many, {key: array.astype(np.float32) for key, array in many.items()})
    assert wide.note()[0].count("obs of agent") == 5 and ", and 3 columns more; take off" in wide.note()[0]
    whole = Rounding()
    whole.add({"obs": many["obs"].astype(np.float32)}, {"obs": many["obs"].astype(np.float32)})
    assert whole.note() == []
