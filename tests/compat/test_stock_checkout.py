"""Which checkout the tests of `ours_in_stock` and `stock_in_ours` take EPYMARL_CHECKOUT for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stock import plug_into
from tests.command_line import ROOT
from tests.compat.ours_in_stock.stand_in import HERE, build
from tests.compat.stock_checkout import NAME, stock_checkout

USERS = [lambda folder: stock_checkout(), lambda folder: build("real", folder)]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("named", [None, ""])
def test_none_is_named(
    named: str | None, user: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(NAME, raising=False)
    if named is not None:
        monkeypatch.setenv(NAME, named)
    with pytest.raises(pytest.skip.Exception, match="names no checkout"):
        user(tmp_path / "copy")


@pytest.mark.parametrize("named", ["~/epymarl", "epymarl", "../home/epymarl"])
def test_a_checkout_may_be_named_as_in_a_shell(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are run in other folders: what they get is absolute."""
    home = tmp_path / "home"
    build("stand_in", home).rename(home / "epymarl")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv(NAME, named)
    monkeypatch.chdir(home)
    assert stock_checkout() == (home / "epymarl").resolve()
    assert (build("real", tmp_path) / "src" / "main.py").is_file()


@pytest.mark.parametrize("user", USERS)
def test_a_checkout_that_is_plugged_into_is_refused(
    user: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugged = build("stand_in", tmp_path)
    monkeypatch.setenv(NAME, str(plugged))
    stock_checkout()
    plug_into.main([str(plugged)])
    with pytest.raises(pytest.fail.Exception, match=f"python src/stock/plug_into.py {plugged} --remove") as failed:
        user(tmp_path / "copy")
    assert not failed.value.pytrace and "\n" not in str(failed.value)
    plug_into.main([str(plugged), "--remove"])
    stock_checkout()


@pytest.mark.parametrize(
    ("named", "sentence"), [(str(ROOT), "epymarl-offline itself"), (str(HERE), "src/main.py is missing")]
)
def test_other_folders_are_refused(named: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, named)
    with pytest.raises(pytest.fail.Exception, match=sentence):
        stock_checkout()
