import numpy as np
import pytest

from datasets.dataset import write_dataset
from tests.datasets.samples import continuous_arrays, continuous_card, discrete_arrays
from utils.errors import DatasetError


def change(key, row, value):
    def apply(arrays, offsets, card):
        arrays[key] = arrays[key].copy()
        arrays[key][row] = value

    return apply


def drop(key):
    return lambda arrays, offsets, card: (arrays if key in arrays else card).pop(key)


def replace(key, make):
    def apply(arrays, offsets, card):
        arrays[key] = make(arrays.get(key))

    return apply


def check_refusal(folder, harm, message):
    """The writer refuses a sound dataset after `harm` was done to it, and leaves nothing behind."""
    arrays, offsets = continuous_arrays([3, 5, 1])
    card = continuous_card()
    harm(arrays, offsets, card)
    with pytest.raises(DatasetError, match=message):
        write_dataset(folder / "d.h5", arrays, offsets, card)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "harm, message",
    [
        (change("obs", (4, 1, 2), np.nan), "obs holds a value that is not finite.* row 4"),
        (change("reward", (1, 0), np.inf), "reward holds a value that is not finite.* row 1"),
        (change("actions", (2, 0, 1), 1.5), r"actions leaves the dataset card's bounds.* row 2"),
        (change("reward", 3, 1.0), "reward is not 0 on row 3"),
        (change("terminated", 1, 1), "terminated is 1 on row 1"),
        (change("terminated", 2, 7), "terminated must be 0 or 1"),
        (drop("reward"), "lacks 'reward'"),
        (drop("action_low"), "lacks 'action_low'"),
        (drop("environment"), "needs environment"),
        (replace("reward", lambda reward: reward[:-1]), "reward has shape"),
        (replace("obs", lambda obs: obs[:, 0]), "obs has shape"),
        (replace("foo", lambda foo: np.zeros(3)), "'foo' is not an array"),
        (replace("obs", lambda obs: obs.astype(object)), "numbers only"),
        (
            replace("obs", lambda obs: obs.astype(float) * 1e300),
            r"obs is .*e\+\d+ on row 0, too large for float32",
        ),
        (replace("reward", lambda reward: 1e39), "reward is 1e\\+39, too large for float32"),
        (replace("obs", lambda obs: np.where(obs > 2, np.inf, obs)), "obs holds a value that is not finite"),
        (lambda arrays, offsets, card: offsets.__setitem__(1, 0), "episode_offsets"),
        (lambda arrays, offsets, card: card.update(action_high=[1.0]), "all must agree"),
        (lambda arrays, offsets, card: card.update(action_space="both"), "action_space"),
    ],
)
def test_writer_refuses(tmp_path, harm, message):
    check_refusal(tmp_path, harm, message)


def test_discrete_actions_are_checked(tmp_path):
    arrays, offsets, card = discrete_arrays([4, 2])
    arrays["actions"][1, 0] = 5
    with pytest.raises(DatasetError, match="actions is not in 0..4 on row 1"):
        write_dataset(tmp_path / "d.h5", arrays, offsets, card)
    arrays["actions"][1, 0] = 2
    arrays["avail_actions"][1, 0] = [1, 1, 0, 1, 1]
    with pytest.raises(DatasetError, match="not available by avail_actions on row 1"):
        write_dataset(tmp_path / "d.h5", arrays, offsets, card)


RAGGED = [[1.0, 2.0], [1.0]]


@pytest.mark.parametrize(
    "harm, message",
    [
        (replace("reward", lambda reward: RAGGED), "reward cannot be made an array"),
        (replace("obs", lambda obs: None), "obs is of type object"),
        (replace("actions", lambda actions: 1.0), r"actions has shape \(\)"),
        (replace("reward", lambda reward: reward[:, 0]), "reward has shape"),
        (replace("state", lambda state: np.zeros(12)), "state has shape"),
        (replace("avail_actions", lambda available: np.ones((12, 3))), "avail_actions has shape"),
        (replace("obs", lambda obs: obs[:, :0]), "obs has shape .* no size 0"),
        (replace("actions", lambda actions: actions[:, :, :1]), "all must agree"),
        (lambda arrays, offsets, card: arrays.update({1: np.zeros(3)}), "'1' is not an array"),
    ],
)
def test_arrays_of_the_wrong_kind(tmp_path, harm, message):
    check_refusal(tmp_path, harm, message)


@pytest.mark.parametrize(
    "offsets, message",
    [
        ([0.0, 4.0, 10.0, 12.0], "episode_offsets is of type float64"),
        (["0", "12"], "episode_offsets is of type"),
        ([[0, 12]], "episode_offsets must be"),
        (12, "episode_offsets must be"),
        ([0], "episode_offsets must be"),
        ([0, [12]], "episode_offsets cannot be made an array"),
        ([0, 11], r"number of rows \(12\)"),
        (None, "episode_offsets is of type object"),
    ],
)
def test_offsets_of_the_wrong_kind(tmp_path, offsets, message):
    arrays, _ = continuous_arrays([3, 5, 1])
    with pytest.raises(DatasetError, match=message):
        write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card())


@pytest.mark.parametrize(
    "known, message",
    [
        ([True, False], r"last_action_known has shape \(2,\)"),
        ([True], r"last_action_known has shape \(1,\)"),
        (["yes", "no", "no"], "last_action_known is of type"),
        ([2, 0, 1], "last_action_known must be 0 or 1"),
        ([[True], [False, True], []], "last_action_known cannot be made an array"),
    ],
)
def test_last_action_known_of_the_wrong_kind(tmp_path, known, message):
    arrays, offsets = continuous_arrays([3, 5, 1])
    with pytest.raises(DatasetError, match=message):
        write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card(), last_action_known=known)


def test_arguments_of_the_wrong_kind(tmp_path):
    arrays, offsets = continuous_arrays([3])
    with pytest.raises(DatasetError, match="the arrays are of type list"):
        write_dataset(tmp_path / "d.h5", list(arrays.values()), offsets, continuous_card())
    with pytest.raises(DatasetError, match="the dataset card is of type str"):
        write_dataset(tmp_path / "d.h5", arrays, offsets, "card")
    with pytest.raises(DatasetError, match="compression is 'best'"):
        write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card(), compression="best")
