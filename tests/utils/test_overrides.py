"""`with key=value ...`: values of every kind, spelled in every way, are taken or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils import overrides
from utils.errors import ConfigError
from utils.keys import COUNT, INDEX, POSITIVE, Key, Range
from utils.plain_values import LARGEST, plain, spelled, whole


def test_overrides_are_read_as_sacred_reads_them() -> None:
    words = ["lr=1e-3", "env_args.key=simple_tag", "", "mixer=None", "text=a b", "list=(1, 2)", "flag = True", "lr=2"]
    assert overrides.overrides(words) == {
        "lr": 2, "env_args": {"key": "simple_tag"}, "mixer": None, "text": "a b", "list": [1, 2], "flag": True,
    }  # fmt: skip
    with pytest.raises(ConfigError, match="'lr' after `with` is no override"):
        overrides.overrides(["lr", "=", "3"])


def test_a_mapping_adds_to_entries_given_one_by_one() -> None:
    entries = ["env_args.key=simple_tag", "env_args.sight=2", "env_args={'sight': 3, 'size': {'x': 1}}"]
    assert overrides.overrides([*entries, "env_args.size.y=2"]) == {
        "env_args": {"key": "simple_tag", "sight": 3, "size": {"x": 1, "y": 2}}
    }


def test_none_is_called_none() -> None:
    with pytest.raises(ConfigError, match="this is None, 'flag' is True or False"):
        overrides.check_updates({"flag": True}, {"flag": None})


def test_values_of_another_kind_are_refused() -> None:
    declared = {"lr": 0.1, "flag": True, "name": "x", "args": {"n": 1}, "free": None}
    overrides.check_updates(
        declared, {"lr": 1, "flag": False, "name": "y", "args": {"n": None}, "free": [1], "seed": 3}
    )
    for update in ({"lr": "high"}, {"lr": True}, {"flag": 1}, {"name": 3}, {"args": {"n": "two"}}, {"args": 3}):
        with pytest.raises(ConfigError, match="this is"):
            overrides.check_updates(declared, update)
    with pytest.raises(ConfigError, match="did you mean 'args.n'"):
        overrides.check_updates(declared, {"args": {"m": 1}})
    with pytest.raises(ConfigError, match="did you mean 'seed'"):  # which no file sets
        overrides.check_updates(declared, {"seeed": 1})


@pytest.mark.parametrize(
    "text", ["1000", "1_000", "1e3", "1000.0", "1E3", "+1000", "0x3e8", "'1000'", "'1e3'", "'1_000'"]
)
def test_a_whole_number_may_be_spelled_in_any_way(text: str) -> None:
    layers: dict[str, Any] = {"t_max": 5, "window": None, "args": {"limit": 5}}
    updates = overrides.overrides([f"t_max={text}", f"window={text}", f"args.limit={text}"])
    found = overrides.as_declared(layers, updates)
    overrides.check_updates(layers, found)
    for value in (found["t_max"], found["args"]["limit"], Key("", COUNT).check("window", found["window"])):
        assert value == 1000 and type(value) is int


@pytest.mark.parametrize("text", ["1e999", "nan", "inf", "-inf", "1e3j", "1+2j", "1__0", "1_", "0x", "10**3", "1e",
                                  "9" * 400, "9" * 5000, "2.5", "True", "None", "[1]", "''", "'x'"])  # fmt: skip
def test_what_is_no_whole_number_is_refused_in_a_short_line(text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        updates = overrides.as_declared({"seed": 1}, overrides.overrides([f"seed={text}"]))
        Key("", Range(0, 2**32 - 1, whole=True)).check("seed", updates["seed"])
    assert str(refusal.value).startswith("seed=") and len(str(refusal.value)) < 300
    assert "\n" not in str(refusal.value)


def test_minus_zero_is_zero() -> None:
    value = Key("", INDEX).check("burn_in", overrides.overrides(["burn_in=-0.0"])["burn_in"])
    assert value == 0 and type(value) is int


@given(st.integers(-LARGEST, LARGEST - 1), st.sampled_from(["{}", "{:_}", " {} ", "{:+}"]))
def test_every_integer_that_a_text_spells_is_found(number: int, form: str) -> None:
    assert spelled(form.format(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_a_text_spells_is_found(number: float) -> None:
    assert spelled(repr(number)) == number
    assert whole(number) == number and (type(whole(number)) is int) == (number.is_integer() and abs(number) < LARGEST)


PLAIN = st.none() | st.booleans() | st.integers(-LARGEST, LARGEST - 1) | st.text("ab -:{'", max_size=4)
NESTED = st.recursive(
    PLAIN | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(NESTED)
def test_what_json_can_record_is_taken_as_it_is(value: Any) -> None:
    assert plain(value, "key") == value == json.loads(json.dumps(value))
    assert overrides.overrides([f"key={value!r}"])["key"] == value or isinstance(value, str)


NO_VALUES = [1j, {1}, b"x", ..., float("nan"), float("inf"), 10**400, -(2**63) - 1, object(), "\0", "\udc80", {1: 2},
             {"a.b": 1}, {"$a": 1}, {"py/object": "x"}, {"": 1}, {"__doc__": 1}, {None: 1}, {b"": 1}]  # fmt: skip


@given(st.sampled_from(NO_VALUES), st.lists(st.sampled_from(["list", "tuple", "mapping"]), max_size=4))
def test_what_no_record_can_hold_is_refused_however_deep(value: Any, around: list[str]) -> None:
    wrap = {"list": lambda v: [0, v], "tuple": lambda v: (v,), "mapping": lambda v: {"x": v}}
    for kind in around:
        value = wrap[kind](value)
    with pytest.raises(ConfigError, match="^env_args.x") as refusal:
        plain(value, "env_args.x")
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 400


def test_nesting_has_an_end() -> None:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    with pytest.raises(ConfigError, match="nested more than"):
        plain(value, "key")


@given(st.text("[({'\"}])-+,:1e_.#\\x\n jNone", max_size=40))
def test_any_text_is_some_value_or_refused(text: str) -> None:
    try:
        overrides.overrides([f"env_args.x={text}"])
    except ConfigError as refusal:
        assert str(refusal).isprintable()


@pytest.mark.parametrize("text", ["{", "'", "[" * 300, "-" * 100_000 + "1", "(" * 100_000, "1or2", "\\N{x}", '"\\d"'])
def test_unbalanced_and_odd_literals_are_text(text: str, recwarn: pytest.WarningsRecorder) -> None:
    assert overrides.overrides([f"label={text}"])["label"] == (text if text != '"\\d"' else "\\d")
    assert not recwarn.list


@pytest.mark.parametrize("word", ["=3", ".=3", "a..b=3", "a.=3", " =3", "a.$b=1", "$a=1", "py/object=1", "a\udc80=1"])
def test_what_is_no_key_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="no key|cannot be a key"):
        overrides.overrides([word])


def test_a_key_has_a_value_or_entries() -> None:
    with pytest.raises(ConfigError, match="a is given a value and an entry"):
        overrides.overrides(["a=1", "a.b=2"])
    assert overrides.overrides(["a={'x': 1}", "a.b=2"]) == {"a": {"x": 1, "b": 2}}


def test_single_words_have_the_last_say_over_files(tmp_path: Path) -> None:
    (tmp_path / "o.json").write_text('{"a": 1, "b": {"x": 1e-05}}')
    (tmp_path / "o.yaml").write_text("b: {y: 1e-4}\nc: 1e3\n")
    found = overrides.overrides([str(tmp_path / "o.json"), "a=2", str(tmp_path / "o.yaml")])
    assert found == {"a": 2, "b": {"x": 1e-05, "y": 1e-4}, "c": 1000.0}
    for name in ("missing.json", "o.txt", "~nosuchuser/o.json", "x" * 300 + ".json"):
        with pytest.raises(ConfigError, match=r"no override|no such file|no such user|too long"):
            overrides.overrides([name])


def test_a_float_key_takes_no_number_that_is_not_finite() -> None:
    for value in (float("inf"), float("nan"), 10**400, "inf", "1e999"):
        with pytest.raises(ConfigError, match=r"^lr="):
            Key("", POSITIVE).check("lr", value)
    assert Key("", POSITIVE).check("lr", "1e-4") == 1e-4
