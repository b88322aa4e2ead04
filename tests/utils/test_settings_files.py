"""Files of settings: a plain mapping is read, everything else is refused in one short sentence."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.utils.test_overrides import NESTED
from utils.errors import ConfigError
from utils.settings_files import MOST_BYTES, parsed_yaml, read_json, read_text, read_yaml, write_settings


def laughs(levels: int) -> str:
    """Lists of aliases of lists of aliases: 9 to the power of `levels` values in some lines."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


def merged_laughs(levels: int) -> str:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, levels)]
    return "\n".join(lines)


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "Latin-1": ("a: é".encode("latin-1"), "not UTF-8"),
    "UTF-16": ("a: b".encode("utf-16"), "not UTF-8|unacceptable"),
    "a zero byte": (b"a: b\0c", "unacceptable character"),
    "an alias within itself": ("a: &x [*x]", "alias refers to what it is in"),
    "an alias within itself, deeper": ("a: &x {b: [1, {c: *x}]}", "alias refers to what it is in"),
    "a billion laughs": (laughs(12), "aliases stand for more than"),
    "merged laughs": (merged_laughs(12), "aliases stand for more than"),
    "a long text laughs": (f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 9000)}]", "aliases stand for more than"),
    "a long key laughs": (
        f"a: &a {{? {'x' * 100_000} : 1}}\nb: [{', '.join(['*a'] * 9000)}]",
        "aliases stand for more",
    ),
    "a key twice": ("a: 1\nb: 2\na: 2\n", "the key 'a' occurs twice with two"),
    "a nested key twice": ("a: {b: 1, b: 2}", "the key 'b' occurs twice"),
    "a tab": ("a:\n\tb: 1", "not valid YAML"),
    "a list": ("- a", "must be a mapping"),
    "a text": ("a", "must be a mapping"),
    "nothing": ("", "must be a mapping"),
    "a comment": ("# a: 1", "must be a mapping"),
    "two documents": ("a: 1\n---\nb: 1", "not valid YAML"),
    "deep lists": ("a: " + "[" * 3000, "nested too deeply"),
    "deep mappings": ("".join(" " * i + "a:\n" for i in range(500)), "nested too deeply"),
    "deep and balanced": ("a: " + "[" * 60 + "]" * 60, "nested more than"),
    "a number as key": ("1: a", "the key 1 is not text"),
    "a truth value as key": ("on: a", "the key on is not text"),
    "null as key": ("~: a", "the key ~ is not text"),
    "a date as key": ("a: {? [1] : b}", "is not text"),
    "a dotted key": ("a.b: 1", "without a dot"),
    "an object": ("a: !!python/object/apply:os.system ['touch executed']", "not valid YAML"),
    "a name": ("a: !!python/name:os.system", "not valid YAML"),
    "an unknown tag": ("a: !mine 1", "not valid YAML"),
    "a set": ("a: !!set {b, c}", "cannot be recorded"),
    "bytes": ("a: !!binary aGVsbG8=", "cannot be recorded"),
    "a forced date": ("a: !!timestamp 2026-02-30", "not valid YAML"),
    "infinity": ("a: [.inf]", "no finite number"),
    "no number": ("a: .nan", "no finite number"),
    "400 digits": ("a: " + "9" * 400, "more than 64 bits"),
    "5000 digits": ("a: " + "9" * 5000, "not valid YAML"),
    "control characters": ("a: \x1b[2J", "not valid YAML"),
    "unbalanced": ("a: {", "not valid YAML"),
    "too much": ("#" * (MOST_BYTES + 1), "at most 200 kB"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_plain_mapping_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    content, words = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "odd.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    start = time.process_time()
    with pytest.raises(ConfigError, match=words) as refusal:
        read_yaml(file)
    assert time.process_time() - start < 3
    assert str(file) in str(refusal.value) and str(refusal.value).isprintable() and len(str(refusal.value)) < 600
    assert [entry.name for entry in tmp_path.iterdir()] == ["odd.yaml"]


def test_numbers_and_dates_mean_what_they_look_like() -> None:
    text = "a: 1e3\nb: 1e-4\nc: -2E5\nd: 1_000\ne: 2026-02-30\nf: 2026-02-20\ng: 1e\nh: '1e3'\ni: 1.5e3\nj: 0x10"
    assert parsed_yaml(text, Path("x")) == {
        "a": 1000.0, "b": 1e-4, "c": -2e5, "d": 1000, "e": "2026-02-30", "f": "2026-02-20", "g": "1e", "h": "1e3",
        "i": 1500.0, "j": 16,
    }  # fmt: skip


def test_aliases_in_measure_are_followed() -> None:
    text = "\ufeffa: &a {x: 1}\nb:\n  <<: *a\n  y: 2\nc: [*a, *a]\n"
    assert parsed_yaml(text, Path("x")) == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": [{"x": 1}, {"x": 1}]}


JSON: dict[str, tuple[str, str]] = {
    "a key twice": ('{"a": 1, "a": 2}', "occurs twice"),
    "no number": ('{"a": NaN}', "no finite number"),
    "infinity": ('{"a": 1e999}', "no finite number"),
    "deep": ('{"a": ' + "[" * 100_000, "nested too deeply"),
    "a list": ("[1]", "must be a mapping"),
    "an object": ('{"a": {"py/object": "os.system"}}', "cannot be a key"),
    "half": ('{"a": ', "not valid JSON"),
    "nothing": ("", "not valid JSON"),
    "a surrogate": ('{"a": "\\ud800"}', "no record can"),
    "a zero": ('{"a": "\\u0000"}', "no record can"),
    "5000 digits": ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
}


@pytest.mark.parametrize("case", JSON)
def test_json_is_as_strict(tmp_path: Path, case: str) -> None:
    content, words = JSON[case]
    (tmp_path / "odd.json").write_text(content)
    with pytest.raises(ConfigError, match=words) as refusal:
        read_json(tmp_path / "odd.json")
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 600


def unreadable(path: Path) -> None:
    path.write_text("a: 1")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")


def hidden(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path)


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, unreadable, hidden, lambda path: path.symlink_to("/dev/zero"), lambda path: None]
)
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    make(tmp_path / "odd.yaml")
    with pytest.raises(ConfigError, match=r"odd.yaml: (this is no file|it cannot be read: )"):
        read_text(tmp_path / "odd.yaml")


@given(st.dictionaries(st.text("abc", min_size=1), NESTED, max_size=4))
def test_what_is_written_is_read_again(content: dict[str, Any]) -> None:
    assert parsed_yaml(yaml.safe_dump(content), Path("x")) == content or not content


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.text("ab:-{}[]&*!<>|'\"\t\n %#?,.0x", max_size=60))
def test_any_text_is_a_mapping_or_refused(text: str) -> None:
    try:
        assert isinstance(parsed_yaml(text, Path("x")), dict)
    except ConfigError as refusal:
        assert str(refusal).isprintable()


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_saved_configuration_holds_no_credentials(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"saved{suffix}"
    write_settings(file, {"mongo": "mongodb://me:hidden@host/db", "lr": 1e-05, "env_args": {"token": "hidden"}})
    assert "hidden" not in file.read_text()
    again = read_json(file) if suffix == ".json" else read_yaml(file)
    assert again == {"mongo": "mongodb://me:***@host/db", "lr": 1e-05, "env_args": {"token": "***"}}
    assert json.loads(json.dumps(again)) == again
