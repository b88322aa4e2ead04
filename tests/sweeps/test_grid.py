"""Both spellings of a grid, and what each refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sweeps import grid
from sweeps.grid import Choice
from utils.errors import ConfigError

STOCK = """
exclude: null
grid-search:
  "--config":
    - "iql"
    - "qmix"
  lr:
    - 0.0001
    - 5e-4
  standardise_rewards: True
  mixer: [null]
  label: ["1e3"]
grid-search-groups:
  env0:
    - "--env-config": "gymma"
    - env_args.key: lbforaging:Foraging-8x8-2p-3f-v3
    - env_args.time_limit: 25
  env1:
    - "--env-config": "matrix_game"
"""


def write(folder: Path, text: str) -> str:
    path = folder / "grid.yaml"
    path.write_text(text)
    return str(path)


def test_stocks_file_gives_stocks_combinations(tmp_path: Path) -> None:
    choices = grid.grid_file(write(tmp_path, STOCK), ["t_max=10"])
    assert len(choices) == 8
    first, second = choices[:2]
    assert (first.alg, first.env, second.env) == ("iql", "gymma", "matrix_game")
    assert first.updates == {
        "lr": 0.0001, "standardise_rewards": True, "mixer": None, "label": "1e3", "t_max": 10,
        "env_args": {"key": "lbforaging:Foraging-8x8-2p-3f-v3", "time_limit": 25},
    }  # fmt: skip
    assert "env_args" not in second.updates
    assert [choice.alg for choice in choices] == ["iql"] * 4 + ["qmix"] * 4
    assert {choice.updates["lr"] for choice in choices} == {0.0001, 0.0005}


def test_words_after_with_replace_those_of_the_file(tmp_path: Path) -> None:
    (choice,) = grid.grid_file(write(tmp_path, 'grid-search:\n  "--config": bc\n  lr: 0.1'), ["lr=0.2"])
    assert choice == Choice("bc", None, ("lr=0.2",))


def test_a_file_after_with_replaces_values_of_the_grid(tmp_path: Path) -> None:
    """Entries of mappings one by one, in whichever form each of the two gives them."""
    over = tmp_path / "over.yaml"
    over.write_text("lr: 0.2\nenv_args: {key: b}\n")
    for own in ("  env_args.key: a\n  env_args.time_limit: [9]", "  env_args: {key: a, time_limit: 9}"):
        text = f'grid-search:\n  "--config": bc\n  lr: [0.1]\n  hidden_dim: [8, 16]\n{own}'
        choices = grid.grid_file(write(tmp_path, text), [str(over)])
        assert [choice.updates for choice in choices] == [
            {"hidden_dim": size, "lr": 0.2, "env_args": {"key": "b", "time_limit": 9}} for size in (8, 16)
        ]
    (choice,) = grid.grid_file(write(tmp_path, 'grid-search:\n  "--config": bc\n  env_args: {key: a}'), [str(over)])
    assert choice.words == (str(over),)


def test_the_example_of_epymarl_is_read(tmp_path: Path) -> None:
    keys = "".join(f"  key_{i}:\n    - {i}\n    - {i}.5\n" for i in range(3))
    assert len(grid.grid_file(write(tmp_path, f'grid-search:\n  "--config": ["iql", "iql_ns"]\n{keys}'), [])) == 16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grid-search:\n  lr: [0.1]", "names no algorithm"),
        ('grid-search:\n  "--config": bc\n  lr: []', "'?lr'? has an empty list"),
        ('grid-search:\n  "--config": bc\n  "--force": x', "--force is no key"),
        ("grid-search: [1]", "must be a mapping"),
        ("", "a grid file must have the key grid-search"),
        ("- 1", "a grid file must have the key grid-search"),
        ('grid-search:\n  "--config": null', '"--config" is null; give it the name of a file in config/algs'),
        ('grid-search:\n  "--config": bc\n  "--env-config": [7]', '"--env-config" is 7; give it the name of a file'),
        ("grid-serach:\n  lr: 1", "it has the key grid-serach"),
        ('exclude: [1]\ngrid-search:\n  "--config": bc', "exclude must be null"),
        ('grid-search:\n  "--config": bc\n  lr: 1\ngrid-search-groups:\n  a:\n  - lr: 2', "lr is given twice"),
        ('grid-search:\n  "--config": bc\ngrid-search-groups:\n  a: 3', "the group a must be a list"),
        ('grid-search:\n  "--config": bc\n' + "".join(f"  k{i}: [0,1,2,3,4,5,6,7,8,9]\n" for i in range(6)), "1000000"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_grid_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        grid.grid_file(write(tmp_path, text), [])
    assert str(tmp_path) in str(error.value)


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="no such file"):
        grid.grid_file("nowhere.yaml", [])


def test_the_short_form_is_every_algorithm_on_every_dataset() -> None:
    choices = grid.short_form(["bc", "cfcql"], ["a", "b"], "mpe", ["t_max=5"])
    assert [(choice.alg, choice.words) for choice in choices] == [
        ("bc", ("dataset=a", "t_max=5")), ("bc", ("dataset=b", "t_max=5")),
        ("cfcql", ("dataset=a", "t_max=5")), ("cfcql", ("dataset=b", "t_max=5")),
    ]  # fmt: skip
    assert grid.short_form(["matd3"], [], "mpe", []) == [Choice("matd3", "mpe", ())]
    for configs, datasets in ((["bc", "bc"], ["a"]), (["bc"], ["a", "a"])):
        with pytest.raises(ConfigError, match="twice"):
            grid.short_form(configs, datasets, None, [])
    with pytest.raises(ConfigError, match="--datasets and the key dataset are both given"):
        grid.short_form(["bc"], ["a"], None, ["dataset=b"])
    assert grid.short_form(["bc"], [], None, ["dataset=b"]) == [Choice("bc", None, ("dataset=b",))]


@pytest.mark.parametrize(
    ("texts", "seeds"),
    [(["3"], [0, 1, 2]), (["1-3"], [1, 2, 3]), (["3,7"], [3, 7]), (["1", "5-6"], [1, 5, 6]), (["4-4"], [4])],
)
def test_seeds(texts: list[str], seeds: list[int]) -> None:
    assert grid.seeds_of(texts) == seeds


@pytest.mark.parametrize("text", ["0", "3-1", "a", "1-", "-1", "1,1", "1-99999999", "99999999999", ""])
def test_what_are_no_seeds(text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"--seeds {text}")):
        grid.seeds_of([text])


def test_seeds_in_the_grid_hold_for_all_runs() -> None:
    assert grid.seed_in([Choice("bc", None, ("seed=1",)), Choice("bc", None, ("seed=2",))])
    assert not grid.seed_in([Choice("bc", None, ())])
    with pytest.raises(ConfigError, match="some have none"):
        grid.seed_in([Choice("bc", None, ("seed=1",)), Choice("bc", None, ())])
