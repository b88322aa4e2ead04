"""Mixtures, subsets and splits: whole episodes, each with its recipe in the card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset import main
from datasets.card import episode_returns
from datasets.dataset import OfflineDataset, read_dataset, write_dataset
from datasets.parts import _shared_out
from tests.datasets.samples import continuous_arrays, continuous_card


def made(path: Path, n_episodes: int, seed: int, level: float = 0.0) -> Path:
    arrays, offsets = continuous_arrays([4] * n_episodes, seed=seed)
    arrays["reward"] += np.float32(level)
    arrays["reward"][offsets[1:] - 1] = 0
    write_dataset(path, arrays, offsets, continuous_card() | {"quality": path.stem})
    return path


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    return made(tmp_path / "a.h5", 40, 0), made(tmp_path / "b.h5", 10, 1, 100.0)


def returns(path: Path) -> np.ndarray:
    dataset = read_dataset(path)
    return episode_returns(dataset.arrays["reward"], dataset.episode_offsets)


def episodes(dataset: OfflineDataset) -> list[bytes]:
    offsets = dataset.episode_offsets
    return [dataset.arrays["obs"][a:b].tobytes() for a, b in zip(offsets[:-1], offsets[1:], strict=True)]


def test_a_mixture_has_its_shares_and_its_recipe(two: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    assert main(["mix", f"{two[0]}:0.75", f"{two[1]}:0.25", "-o", str(out)]) == 0
    mixed = read_dataset(out)
    assert mixed.n_episodes == 40 and (returns(out) > 200).sum() == 10
    assert len(set(episodes(mixed))) == 40 and mixed.card["quality"] == "a + b"
    recipe = mixed.card["made_by"]
    assert recipe["episodes"].startswith("30 of 40 episodes and 10 of 10 episodes") and len(recipe["sources"]) == 2
    assert main(["mix", f"{two[0]}:1", f"{two[1]}:1", "--episodes", "8", "-o", str(out), "--force"]) == 0
    assert read_dataset(out).n_episodes == 8 and (returns(out) > 200).sum() == 4


def test_a_mixture_has_as_many_episodes_as_asked(two: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    for shares, episodes, second in (((1, 1), 5, 2), ((0.5, 0.5), 7, 3), ((2, 1), 10, 3), ((0.7, 0.3), 5, 1)):
        words = [f"{path}:{share}" for path, share in zip(two, shares, strict=True)]
        assert main(["mix", *words, "--episodes", str(episodes), "-o", str(out), "--force"]) == 0
        assert read_dataset(out).n_episodes == episodes and (returns(out) > 200).sum() == second
    three = np.full(3, 1 / 3)
    assert [_shared_out(total, three) for total in (9, 10, 11)] == [[3, 3, 3], [4, 3, 3], [4, 4, 3]]


@pytest.mark.parametrize("limit", [50, 49])
def test_an_argument_that_one_card_leaves_out_must_be_the_default_in_the_other(
    limit: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(made(tmp_path / f"{name}.h5", 2, 0)) for name in ("stated", "silent")]
    for path, more in zip(paths, ({"episode_limit": limit}, {}), strict=True):
        dataset = read_dataset(Path(path))
        environment = {"env": "bridge", "env_args": {"start_adjacent": True, **more}}
        card = dataset.card | {"environment": environment, "reference": None}
        write_dataset(Path(path), dataset.arrays, dataset.episode_offsets, card, replace=True)
    for files in (paths, paths[::-1]):
        merged = main(["merge", *files, "-o", str(tmp_path / "out.h5"), "--force"])
        assert merged == (0 if limit == 50 else 1)  # 50 is the environment's own
        words = "" if limit == 50 else "env_args.episode_limit is "
        assert words in capsys.readouterr().err


def test_sets_of_other_masks_are_not_joined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masked = {}
    for name, first in (("a", 1), ("b", 0)):
        arrays, offsets = continuous_arrays([4] * 10)
        masked[name] = [[first] + [1] * (arrays["obs"].shape[2] - 1)] * arrays["obs"].shape[1]
        write_dataset(tmp_path / f"{name}.h5", arrays, offsets, continuous_card() | {"obs_mask": masked[name]})
    plain, one, other = (str(path) for path in (made(tmp_path / "c.h5", 10, 0), tmp_path / "a.h5", tmp_path / "b.h5"))
    for files in ((one, other), (one, plain), (plain, one)):
        assert main(["merge", *files, "-o", str(tmp_path / "out.h5")]) == 1
        assert "cannot be merged: obs_mask is " in capsys.readouterr().err.replace("\n", " ")
    assert main(["mix", f"{other}:1", f"{other}:1", "-o", str(tmp_path / "out.h5")]) == 0
    assert read_dataset(tmp_path / "out.h5").card["obs_mask"] == masked["b"]


def test_subsets_by_number_and_by_return(two: tuple[Path, Path], tmp_path: Path) -> None:
    few, best = tmp_path / "few.h5", tmp_path / "best.h5"
    assert main(["subset", str(two[0]), "--episodes", "7", "--seed", "3", "-o", str(few)]) == 0
    assert read_dataset(few).n_episodes == 7 and "seed 3" in read_dataset(few).card["made_by"]["episodes"]
    assert main(["subset", str(two[0]), "--returns-above", "0.75", "-o", str(best)]) == 0
    whole = returns(two[0])
    assert np.allclose(np.sort(returns(best)), np.sort(whole)[-10:])
    assert "quantile 0.75" in read_dataset(best).card["made_by"]["episodes"]


def test_a_subset_matches_the_returns_of_another_set(tmp_path: Path) -> None:
    """From returns spread over a wide range to those of a narrower set."""
    wide, narrow, out = tmp_path / "wide.h5", tmp_path / "narrow.h5", tmp_path / "out.h5"
    for path, spread, seed in ((wide, 10.0, 0), (narrow, 3.0, 1)):
        arrays, offsets = continuous_arrays([2] * 400, seed=seed)
        arrays["reward"][:] = np.random.default_rng(seed).normal(0, spread, (len(arrays["obs"]), 1))
        arrays["reward"][offsets[1:] - 1] = 0
        write_dataset(path, arrays, offsets, continuous_card())
    assert main(["subset", str(wide), "--match-returns", str(narrow), "-o", str(out)]) == 0
    levels = np.linspace(0.15, 0.85, 8)  # an outermost decile has no shape to match
    assert len(returns(out)) > 50
    assert np.allclose(np.quantile(returns(out), levels), np.quantile(returns(narrow), levels), atol=1.0)


def test_returns_that_many_episodes_share_are_matched(tmp_path: Path) -> None:
    """Battles that are won all pay the same: half of these do, and a tenth of the set to choose from."""
    wanted, source, out = tmp_path / "wanted.h5", tmp_path / "source.h5", tmp_path / "out.h5"
    for path, share, seed in ((wanted, 0.5, 0), (source, 0.1, 1)):
        rng = np.random.default_rng(seed)
        arrays, offsets = continuous_arrays([1] * 300, seed=seed)
        paid = np.where(rng.random(300) < share, 20.0, rng.uniform(0, 10, 300))
        arrays["reward"][offsets[:-1]] = paid[:, None].astype(np.float32)
        write_dataset(path, arrays, offsets, continuous_card())
    assert main(["subset", str(source), "--match-returns", str(wanted), "-o", str(out)]) == 0
    assert len(returns(out)) > 40
    assert (returns(out) == 20).mean() == pytest.approx((returns(wanted) == 20).mean(), abs=0.05)
    equal, few = made(tmp_path / "equal.h5", 12, 0), tmp_path / "few.h5"
    arrays, offsets = continuous_arrays([1] * 12)
    arrays["reward"][offsets[:-1]] = 50
    write_dataset(equal, arrays, offsets, continuous_card(), replace=True)
    assert main(["subset", str(equal), "--match-returns", str(equal), "-o", str(few)]) == 0
    assert read_dataset(few).n_episodes == 12


def test_a_split_keeps_every_episode_once(two: tuple[Path, Path], tmp_path: Path) -> None:
    assert main(["split", str(two[0]), "--validation", "0.2", "-o", str(tmp_path / "s.h5")]) == 0
    train, held = (read_dataset(tmp_path / f"s-{name}.h5") for name in ("train", "validation"))
    assert (train.n_episodes, held.n_episodes) == (32, 8)
    assert sorted(episodes(train) + episodes(held)) == sorted(episodes(read_dataset(two[0])))
    assert "for validation" in held.card["made_by"]["episodes"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mix", "A:0.5"], "at least two"),
        (["mix", "A:0.5", "B"], "NAME:SHARE"),
        (["mix", "A:0.5", "B:-1"], "above 0"),
        (["mix", "A:1e308", "B:1e308"], "their sum must be finite"),
        (["mix", "A:0.5", "B:0.5", "--episodes", "30"], "up to 20"),
        (["subset", "A", "--episodes", "41"], "1 to 40"),
        (["subset", "A", "--returns-above", "1"], "quantile"),
        (["subset", "A", "--match-returns", "B"], "holds no episode with a return"),
        (["subset", "A", "--episodes", "3", "--seed", "-1"], "0 or more"),
        (["split", "A", "--validation", "1"], "empty"),
    ],
)
def test_what_cannot_be_chosen_is_one_sentence(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    names = {"A": str(two[0]), "B": str(two[1])}
    given = [names[word[0]] + word[1:] if word[0] in names and not word.startswith("--") else word for word in words]
    before = set(tmp_path.iterdir())
    assert main([*given, "-o", str(tmp_path / "out.h5")]) == 1
    error = capsys.readouterr().err
    assert said in error.replace("\n", " ") and error.startswith("error: ") and set(tmp_path.iterdir()) == before
