import numpy as np
import pytest

from datasets.dataset import read_dataset, write_dataset
from tests.datasets.samples import continuous_arrays, continuous_card, discrete_arrays, offsets_of, particle_world


def test_round_trip_is_exact(written):
    path, arrays, offsets = written
    dataset = read_dataset(path)
    assert set(dataset.arrays) == set(arrays)
    for key, array in arrays.items():
        assert dataset.arrays[key].dtype == array.dtype
        assert np.array_equal(dataset.arrays[key], array)
    assert np.array_equal(dataset.episode_offsets, offsets)
    assert dataset.last_action_known.tolist() == [True, False, True]
    assert (dataset.n_episodes, dataset.n_transitions, dataset.n_agents, dataset.max_length) == (3, 9, 3, 5)
    assert dataset.card["counts"]["terminals"] == 1 and dataset.card["counts"]["time_limits"] == 2
    assert dataset.card["reference"] | {"source": ""} == {"random": 159.8, "expert": 516.8, "source": ""}


def test_card_statistics(written):
    path, arrays, offsets = written
    card = read_dataset(path).card
    returns = [arrays["reward"][a:b].mean(1).sum() for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
    assert card["returns"]["mean"] == pytest.approx(np.mean(returns), abs=1e-6)
    assert card["returns"]["std"] == pytest.approx(np.std(returns), abs=1e-6)
    assert np.allclose(card["obs_mean"], arrays["obs"].mean(0), atol=1e-6)
    assert np.allclose(card["obs_std"], arrays["obs"].std(0), atol=1e-6)


def test_discrete_round_trip_and_env_info(tmp_path):
    arrays, offsets, card = discrete_arrays([4, 2])
    write_dataset(tmp_path / "d.h5", arrays, offsets, card)
    dataset = read_dataset(tmp_path / "d.h5")
    assert all(np.array_equal(dataset.arrays[key], array) for key, array in arrays.items())
    assert dataset.env_info() == {
        "state_shape": 7,
        "obs_shape": 4,
        "n_actions": 5,
        "n_agents": 2,
        "episode_limit": 4,
        "action_space": "discrete",
    }
    assert np.allclose(dataset.state_statistics()[0], arrays["state"].mean(0), atol=1e-6)


def test_derivable_state_and_availability_are_not_stored(tmp_path):
    arrays, offsets = continuous_arrays([3, 5])
    n_rows = len(arrays["obs"])
    more = arrays | {"state": arrays["obs"].reshape(n_rows, -1), "avail_actions": np.ones((n_rows, 3, 2))}
    write_dataset(tmp_path / "d.h5", more, offsets, continuous_card())
    dataset = read_dataset(tmp_path / "d.h5")
    assert set(dataset.arrays) == set(arrays)
    assert dataset.card["shapes"]["state"] == 12
    assert dataset.state_statistics()[0].shape == (12,)


def test_hundred_thousand_transitions_fit_eight_megabytes(tmp_path):
    arrays, offsets = particle_world(4000)
    write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card(), last_action_known=True, compression=9)
    # this noise has three unlike rewards a step; Cooperative Navigation's, mostly alike, take 0.6 MB less
    assert (tmp_path / "d.h5").stat().st_size < 8e6
    dataset = read_dataset(tmp_path / "d.h5")
    assert dataset.n_transitions == 100_000
    assert np.abs(dataset.arrays["obs"] - arrays["obs"]).max() <= 1e-6


def test_wide_observations_make_a_card_beyond_hdf5s_usual_attribute(tmp_path):
    arrays, offsets = continuous_arrays([3, 5], n_agents=20, obs_size=200)
    write_dataset(tmp_path / "d.h5", arrays, offsets, continuous_card())
    dataset = read_dataset(tmp_path / "d.h5")
    assert len(str(dataset.card)) > 1 << 16
    assert np.array_equal(dataset.arrays["obs"], arrays["obs"])


def test_offsets_helper():
    assert offsets_of([3, 1]).tolist() == [0, 4, 6]
