"""Bridge's sets, made from the definition, beside the published one."""

from pathlib import Path

import numpy as np
import pytest

from dataset import main
from datasets.dataset import OfflineDataset, read_dataset
from datasets.importers.alberdice import import_alberdice
from datasets.sources.bridge import generate_bridge
from envs.bridge import GOALS, BridgeEnv
from tests.datasets.games import BRIDGE_MIX, needs_published
from utils.errors import DatasetError

RETURNS = (-1.2904, -1.2591, -1.2355)  # by where the yielding agent makes way


def made(tmp_path: Path, kind: str, episodes: int) -> OfflineDataset:
    generate_bridge(kind, tmp_path / f"{kind}.h5", episodes)
    return read_dataset(tmp_path / f"{kind}.h5")


def routes(dataset: OfflineDataset, first: int) -> list[tuple[float, ...]]:
    """Sequences of places of the episodes from `first` on."""
    offsets = dataset.episode_offsets
    states = [dataset.arrays["state"][offsets[e] : offsets[e + 1]] for e in range(first, dataset.n_episodes)]
    return [tuple(rows.ravel().tolist()) for rows in states]


def returns(dataset: OfflineDataset, first: int) -> np.ndarray:
    sums = np.add.reduceat(dataset.arrays["reward"][:, 0], dataset.episode_offsets[:-1])
    rounded: np.ndarray = sums[first:].round(4)
    return rounded


def test_shortest_routes_have_three_returns_evenly_and_two_modes(tmp_path: Path) -> None:
    dataset = made(tmp_path, "optimal", 600)
    assert dataset.n_transitions == 600 * 8 and dataset.card["counts"]["terminals"] == 600
    values, counts = np.unique(returns(dataset, 0), return_counts=True)
    np.testing.assert_allclose(values, RETURNS, atol=1e-4)
    assert (abs(counts - 200) < 50).all()  # four standard deviations
    first = dataset.arrays["actions"][dataset.episode_offsets[:-1], :, 0]
    assert {tuple(pair) for pair in first.tolist()} == {(3, 3), (4, 4)}
    assert abs((first[:, 0] == 3).mean() - 0.5) < 0.09
    assert len(set(routes(dataset, 0))) == 16


@pytest.mark.parametrize("kind", ["optimal", "mix"])
def test_the_environment_plays_the_same(kind: str, tmp_path: Path) -> None:
    dataset = made(tmp_path, kind, 20)
    env, offsets = BridgeEnv(reward_scalarisation="mean"), dataset.episode_offsets
    for episode in range(dataset.n_episodes):
        env.reset()
        for row in range(offsets[episode], offsets[episode + 1] - 1):
            np.testing.assert_array_equal(env.get_state(), dataset.arrays["state"][row])
            _, reward, terminated, truncated, _ = env.step(dataset.arrays["actions"][row, :, 0])
            assert reward == pytest.approx(dataset.arrays["reward"][row, 0])
            assert terminated == bool(dataset.arrays["terminated"][row])
        assert terminated or truncated
        np.testing.assert_array_equal(env.get_state(), dataset.arrays["state"][offsets[episode + 1] - 1])


def test_a_mix_is_random_first(tmp_path: Path) -> None:
    dataset = made(tmp_path, "mix", 200)
    lengths = np.diff(dataset.episode_offsets) - 1
    assert (lengths[100:] == 8).all() and lengths[:100].mean() > 45
    cut = lengths[:100] == 50
    ends = dataset.episode_offsets[1:101] - 2
    assert (dataset.arrays["reward"][ends] == 0).all()
    assert dataset.arrays["terminated"][ends][cut].sum() < 5  # a step of the limit may be the one that arrives
    home = (dataset.arrays["state"][ends + 1] == [*GOALS[0], *GOALS[0], *GOALS[1], *GOALS[1]]).all(1)
    np.testing.assert_array_equal(home, dataset.arrays["terminated"][ends] == 1)
    actions = dataset.arrays["actions"][: dataset.episode_offsets[100], :, 0]
    shares = np.bincount(actions.ravel(), minlength=5) / actions.size
    np.testing.assert_allclose(shares, 0.2, atol=0.02)


@needs_published
def test_the_published_set_has_the_same_routes(tmp_path: Path) -> None:
    import_alberdice(BRIDGE_MIX, tmp_path / "published.h5")
    published = read_dataset(tmp_path / "published.h5")
    assert set(routes(published, 500)) == set(routes(made(tmp_path, "optimal", 600), 0))
    np.testing.assert_allclose(np.unique(returns(published, 500)), RETURNS, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "episodes", "seed"), [("worst", 2, 0), ("mix", 3, 0), ("optimal", 0, 0), ("mix", 2, -1)]
)
def test_other_sets_are_refused(kind: str, episodes: int, seed: int, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"choose optimal or mix|must be at least 1 and 0, and a mix needs an even"):
        generate_bridge(kind, tmp_path / "bridge.h5", episodes, seed)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "bridge.h5")
    assert main(["generate-bridge", "optimal", "-o", out, "--episodes", "3", "--seed", "4"]) == 0
    assert "3 episodes, 24 transitions" in " ".join(capsys.readouterr().out.split())
    assert read_dataset(out).card["made_by"]["seed"] == 4
    assert main(["generate-bridge", "mix", "-o", out, "--force", "--episodes", "1"]) == 1
    assert "even number" in capsys.readouterr().err
