"""XOR sets, generated and published, and what factored methods earn on them: exact arithmetic, no training."""

from pathlib import Path

import numpy as np
import pytest

from dataset import main
from datasets.dataset import OfflineDataset, read_dataset
from datasets.importers.alberdice import import_alberdice
from datasets.sources.xor import generate_xor
from envs.matrix_game import PAYOFFS
from tests.datasets.games import XOR_BUFFERS, needs_published
from utils.errors import DatasetError

XOR = PAYOFFS["xor"]


def shares(dataset: OfflineDataset) -> np.ndarray:
    """How often each joint action was taken, (2, 2)."""
    steps = np.ones(len(dataset.arrays["actions"]), bool)
    steps[dataset.episode_offsets[1:] - 1] = False
    actions = dataset.arrays["actions"][steps, :, 0]
    np.testing.assert_array_equal(dataset.arrays["reward"][steps], XOR[actions[:, 0], actions[:, 1], None].repeat(2, 1))
    counts = np.zeros((2, 2))
    np.add.at(counts, (actions[:, 0], actions[:, 1]), 1)
    return counts / counts.sum()


def cloned(joint: np.ndarray) -> float:
    """pi_1^T R pi_2 of the marginals of joint shares: the expected reward a step of factored behaviour cloning."""
    return float(joint.sum(1) @ XOR @ joint.sum(0))


def additive_fit(joint: np.ndarray) -> tuple[np.ndarray, float]:
    """Q(a, b) = q_1(a) + q_2(b), (2, 2), of least squared error under joint shares, and that error's root mean."""
    first, second = np.indices((2, 2))
    design = np.concatenate([np.eye(2)[first.ravel()], np.eye(2)[second.ravel()]], axis=1)  # (4, q_1(A B) q_2(A B))
    root = np.sqrt(joint.ravel())
    solution = np.linalg.lstsq(design * root[:, None], XOR.ravel() * root, rcond=None)[0]
    fit = (design @ solution).reshape(2, 2)
    return fit, float(np.sqrt((joint * (fit - XOR) ** 2).sum()))


def greedy(fit: np.ndarray) -> tuple[int, int]:
    """The joint action of agents that each take their best part of an additive value."""
    first, second = np.unravel_index(fit.argmax(), fit.shape)
    return int(first), int(second)


def generated(tmp_path: Path, names: str, episodes: int = 60) -> OfflineDataset:
    generate_xor(names, tmp_path / "xor.h5", episodes)
    return read_dataset(tmp_path / "xor.h5")


@pytest.mark.parametrize(
    ("names", "joint_shares", "value"),
    [
        ("AB", [[0, 1], [0, 0]], 1.0),
        ("AB,BA", [[0, 0.5], [0.5, 0]], 0.0),
        ("AA,AB,BA", [[1 / 3, 1 / 3], [1 / 3, 0]], 2 / 9),
        ("random", [[0.25, 0.25], [0.25, 0.25]], 0.0),
    ],
)
def test_generated_sets_and_what_factored_cloning_earns(
    names: str, joint_shares: list[list[float]], value: float, tmp_path: Path
) -> None:
    dataset = generated(tmp_path, names)
    joint = shares(dataset)
    np.testing.assert_allclose(joint, joint_shares, atol=1e-15)
    assert cloned(joint) == pytest.approx(value, abs=1e-15)
    assert dataset.n_episodes == 60 and dataset.max_length == 50
    assert not dataset.arrays["terminated"].any() and dataset.last_action_known.all()
    final = dataset.arrays["actions"][dataset.episode_offsets[1:] - 1, :, 0]
    assert (joint[final[:, 0], final[:, 1]] > 0).all()
    assert (dataset.arrays["obs"] == [0, 1, 0, 1]).all()
    assert dataset.card["environment"] == {"env": "matrix_game", "env_args": {"key": "xor"}}


def test_an_additive_value_is_greedy_for_the_worst_of_three_and_the_second_worst_of_all(tmp_path: Path) -> None:
    fit, error = additive_fit(shares(generated(tmp_path, "AA,AB,BA")))
    assert error < 1e-9 and fit[1, 1] == pytest.approx(2)  # exact where there is data, and wrong where there is none
    assert greedy(fit) == (1, 1) and XOR[greedy(fit)] == -2
    fit, error = additive_fit(shares(generated(tmp_path, "random")))
    np.testing.assert_allclose(fit, [[1, 0], [0, -1]], atol=1e-9)
    assert error == pytest.approx(1.0) and greedy(fit) == (0, 0) and XOR[greedy(fit)] == 0


def test_two_modes_leave_an_additive_value_undecided(tmp_path: Path) -> None:
    fit, error = additive_fit(shares(generated(tmp_path, "AB,BA")))
    assert error < 1e-9 and fit[0, 1] == pytest.approx(fit[1, 0]) == pytest.approx(1)


def test_cloning_the_published_random_set() -> None:
    """Its shares as listed (the file is not among those at hand)."""
    joint = np.array([[0.254, 0.256], [0.242, 0.248]])
    assert cloned(joint) == pytest.approx(0.007, abs=0.002)
    assert greedy(additive_fit(joint)[0]) == (0, 0)


@needs_published
@pytest.mark.parametrize(("name", "value", "tolerance"), [("02_20", 0.0, 5e-4), ("00_02_20", 0.22, 5e-3)])
def test_published_sets(name: str, value: float, tolerance: float, tmp_path: Path) -> None:
    import_alberdice(XOR_BUFFERS / f"buffer_{name}", tmp_path / "xor.h5")
    joint = shares(read_dataset(tmp_path / "xor.h5"))
    assert cloned(joint) == pytest.approx(value, abs=tolerance)
    fit, error = additive_fit(joint)
    assert error < 1e-9
    if name == "00_02_20":
        assert greedy(fit) == (1, 1)


def test_seeds_give_other_orders_and_the_same_shares(tmp_path: Path) -> None:
    generate_xor("AA,AB,BA", tmp_path / "a.h5", 10, seed=1)
    generate_xor("AA,AB,BA", tmp_path / "b.h5", 10, seed=2)
    one, other = read_dataset(tmp_path / "a.h5"), read_dataset(tmp_path / "b.h5")
    assert not np.array_equal(one.arrays["actions"], other.arrays["actions"])
    assert abs(shares(one) - shares(other)).max() < 1e-12  # 500 steps by three: 167, 167, 166


@pytest.mark.parametrize("names", ["", "A", "AC", "AB,AB", "AB;BA", "ab"])
def test_other_sets_are_refused(names: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no set of the XOR game's joint actions; name each once"):
        generate_xor(names, tmp_path / "xor.h5")


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "xor.h5")
    assert main(["generate-xor", "AB,BA", "-o", out, "--episodes", "3", "--seed", "4"]) == 0
    assert "3 episodes, 150 transitions, return per agent 50.00" in " ".join(capsys.readouterr().out.split())
    assert read_dataset(out).card["made_by"]["seed"] == 4
    assert main(["generate-xor", "AB", "-o", out]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["generate-xor", "AB", "-o", out, "--force", "--episodes", "0"]) == 1
    assert "--episodes is 0" in capsys.readouterr().err
