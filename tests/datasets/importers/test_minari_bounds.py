"""Bounds of Minari's actions: the spaces' own, and the option's where a space has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets.importers.foreign import imported, refused
from tests.datasets.importers.test_minari import SPACE, box, joined, write


def half(low: list[Any], high: list[Any]) -> dict[str, Any]:
    return box(len(low), high=1) | {"low": low, "high": high}


@pytest.mark.parametrize("bounds", [None, "-1,1"])
def test_own_bounds_stay(bounds: str | None, tmp_path: Path) -> None:
    folder, _ = write(tmp_path / "set", joined(**SPACE), joined(a=box(2, high=1), b=box(1, high=1)))
    options = {} if bounds is None else {"bounds": bounds}
    assert imported("minari", folder, tmp_path, **options).card["action_high"] == [1, 1]


def test_an_option_that_contradicts_all_of_them_is_refused(tmp_path: Path) -> None:
    folder, _ = write(tmp_path / "set", joined(**SPACE), joined(a=box(2, high=1), b=box(1, high=3)))
    for bounds in ("-5,5", "-1,1", "-3,3"):
        message = f"--bounds is '{bounds}', and the actions of .* have bounds of their own, within -3 and 3; leave it"
        refused("minari", folder, tmp_path, message, bounds=bounds)
    third = float(np.float32(0.3))  # as a float32 space writes it
    folder, _ = write(tmp_path / "other", joined(**SPACE), joined(a=box(2, high=third), b=box(1, high=third)))
    refused("minari", folder, tmp_path, "actions leaves the dataset card's bounds", bounds="-0.3,0.3")


def test_the_option_fills_what_is_missing(tmp_path: Path) -> None:
    action = joined(a=half([-1, -np.inf], [np.inf, 2]), b=box(1, high=3))
    folder, _ = write(tmp_path / "set", joined(**SPACE), action)
    refused("minari", folder, tmp_path, "have no finite bounds; state them, such as --bounds=-1,1")
    card = imported("minari", folder, tmp_path, bounds="-5,5").card
    assert card["action_low"] == [[-1, -5], [-3, 0]] and card["action_high"] == [[5, 2], [3, 0]]
