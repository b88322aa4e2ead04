"""Spaces as arrays: observations of named parts with and without a mask, and boxes that are no bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from envs.wrappers.spaces import Actions, Observations, split_mask
from utils.errors import EnvError

POINT, GOAL, MASK = spaces.Box(-9, 9, (2,)), spaces.Box(-9, 9, (3,)), spaces.MultiBinary(2)
VALUES = {"observation": np.ones(2), "goal": np.full(3, 2.0), "action_mask": np.array([0, 1])}
PARTS = {"observation": POINT, "goal": GOAL, "action_mask": MASK}


@pytest.mark.parametrize(
    ("names", "row", "masked"),
    [
        (["observation", "action_mask"], [1, 1], True),
        (["observation"], [1, 1], False),
        (["observation", "goal"], [2, 2, 2, 1, 1], False),  # a space of a plain dictionary is in order of names
        (["observation", "goal", "action_mask"], [2, 2, 2, 1, 1], True),
        (["goal", "action_mask"], [2, 2, 2], True),
        (["goal"], [2, 2, 2], False),
        (["action_mask"], [0, 1], True),  # there is nothing else to see
    ],
)
def test_every_named_part_but_the_mask_is_observed(names: list[str], row: list[float], masked: bool) -> None:
    space = spaces.Dict({name: PARTS[name] for name in names})
    observations = Observations("key", ["a"], [space])
    seen, mask = split_mask({name: VALUES[name] for name in names}, {})
    assert observations.size == len(row)
    assert observations.rows([seen], None)[0].tolist() == row
    assert mask is (VALUES["action_mask"] if masked else None)


@pytest.mark.parametrize("masked", [False, True])
def test_parts_stay_in_the_order_of_their_space(masked: bool) -> None:
    box, mask = spaces.Box(-9, 9, (2,)), {"action_mask": MASK} if masked else {}
    for space in (
        spaces.Dict(velocity=box, goal=box, **mask),
        spaces.Dict([("velocity", box), ("goal", box), *mask.items()]),
    ):
        value = {"goal": np.full(2, 2.0), "velocity": np.ones(2)}
        assert Observations("key", ["a"], [space]).rows([value], None)[0].tolist() == [1, 1, 2, 2]


def test_parts_inside_parts_and_masks_in_information() -> None:
    space = spaces.Dict({"observation": spaces.Dict({"observation": POINT, "goal": GOAL}), "action_mask": MASK})
    value = {"observation": {"observation": np.ones(2), "goal": np.zeros(3)}, "action_mask": np.array([1, 1])}
    seen, _ = split_mask(value, {})
    assert Observations("key", ["a"], [space]).rows([seen], None)[0].tolist() == [0, 0, 0, 1, 1]
    assert split_mask({"goal": 1}, {"action_mask": "its"}) == ({"goal": 1}, "its")
    with pytest.raises(EnvError, match="agent a of key is to observe"):
        Observations("key", ["a"], [spaces.Dict({"observation": POINT, "goal": GOAL})]).rows([{"goal": 1}], None)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (-np.inf, np.inf, np.float32),
        (0.0, np.inf, np.float32),
        (-3.4e38, 3.4e38, np.float32),
        (-1e300, 1e300, np.float64),
        (1e300, 1e300, np.float64),
    ],
)
def test_bounds_that_float32_cannot_span_are_none(low: float, high: float, dtype: Any) -> None:
    box = spaces.Box(np.array([-1, low], dtype), np.array([1, high], dtype), dtype=dtype)
    with pytest.raises(
        EnvError, match="agent a of key has unbounded actions.*: wrap the environment to have a finite Box"
    ):
        Actions("key", ["a"], [box])
    wide = spaces.Box(np.array([-1e38], dtype), np.array([1e38], dtype), dtype=dtype)
    assert np.isfinite(np.float32(Actions("key", ["a"], [wide]).high)).all()
