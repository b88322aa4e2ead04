"""Runs are resolved and checked beforehand, and known again by what decides their results."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from datasets import loading, readings
from datasets.readings import Readings
from loops.configured import configured
from loops.identity import dataset_checksum, identity
from sweeps.cells import Cell, cells_of, environment_of
from sweeps.grid import Choice
from tests.sweeps.sweeping import SHORT
from utils.errors import ConfigError, DatasetError, UserError


def said(sentence: str) -> None:
    raise AssertionError(sentence)


def cell_of(*words: str, alg: str = "bc", seed: int = 1) -> Cell:
    (cell,) = cells_of([Choice(alg, None, ("dataset=mpe/simple_spread/random-100k", *SHORT, *words))], [seed], said)
    return cell


@pytest.mark.parametrize(
    ("word", "same"),
    [
        ("use_tensorboard=True", True), ("local_results_path=elsewhere", True), ("label=mine", True),
        ("save_model_interval=7", True), ("log_interval=3", True), ("use_cuda=True", True), ("hypergroup=a", True),
        ("t_max=30", False), ("hidden_dim=16", False), ("test_nepisode=40", False), ("evaluation_seed=5", False),
        ("env_args.time_limit=25", True), ("validation_share=0.1", False),
    ],
)  # fmt: skip
def test_a_run_is_the_same_whatever_does_not_change_its_result(word: str, same: bool) -> None:
    assert (cell_of(word).identity == cell_of().identity) is same


def test_other_seeds_and_algorithms_are_other_runs() -> None:
    assert len({cell_of().identity, cell_of(seed=2).identity, cell_of(alg="matd3_bc").identity}) == 3


def test_the_dataset_counts_by_its_content(tiny_dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.h5"
    shutil.copy(tiny_dataset, copy)
    found = []
    for path in (tiny_dataset, copy):
        (cell,) = cells_of([Choice("bc", None, (f"dataset={path}", *SHORT))], [1], said)
        found.append(cell.identity)
    assert found[0] == found[1]
    config = configured("bc", "mpe", {"dataset": str(copy), "seed": 1}, False, said, said).final
    checksum = dataset_checksum(config)
    assert identity(config, checksum) != identity(config, "another")


def test_the_environment_is_that_of_the_card(tiny_dataset: Path, tiny_discrete_dataset: Path) -> None:
    assert environment_of(str(tiny_dataset), Readings()) == ("mpe", {})
    assert environment_of(str(tiny_discrete_dataset), Readings()) == ("mpe", {"continuous_actions": False})
    (cell,) = cells_of([Choice("bc_discrete", None, (f"dataset={tiny_discrete_dataset}", *SHORT))], [4], said)
    assert "env_args.continuous_actions=False" in cell.words and cell.config["env_args"]["continuous_actions"] is False
    assert cell.words[:3] == ("--config=bc_discrete", "--env-config=mpe", "with") and cell.words[-1] == "seed=4"


def test_each_dataset_is_read_once(tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of the runs stays, though those of one dataset are checked together."""
    copy = tmp_path / "copy.h5"
    shutil.copy(tiny_dataset, copy)
    opened: list[tuple[str, Path]] = []

    def counted(what: str, read: Any) -> Any:
        def reading(path: Path, **options: Any) -> Any:
            opened.append((what, path))
            return read(path, **options)

        return reading

    monkeypatch.setattr(readings, "read_outline", counted("outline", readings.read_outline))
    monkeypatch.setattr(loading, "read_dataset", counted("rows", loading.read_dataset))
    places = ((tiny_dataset, "hidden_dim=8"), (copy, "hidden_dim=16"))
    choices = [
        Choice(alg, None, (f"dataset={path}", *SHORT, word)) for alg in ("bc", "matd3_bc") for path, word in places
    ]
    cells = cells_of(choices, [1, 2], said)
    assert sorted(opened) == [(what, path) for what in ("outline", "rows") for path in sorted((tiny_dataset, copy))]
    names = [(cell.config["name"], cell.config["dataset"], cell.seed) for cell in cells]
    assert names == [(choice.alg, choice.updates["dataset"], seed) for choice in choices for seed in (1, 2)]


def test_choices_are_called_by_what_differs(tiny_dataset: Path) -> None:
    words = (f"dataset={tiny_dataset}", *SHORT)
    choices = [Choice("bc", None, (*words, f"hidden_dim={size}")) for size in (8, 16)]
    cells = cells_of(choices, [1, 2], said)
    assert [cell.name for cell in cells[1:3]] == [
        f"bc on {tiny_dataset} hidden_dim=8, seed 2", f"bc on {tiny_dataset} hidden_dim=16, seed 1",
    ]  # fmt: skip


BAD: list[tuple[str, tuple[str, ...], type[UserError], str]] = [
    ("bcc", (), ConfigError, "--config=bcc: there is no such configuration; did you mean 'bc'"),
    ("bc", ("t_maxx=3",), ConfigError, "no key 't_maxx'"),
    ("bc", ("t_max=0",), ConfigError, "t_max=0"),
    ("bc", ("evaluate=True", "checkpoint_path=x"), UserError, "checkpoint_path"),
    ("random", ("collect=True", "collect_to=/tmp/x.h5"), ConfigError, "collect=True has no place in a sweep"),
    (
        "bc",
        ("replay_to=mine",),
        ConfigError,
        "replay_to=mine has no place in a sweep, whose runs train and share no file",
    ),
    ("bc", ("agent=nothing",), UserError, "agent=nothing"),
]


@pytest.mark.parametrize(("alg", "words", "error", "message"), BAD)
def test_what_main_would_refuse_is_refused_beforehand(
    alg: str, words: tuple[str, ...], error: type[UserError], message: str
) -> None:
    choice: Any = Choice(alg, None, ("dataset=mpe/simple_spread/random-100k", *words))
    with pytest.raises(error, match=message):
        cells_of([choice], [1], said)


def test_keys_that_a_choice_does_not_read_are_named_once_per_choice() -> None:
    heard: list[str] = []
    words = ("dataset=mpe/simple_spread/random-100k", *SHORT, "epsilon_start=0.3")
    cells_of([Choice(alg, None, words) for alg in ("bc", "matd3_bc")], [1, 2], heard.append)
    assert heard == [f"epsilon_start=0.3 is given and not read by this run of {alg}" for alg in ("bc", "matd3_bc")]


def test_a_refusal_names_the_choice_and_a_missing_dataset_its_recipe() -> None:
    choices = [Choice("bc", None, (f"dataset=mpe/simple_spread/{name}",)) for name in ("random-100k", "nowhere")]
    with pytest.raises(DatasetError, match="^bc on mpe/simple_spread/nowhere: there is no dataset"):
        cells_of(choices, [1], said)
    with pytest.raises(ConfigError, match="give --env-config"):
        cells_of([Choice("matd3", None, ())], [1], said)


def test_a_run_that_occurs_twice_and_two_results_folders_are_refused() -> None:
    words = ("dataset=mpe/simple_spread/random-100k", *SHORT)
    with pytest.raises(ConfigError, match="is the same run as"):
        cells_of([Choice("bc", None, words), Choice("bc", None, (*words, "label=b"))], [1], said)
    with pytest.raises(ConfigError, match="one results folder"):
        cells_of(
            [Choice("bc", None, words), Choice("bc", None, (*words, "t_max=9", "local_results_path=b"))], [1], said
        )
