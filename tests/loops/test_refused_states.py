"""Training states of other kinds, disks that refuse and folders that vanish: one sentence each."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch as th

from loops.checks import check_places
from tests.loops.test_training import Loop, rewrite, saved_at
from utils.checkpoint import STATE_FILE, load_state
from utils.errors import CheckpointError, ConfigError, OutputError


def wrong(value: Any) -> list[Any]:
    """Other kinds, shapes and ranges than `value` has."""
    if isinstance(value, th.Tensor):
        return [None, 3, value.tolist(), value[None].repeat(2, *[1] * value.dim()), value.new_zeros(0)]
    if isinstance(value, bool | int | float):
        return [None, "a", [value], {}]
    if isinstance(value, str):
        return [None, 3, "another"]
    return [None, 3, "a"]


def damaged_entries(state: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every entry of a state, by the way to it, with every other kind."""
    if where:
        yield from ((where, value) for value in wrong(state))
    if isinstance(state, dict):
        for key, value in state.items():
            yield from damaged_entries(value, (*where, key))
    elif isinstance(state, list | tuple) and len(state) < 10:
        for index, value in enumerate(state):
            yield from damaged_entries(value, (*where, index))


def replaced(state: Any, where: tuple[Any, ...], value: Any) -> Any:
    """A state with another entry at `where`."""
    if not where:
        return value
    if isinstance(state, dict):
        return state | {where[0]: replaced(state[where[0]], where[1:], value)}
    entries = list(state)
    entries[where[0]] = replaced(entries[where[0]], where[1:], value)
    return type(state)(entries)


@pytest.mark.parametrize("part", ["learner", "buffer", "rng"])
def test_an_entry_of_another_kind_is_refused_or_changes_nothing(part: str, tmp_path: Path) -> None:
    """One sentence, whichever entry it is; what loads, trains on."""
    file = saved_at(tmp_path, 3) / "3" / STATE_FILE
    state = th.load(file, weights_only=True)
    cases = list(damaged_entries(state[part]))
    refused = 0
    for where, value in random.Random(1).sample(cases, min(40, len(cases))):
        rewrite(file, state | {part: replaced(state[part], where, value)})
        loop = Loop(tmp_path, unique_token="second", checkpoint_path=str(file.parents[1]))
        try:
            loop.resume()
        except CheckpointError as error:
            refused += 1
            assert str(error).isprintable() and len(str(error)) < 1000
        else:
            loop.advance()
            loop.learner.training_state()
    assert refused >= 5


class Unwritable:
    """A disk that is full from its third checkpoint on."""

    def __init__(self) -> None:
        self.saved = 0

    def __call__(self, path: str) -> None:
        Path(path, "agent.th").write_bytes(b"part")
        self.saved += 1
        if self.saved >= 3:
            raise OSError(28, "No space left on device", str(path))


def test_a_disk_that_refuses_mid_run_is_one_sentence_with_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(tmp_path, save_model_interval=2)
    monkeypatch.setattr(loop.learner, "save_models", Unwritable())
    with pytest.raises(OutputError) as caught:
        loop.run(SimpleNamespace())
    last = loop.directory / "4"
    assert str(caught.value).startswith(f"cannot write {loop.directory / '6'} (no space left on device); free space")
    assert str(caught.value).endswith(f"; the last good checkpoint is {last}")
    assert sorted(path.name for path in loop.directory.iterdir()) == ["2", "4"]


def test_a_models_folder_that_vanishes_is_made_anew_or_refused_in_one_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = Loop(tmp_path)
    loop.advance()
    loop.save()
    shutil.rmtree(tmp_path / "models")
    loop.advance()
    assert load_state(loop.save())["t"] == 2
    assert f"{loop.directory / '1'} is gone" in caplog.text
    shutil.rmtree(tmp_path / "models")
    (tmp_path / "models").write_text("a file")
    loop.advance()
    with pytest.raises(OutputError) as caught:
        loop.save()
    assert str(caught.value).startswith(f"cannot write {loop.directory / '3'} (")
    assert str(caught.value).endswith(f"the last checkpoint, {loop.directory / '2'}, is gone")


@pytest.mark.parametrize("save", ["learner", "state"])
def test_a_models_folder_that_vanishes_while_it_is_written_is_one_sentence(
    save: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(tmp_path)
    loop.advance()
    loop.save()
    write = loop.learner.save_models

    def vanish(path: str) -> None:
        if save == "state":
            write(path)
        shutil.rmtree(tmp_path / "models")
        if save == "learner":
            write(path)

    monkeypatch.setattr(loop.learner, "save_models", vanish)
    loop.advance()
    with pytest.raises(OutputError, match=r"cannot write .* \(no such file or directory\); .*, is gone"):
        loop.save()


@pytest.mark.parametrize("folder", ["models", "tb_logs"])
def test_places_are_tried_before_the_run(folder: str, tmp_path: Path) -> None:
    settings = Loop(tmp_path).args.extended(collect=False, evaluate=False, env="x", use_tensorboard=True)
    check_places(settings)
    assert not (tmp_path / folder).exists()  # a run that is refused yet leaves nothing
    (tmp_path / folder).write_text("a file")
    with pytest.raises(ConfigError, match=f"local_results_path: nothing can be written to {tmp_path / folder} \\("):
        check_places(settings)
