"""Inputs for the readers of dataset files: sound arrays under cards that are false or damaged."""

from __future__ import annotations

import json
import random
from pathlib import Path

import h5py

from tests.robustness.damage import edited, number, value
from tests.robustness.dataset_files import put_sound, stamp, uses
from tests.robustness.harness import Call, Target


def card_values(rng: random.Random, folder: Path) -> list[Call]:
    """A card with other values, whose checksum fits."""
    path = put_sound(rng, folder)
    with h5py.File(path, "r+") as file:
        card = json.loads(file.attrs["card"])
        if rng.random() < 0.5:  # a value of an entry of its own, for lists of moments have most of the places
            key = rng.choice(sorted(card))
            card[key] = edited(rng, {key: card[key]}).get(key, value(rng))
        else:
            edited(rng, card)
        stamp(file, card)
    return uses(rng, path)


def card_numbers(rng: random.Random, folder: Path) -> list[Call]:
    """A card whose computed part is false: counts, returns, moments, shapes and sizes."""
    path = put_sound(rng, folder)
    with h5py.File(path, "r+") as file:
        card = json.loads(file.attrs["card"])
        computed = [key for key in ("counts", "returns", "shapes", "obs_mean", "obs_std", "state_mean", "state_std",
                                    "n_actions", "action_low", "action_high", "reference", "format_version")
                    if key in card]  # fmt: skip
        key = rng.choice(computed)
        part = {key: card[key]}
        edited(rng, part, number)
        card.pop(key)
        card |= part
        stamp(file, card)
    return uses(rng, path)


def card_text(rng: random.Random, folder: Path) -> list[Call]:
    """A card whose JSON is damaged as text."""
    path = put_sound(rng, folder)
    with h5py.File(path, "r+") as file:
        card = file.attrs["card"]
        position = rng.randrange(len(card))
        pieces = ("NaN", "Infinity", "1e999", "9" * 5000, "[" * 50_000, '"\\ud800"', "\\u0000", "{", "}", '"', ",",
                  '"checksum": 1, ', "\x1b[2J", "0.1", "-", "é")  # fmt: skip
        kept = position + rng.choice((0, 1, 1, 10))
        file.attrs["card"] = card[:position] + rng.choice(pieces) + card[kept:]
    return uses(rng, path)


CARDS = Target("dataset card", {"values": card_values, "numbers": card_numbers, "text": card_text})
