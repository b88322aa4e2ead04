"""Pictures never fail a run, and a user's text is drawn as it is."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from PIL import Image

from loops import evaluate
from tests.command_line import CommandLine, status
from utils.plotting import LONGEST_TITLE, drawing, plot_learning_curve, shortened

SERIES = [(0, 1.0), (10, 3.0)]


@pytest.mark.parametrize(
    "text",
    ["$/data/$x_1^{$", "\\frac \\u1 %s {0}", "a\nb\tc\x1b[31m", "\udcff\x00", "x" * 5000, "", "{", "$$$", "_^_^"],
    ids=range(9),
)
def test_any_text_is_drawn_literally(text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with drawing("picture", logging.getLogger("test")):
        plot_learning_curve(SERIES, tmp_path / "curve.png", text, "updates", {"dataset": 2.0})
    assert Image.open(tmp_path / "curve.png").size == (910, 546) and not caplog.messages
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]


def test_characters_that_fonts_lack_are_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with drawing("picture", logging.getLogger("test")):
        plot_learning_curve(SERIES, tmp_path / "curve.png", "\u4e16\u754c", "updates", {})
    (said,) = caplog.messages
    assert said.startswith("The picture is drawn, but: Glyph") and (tmp_path / "curve.png").exists()


def test_a_long_title_keeps_both_ends() -> None:
    title = shortened("spacql on /" + "folder/" * 40 + "random.h5")
    assert len(title) <= LONGEST_TITLE and title.startswith("spacql on /") and title.endswith("random.h5")


def test_the_users_matplotlib_settings_do_not_parse_text(tmp_path: Path) -> None:
    from matplotlib import rc_context

    with rc_context({"text.usetex": True, "text.parse_math": True}):
        plot_learning_curve(SERIES, tmp_path / "curve.png", "$ \\no_such_command $", "updates", {})
    assert (tmp_path / "curve.png").exists()


def test_whatever_fails_in_a_picture_is_one_warning_of_one_line(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("test")
    for error in (ValueError("two\nlines"), PermissionError(13, "Permission denied", "/a/b"), ImportError("x")):
        with drawing("picture", log):
            raise error
    said = [record.getMessage() for record in caplog.records]
    assert [line.count("\n") for line in said] == [0, 0, 0]
    assert said[1] == "No picture is drawn (PermissionError: permission denied at /a/b); the run goes on"
    with pytest.raises(KeyboardInterrupt), drawing("picture", log):
        raise KeyboardInterrupt


def test_a_run_without_a_place_for_its_picture_is_completed(tmp_path: Path, cli: CommandLine) -> None:
    odd = tmp_path / "a$b$c_^"
    odd.mkdir()
    (odd / "d.h5").symlink_to(cli.dataset)
    cli.results.mkdir()
    (cli.results / "plots").write_text("a file")
    result = cli.run(f"dataset={odd / 'd.h5'}", "t_max=2", "test_interval=2", "test_nepisode=2", "batch_size_run=2")
    assert result.returncode == 0 and "Traceback" not in result.stderr, result.stderr
    assert result.stderr.count("No learning curve is drawn") == 1
    (run,) = cli.runs()
    assert status(run) == "COMPLETED" and json.loads((run / "run.json").read_text())["result"] is not None


def test_an_evaluation_is_kept_where_its_replay_cannot_be_drawn(caplog: pytest.LogCaptureFixture) -> None:
    class Artist:
        def run(self, test_mode: bool) -> None: ...

        def save_replay(self) -> None:
            raise OSError(28, "No space left on device", "x.gif")

    evaluate.draw_episode(Artist(), logging.getLogger("test"))
    assert caplog.messages == ["No replay is drawn (OSError: no space left on device at x.gif); the run goes on"]
