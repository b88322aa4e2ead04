"""Credentials never reach a record, a log or a message."""

from __future__ import annotations

import json
import logging
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacred import SETTINGS

from utils import mongo_address
from utils.errors import ConfigError
from utils.experiment import RecordedExperiment
from utils.logging import get_logger
from utils.observers import RunDirectoryObserver, observers
from utils.redact import redacted, redacted_command

SECRET = "s3cr3t"
HOLDERS = [
    "mongodb://me:{}@host:27017/db", "mongodb+srv://me:{}@cluster.example.org", "postgresql://me:{}@localhost/db",
    "https://{}@github.com/o/r.git", "https://me:{}@github.com/o/r.git", "me:{}@host:27017:db", "ssh://git:{}@host/r",
    "mongodb://me:a/{}@b@host/db", "mongodb:/me:{}@host/db",
    "password={}", "env_args.token={}", "--api-key={}", "AWS_SECRET={}",
    "{{'password': '{}'}}", '{{"api_key": "{}"}}', "-mme:{}@host:1:db", "mongo=me:{}@host:1:db",
    "redis://:{}@host", "x?token={}&y=1", "ghp_{}0123456789abcdef",
]  # fmt: skip
HARMLESS = [
    "localhost:27017:sacred", "git@github.com:o/r.git", "ssh://git@host/r", "https://example.org/a@b", "lr=0.1",
    "env_args.key=simple_spread", "spacql_seed3_simple_spread", "12:30 me@host", "https://h:8080/x", "n_tokens=5",
    "lbforaging:Foraging-8x8-2p-3f-v3", "a: b", "monkey=3",
]  # fmt: skip


@pytest.mark.parametrize("holder", HOLDERS)
def test_credentials_are_hidden_wherever_they_stand(holder: str) -> None:
    text = holder.format(SECRET)
    for value in (text, f"error: '{text}' is wrong", [text], {"a": (text,)}, {"x": {"y": [text]}}):
        assert SECRET not in repr(redacted(value))
    assert SECRET not in redacted_command(["main.py", text]) and SECRET not in str(ConfigError(f"no: {text}"))
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_credential_stays(text: str) -> None:
    assert redacted(text) == text and redacted({"key": text}) == {"key": text}


def test_whatever_stands_under_telling_keys_is_hidden() -> None:
    secret = {"password": SECRET, "wandb_token": 123456, "api_key": {"v": [SECRET]}, "token": [SECRET], "pwd": (1.5,)}
    harmless = {"key": "mine", "tokens": 3, "passwd": None, "secret": "", "credentials": True, "db_password": False}
    assert redacted({"env_args": secret | harmless}) == {"env_args": dict.fromkeys(secret, "***") | harmless}


@given(st.text("abcXYZ0123456789!$%^&()_-+;,.~#", min_size=6, max_size=40))
def test_whatever_the_password_is(password: str) -> None:
    for word in (f"mongodb://me:{password}@host/db", f"me:{password}@host:1:db", f"password={password}"):
        assert redacted(redacted_command([word])) in (
            shlex.quote("mongodb://me:***@host/db"), shlex.quote("me:***@host:1:db"), shlex.quote("password=***"),
        )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["a:" * 200_000, "x" * 10**6, "-" * 10**6, "token" * 10**5, "a@" * 10**5, "://:" * 10**5]
)
def test_long_texts_take_no_longer_than_their_length_demands(text: str) -> None:
    start = time.process_time()
    redacted(text)
    assert time.process_time() - start < 3


def test_nothing_that_a_run_writes_holds_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configuration, overrides, options, comment, repository, output and traceback."""
    monkeypatch.setitem(SETTINGS, "CAPTURE_MODE", "sys")
    experiment: Any = RecordedExperiment("test", save_git_info=False)
    sources = {"url": HOLDERS[3].format(SECRET), "commit": "c", "dirty": False}
    info = experiment.get_experiment_info() | {"repositories": [sources]}
    monkeypatch.setattr(experiment, "get_experiment_info", lambda: info)
    experiment.captured_out_filter = redacted
    experiment.observers.append(RunDirectoryObserver(str(tmp_path)))
    seen: list[str] = []

    @experiment.main  # type: ignore[untyped-decorator]
    def fail(_config: dict[str, Any]) -> None:
        seen.append(_config["env_args"]["url"])
        print("connecting to", _config["env_args"]["url"])
        raise RuntimeError(_config["env_args"]["url"])

    url = HOLDERS[0].format(SECRET)
    experiment.add_config(env_args={"url": "", "token": ""}, label="")
    with pytest.raises(RuntimeError):
        experiment.run(
            config_updates={"env_args": {"url": url, "token": SECRET}, "label": HOLDERS[8].format(SECRET)},
            options={"--comment": url, "--mongo_db": None, "UPDATE": [f"env_args.url={url}"]},
        )
    assert seen == [url]  # the run itself has what it needs
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"config.json", "run.json", "cout.txt"} <= {file.name for file in files}
    for file in files:
        if "_sources" not in file.parts:
            assert SECRET not in file.read_text(), file.name
    assert (
        json.loads((tmp_path / "1" / "config.json").read_text())["env_args"]["url"] == "mongodb://me:***@host:27017/db"
    )


def test_log_lines_hold_no_credentials(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers)
    level = root.level
    try:
        get_logger().info("connecting to %s", HOLDERS[0].format(SECRET))
    finally:
        root.setLevel(level)
    assert "mongodb://me:***@host:27017/db" in capsys.readouterr().err


def test_a_refused_database_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mongo_address.LIMITS, "serverSelectionTimeoutMS", 200)
    with pytest.raises(ConfigError, match="no MongoDB answers") as refusal:
        observers(tmp_path / "results", "a", "e", HOLDERS[0].format(SECRET))
    assert SECRET not in str(refusal.value) and not (tmp_path / "results").exists()
