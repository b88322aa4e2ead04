"""Paths that users give: resolved in one place, refused in one sentence, and never out of the results' folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataset
import policy
from utils.errors import ConfigError
from utils.paths import CHECKOUT, folder_name, results_folder, user_path

ODD = {
    "unknown user": ("~nosuchuser/x.h5", "no such user"),
    "over-long name": ("x" * 300 + ".h5", "file name too long"),
    "over-long path": ("/".join(["x" * 100] * 60), "file name too long"),
    "zero byte": ("a\0b.h5", "control characters"),
    "newline": ("a\nb.h5", "control characters"),
    "escape code": ("a\x1b[2J.h5", "control characters"),
    "C1 control": ("a\x9b2J.h5", "control characters"),
    "other encoding": ("a\udce9.h5", "not UTF-8"),
    "empty": ("", "empty"),
    "blank": ("  ", "empty"),
    "dots": ("...", "names no file"),
    "one dot": (".", "names no file"),
    "dots and slashes": ("../..", "names no file"),
}


EXPERT = str(CHECKOUT / "offline_data/mpe/simple_spread/policies/expert")
COMMANDS = {
    "export": (policy.main, ["export", EXPERT, "--to", "torchscript", "-o"], "-o"),
    "play": (policy.main, ["play", EXPERT, "-o"], "-o"),
    "a policy": (policy.main, ["export", "--to", "torchscript", "-o", "x"], "path"),
    "import": (dataset.main, ["import-alberdice", "-o", "never.h5"], "SRC"),
    "slice": (dataset.main, ["slice", "mpe/simple_spread/random-100k", "--episodes", "1", "-o"], "-o"),
    "generate": (dataset.main, ["generate-xor", "AB", "-o"], "-o"),
    "inspect": (dataset.main, ["inspect"], "dataset"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", ["unknown user", "over-long name", "newline", "other encoding"])
def test_every_commands_paths_are_refused_alike(
    command: str, case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main, words, key = COMMANDS[command]
    text, _ = ODD[case]
    monkeypatch.chdir(tmp_path)
    assert main([*words, text]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {key}") and said.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", ODD)
def test_what_cannot_be_a_path_is_refused(case: str) -> None:
    text, words = ODD[case]
    with pytest.raises(ConfigError, match=f"^collect_to.*{words}") as refusal:
        user_path(text, "collect_to")
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 300


def test_a_number_is_no_path() -> None:
    with pytest.raises(ConfigError, match="env_args.replay_path=3: this must be a path"):
        user_path(3, "env_args.replay_path")


def test_a_folder_that_may_not_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's refusal to look is said as such, whoever runs the test."""

    def refuse(path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(ConfigError, match="permission denied; choose another path"):
        user_path(str(tmp_path / "locked" / "x.h5"), "dataset")


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(ConfigError, match="too many levels of symbolic links"):
        user_path(str(tmp_path / "a" / "x.h5"), "dataset")


def test_room_is_left_for_a_temporary_name(tmp_path: Path) -> None:
    name = "x" * 230 + ".h5"
    assert user_path(str(tmp_path / name), "dataset").name == name
    with pytest.raises(ConfigError, match="longer than 223 bytes"):
        user_path(str(tmp_path / name), "collect_to", written=True)


def test_sound_paths_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/é x.h5", "dataset") == tmp_path / "é x.h5"
    assert user_path("mpe/simple_spread/random", "dataset") == Path("mpe/simple_spread/random")
    assert user_path("..", "checkpoint_path", folder=True) == Path("..")
    assert results_folder("results") == CHECKOUT / "results" and results_folder("~/r") == tmp_path / "r"


def test_environments_of_today_keep_their_folders() -> None:
    for name in ("simple_spread", "lbforaging:Foraging-8x8-2p-3f-v3", "pz-mpe-simple-spread-v3", "ALE/Pong-v5", "3m"):
        assert folder_name(name) == name


@given(st.text(max_size=30) | st.text("./\\~ \n\0", max_size=20) | st.text("é", max_size=400))
def test_a_folders_name_never_leads_out(text: str) -> None:
    name = folder_name(text)
    inside = Path(os.path.normpath(Path("/results/sacred") / name))
    assert inside.is_relative_to("/results/sacred") and inside != Path("/results/sacred")
    assert "\0" not in name and "\n" not in name and all(len(os.fsencode(part)) <= 100 for part in name.split("/"))
