"""What runner=offline refuses before the loop would fail without a word; runs with it: ours_in_stock/."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from stock.offline_runner import check_checkpoint, check_keys
from utils.errors import ConfigError


def settings(**changes: object) -> SimpleNamespace:
    known = {"evaluation_runner": "episode", "batch_size_run": 1, "buffer_size": 8, "batch_size": 8}
    return SimpleNamespace(**{**known, **changes})


def test_what_fits_together_passes() -> None:
    check_keys(settings())
    check_keys(settings(evaluation_runner="parallel", batch_size_run=2))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch_size_run": 2}, "batch_size_run=2: evaluation_runner=episode .* set batch_size_run=1, or"),
        ({"buffer_size": 9}, "buffer_size=9 and batch_size=8: .* set buffer_size=8"),
        ({"evaluation_runner": "offline"}, "evaluation_runner=offline: .* episode, parallel"),
    ],
)
def test_keys_that_do_not_are_refused(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_keys(settings(**changes))


def test_checkpoints_that_are_not_there_are_refused(tmp_path: Path) -> None:
    check_checkpoint("")
    with pytest.raises(ConfigError, match="checkpoint_path=nowhere is no folder"):
        check_checkpoint("nowhere")
    (tmp_path / "61").write_text("")  # a file named like a step is none
    with pytest.raises(ConfigError, match="holds no folder named by a step"):
        check_checkpoint(str(tmp_path))
    (tmp_path / "62").mkdir()
    check_checkpoint(str(tmp_path))
