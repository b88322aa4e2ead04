"""The computed part of a dataset card is compared with the arrays, and every entry that code reads has a range."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dataset import main
from datasets.card import _check_moments
from datasets.card_entries import COMPUTED, STATED
from datasets.dataset import read_dataset, write_dataset
from datasets.declared import MOST_CARD, MOST_LEVELS
from tests.datasets.samples import continuous_arrays, continuous_card, discrete_arrays, forge, particle_world
from utils.errors import DatasetError

WRONG: tuple[Any, ...] = (None, True, -1, 3.5, 1e30, 10**12, 10**250, "x", [], {}, [[1.0]], {"a": [1]})
FREE = {"behaviour", "quality", "made_by", "environment/env", "environment/env_args", "environment/env_args/key"} | {
    "reference", "reference/random", "reference/expert", "reference/source", "returns/definition", "checksum",
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, Any]]:
    """A dataset's bytes and its card, with a state of its own and discrete actions."""
    arrays, offsets, card = discrete_arrays([4, 2, 3])
    path = tmp_path_factory.mktemp("sound") / "d.h5"
    card["reference"] = {"random": 0.0, "expert": 1.0, "source": "me"}
    return path, write_dataset(path, arrays, offsets, card)


def changed(card: dict[str, Any], entry: str, value: Any) -> dict[str, Any]:
    card = copy.deepcopy(card)
    *parents, name = entry.split("/")
    place = card
    for parent in parents:
        place = place[parent]
    place[name] = value
    return card


@pytest.mark.parametrize("entry", sorted(COMPUTED.keys() | STATED.keys()))
def test_an_entry_of_another_kind_or_value_is_refused(entry: str, sound: Any, tmp_path: Path) -> None:
    source, card = sound
    path = tmp_path / "d.h5"
    path.write_bytes(source.read_bytes())
    table = STATED | COMPUTED
    for value in WRONG:
        if (value is None and table[entry].optional) or (entry in FREE and value in table[entry]):
            continue
        forge(path, {entry.split("/")[0]: changed(card, entry, value)[entry.split("/")[0]]})
        if entry == "checksum":
            continue  # `forge` writes one that fits
        with pytest.raises(DatasetError) as refusal:
            read_dataset(path)
        assert len(str(refusal.value)) < 600 + len(str(path)) and "\n" not in str(refusal.value), value
        if "/" in entry:  # the next value goes into the whole card
            forge(path, {entry.split("/")[0]: card[entry.split("/")[0]]})


@pytest.mark.parametrize(
    "entry, value, message",
    [
        ("counts/episodes", 10**9, "states the counts"),
        ("counts/terminals", 1, "states the counts"),
        ("shapes/obs", 4.0, "shapes.obs is 4.0; it must be a whole number"),
        ("shapes/n_agents", 3, "states the shapes"),
        ("returns/mean", 1e6, "states 1e\\+06 as returns.mean"),
        ("returns/quantiles/0.5", -50.0, "as returns.quantiles.0.5"),
        ("n_actions", 10**9, "n_actions is 1000000000; it must be a whole number from 1 to 65536"),
        ("n_actions", 6, "avail_actions has 5 entries"),
        ("obs_mean", [["1"] * 4] * 2, "obs_mean is no array of numbers"),
        ("obs_mean", [[0.0] * 4] * 2, "obs_mean is not that of its arrays at"),
        ("state_std", [1e30] * 7, "state_std is not that of its arrays"),
        ("state_std", [-1.0] * 7, "state_std is not that of its arrays"),
        ("state_mean", None, "lacks 'state_mean'"),
    ],
)
def test_what_can_be_computed_again_is_compared(
    entry: str, value: Any, message: str, sound: Any, tmp_path: Path
) -> None:
    source, card = sound
    path = tmp_path / "d.h5"
    path.write_bytes(source.read_bytes())
    forge(path, {entry.split("/")[0]: changed(card, entry, value)[entry.split("/")[0]]})
    with pytest.raises(DatasetError, match=message):
        read_dataset(path)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e6])
@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_statistics_of_any_size_agree_with_those_that_the_writer_computes(
    scale: float, shift: float, tmp_path: Path
) -> None:
    arrays, offsets = particle_world(40)
    arrays["obs"] = (arrays["obs"] * scale + shift).astype(np.float32)
    arrays["obs"][0, 0, 0] = 1e4 * scale  # an outlier, whose column is coded with a larger error
    arrays["reward"] *= np.float32(scale)
    write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card())
    read_dataset(tmp_path / "d.h5")


def test_avail_actions_hold_0_or_1_and_have_the_actions_width(tmp_path: Path) -> None:
    arrays, offsets = continuous_arrays([3, 2])
    available = np.ones((len(arrays["obs"]), 3, 2), np.uint8)
    available[0, 0, 0] = 0
    write_dataset(tmp_path / "d.h5", arrays | {"avail_actions": available}, offsets, continuous_card())
    for wrong, message in ((available[..., :1], "avail_actions has 1 entries"), (available * 7, "neither 0 nor 1")):
        forge(tmp_path / "d.h5", {}, {"avail_actions": wrong})
        with pytest.raises(DatasetError, match=message):
            read_dataset(tmp_path / "d.h5")


def card_of(path: Path, text: str) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["card"] = text


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000 + "]" * 5000,
        '{"format_version": 1, "a": ' + "[" * (MOST_LEVELS + 1) + "]" * (MOST_LEVELS + 1) + "}",
        '{"format_version": 1, "a": 1, "a": 2}',
        '{"format_version": 1, "a": ' + "9" * 400 + "}",
        '{"format_version": 1, "a": NaN}',
        '{"format_version": 1, "a": "' + "x" * MOST_CARD + '"}',
        '{"format_version": 1, "a": [' + "{}," * 100_000 + "{}]}",
        "[]",
        "",
    ],
)  # fmt: skip
def test_json_that_no_writer_makes_is_refused(text: str, written: Any) -> None:
    path, *_ = written
    card_of(path, text)
    with pytest.raises(DatasetError, match="not valid JSON") as refusal:
        read_dataset(path)
    assert len(str(refusal.value)) < 300 + len(str(path))


def test_what_a_reader_refuses_is_not_written(tmp_path: Path) -> None:
    arrays, offsets = continuous_arrays([3])
    endless: list[Any] = []
    endless.append(endless)
    for made_by in ({"a": "x" * MOST_CARD}, {"a": endless}, {"a": 10**400}):
        with pytest.raises(DatasetError, match="levels deep|cannot be written"):
            write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card() | {"made_by": made_by})
    assert list(tmp_path.iterdir()) == []


def test_text_of_a_file_cannot_steer_the_terminal(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path, *_ = written
    evil = "\x1b[2J\x1b]0;owned\x07\nline two\r\u202e\x9b"
    forge(path, {"behaviour": evil, "quality": evil * 1000, evil: {evil: evil}})
    assert main(["inspect", str(path)]) == 0
    report = capsys.readouterr().out
    assert report.isprintable() or {char for char in report if not char.isprintable()} == {"\n"}
    assert "line two" in report and "characters)" in report
    forge(path, {"action_space": evil})
    assert main(["verify", str(path)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error[:-1].isprintable()


def test_a_card_that_is_sound_stays_as_it_is(written: Any) -> None:
    path, *_ = written
    card = read_dataset(path).card
    with h5py.File(path) as file:
        assert card == json.loads(file.attrs["card"])


def test_sums_of_many_rows_are_not_rounded_away() -> None:
    """Squares of one size, of which float32 loses the same part at every addition to a large sum."""
    values = np.full((690_000, 6), 0.10711, np.float32)
    values[::2] *= -1
    _check_moments(values, np.zeros(6, np.float32), np.full(6, 0.10711, np.float32), "obs")
    with pytest.raises(DatasetError, match="obs_std is not that of its arrays"):
        _check_moments(values, np.zeros(6, np.float32), np.full(6, 0.1075, np.float32), "obs")


@pytest.mark.parametrize("mean", [0.0, 3e38])
def test_moments_of_values_near_the_largest_float(mean: float, tmp_path: Path) -> None:
    """Their squares are more than float32 holds, and with a mean of 3e38 so is the sum of a few."""
    arrays, offsets = continuous_arrays([40, 30])
    rng = np.random.default_rng(0)
    arrays["obs"][..., 0] = mean + 3e37 * rng.uniform(-1, 1, arrays["obs"].shape[:2])
    card = write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card())
    np.testing.assert_array_equal(read_dataset(tmp_path / "d.h5").arrays["obs"], arrays["obs"])
    wrong = np.asarray(card["obs_std"]).copy()
    wrong[0, 0] *= 1.1
    forge(tmp_path / "d.h5", {"obs_std": wrong.tolist()})
    with pytest.raises(DatasetError, match="obs_std is not that of its arrays"):
        read_dataset(tmp_path / "d.h5")
