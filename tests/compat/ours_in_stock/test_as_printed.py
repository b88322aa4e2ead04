"""The commands that docs/reference/ours-in-stock.md prints work as they stand there, in the order of a new user."""

from __future__ import annotations

import pytest

from tests.compat.ours_in_stock.later_runs import SECTIONS, later_runs, printed, section
from tests.compat.ours_in_stock.stand_in import Launcher


@pytest.fixture(scope="module")
def later(kind: str, runs: Launcher) -> Launcher:
    return later_runs(kind, runs)


@pytest.mark.slow
@pytest.mark.parametrize("page", SECTIONS)
def test_every_command_works(page: str, later: Launcher) -> None:
    commands = list(printed(page))
    assert any("collect=True" in words for _, words in commands) and any(
        "dataset=lbf.h5" in words for _, words in commands
    )
    for position, (_, words) in enumerate(commands):
        name = f"{page}-{position}"
        assert later.codes[name] == 0, f"{' '.join(words)}\n{later.log(name)[-3000:]}"


@pytest.mark.parametrize("page", SECTIONS)
def test_what_they_need_is_named(page: str) -> None:
    assert "pip install h5py lbforaging" in section(page) and "'.[lbf]'" in section(page)


@pytest.mark.slow
def test_they_train_and_evaluate(later: Launcher) -> None:
    folder = later.folder / "as-printed"
    for page in SECTIONS:
        assert (folder / page / "epymarl" / "lbf.h5").is_file()
        assert len(list((folder / page / "epymarl").glob("results/models/*/1/agent.th"))) == 1
