import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.columns import MAX_ERROR, decode, encode, episode_numbers, max_error
from tests.datasets.samples import offsets_of, particle_world


def decoded(code, offsets):
    return decode(code.stored, code.per_episode, code.coefficients, episode_numbers(offsets))


def test_particle_world_keeps_only_velocities_and_positions():
    arrays, offsets = particle_world(200)
    code = encode(arrays["obs"], offsets)
    assert code.stored.shape[0] == 12  # velocity and position of three agents
    assert code.per_episode.shape == (6, 200)  # three landmarks
    assert np.abs(decoded(code, offsets) - arrays["obs"].reshape(-1, 54)).max() <= MAX_ERROR


def test_noise_is_left_as_it_is():
    values = np.random.default_rng(0).normal(size=(500, 3, 6)).astype(np.float32)
    assert encode(values, offsets_of([24] * 20)) is None


def test_nearly_dependent_columns_are_kept():
    rng = np.random.default_rng(0)
    one = rng.normal(size=1000)
    values = np.stack([one, one + 1e-4 * rng.normal(size=1000), np.zeros(1000)], 1).astype(np.float32)
    code = encode(values, offsets_of([99] * 10))
    assert len(code.stored) == 2
    assert np.array_equal(decoded(code, offsets_of([99] * 10)), values)


def test_copies_are_found_among_nearly_dependent_columns():
    """Six agents see one standardised state, whose entries sum to zero, with their index behind."""
    rng = np.random.default_rng(0)
    index = np.broadcast_to(np.eye(6), (1000, 6, 6))
    seen = np.concatenate([np.repeat(rng.normal(size=(1000, 1, 17)), 6, axis=1), index], axis=2)  # (R, N, S+N)
    values = ((seen - seen.mean(2, keepdims=True)) / seen.std(2, keepdims=True)).astype(np.float32)
    code = encode(values, offsets_of([99] * 10))
    assert len(code.stored) <= 17 + 2  # the state, and what stands for 0 and for 1
    assert np.abs(decoded(code, offsets_of([99] * 10)) - values.reshape(1000, -1)).max() <= max_error(values)


def test_a_combination_that_breaks_on_one_row_is_not_used():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(100_000, 2)).astype(np.float32)
    values = np.concatenate([values, values[:, :1] - values[:, 1:]], axis=1)
    offsets = offsets_of([99] * 1000)
    assert len(encode(values, offsets).stored) == 2
    values[77_777, 2] += 1e-3
    assert encode(values, offsets) is None


def test_a_large_fill_value_does_not_join_columns_that_share_it():
    """Two positions say 1e8 where the agent sees nothing: in all other rows they have nothing to do with each other."""
    rng = np.random.default_rng(0)
    values = rng.uniform(-1, 1, (1000, 2)).astype(np.float32)
    values[rng.random(1000) < 0.1] = 1e8
    assert encode(values, offsets_of([99] * 10)) is None
    code = encode(np.concatenate([values, values[:, :1] + values[:, 1:]], axis=1), offsets_of([99] * 10))
    assert len(code.stored) == 2  # what does follow in every row is found


def test_columns_in_small_units_are_no_zeros():
    rng = np.random.default_rng(0)
    small = 1e-7 * rng.uniform(-1, 1, 1000)
    values = np.stack([rng.normal(size=1000), small, np.zeros(1000)], axis=1).astype(np.float32)
    code = encode(values, offsets_of([99] * 10))
    assert len(code.stored) == 2  # only the zeros are left out
    assert np.array_equal(decoded(code, offsets_of([99] * 10)), values)


def test_a_difference_of_large_positions_is_held_to_its_own_rounding():
    """`near` was computed before the positions were rounded, so that it holds more than their difference."""
    rng = np.random.default_rng(0)
    one, near = 1e6 * rng.normal(size=1000), rng.normal(size=1000)
    values = np.stack([one, one + near, near], axis=1).astype(np.float32)
    assert encode(values, offsets_of([99] * 10)) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(0, 6), st.integers(0, 3), st.integers(1, 12))
def test_any_mixture_comes_back_within_the_bound(seed, n_free, n_derived, n_constant, max_steps):
    rng = np.random.default_rng(seed)
    offsets = offsets_of(rng.integers(1, max_steps + 1, size=12).tolist())
    n_rows = int(offsets[-1])
    free = rng.normal(size=(n_rows, n_free)) * 10 ** rng.uniform(-3, 3)
    constant = rng.normal(size=(12, n_constant))[episode_numbers(offsets)]
    derived = np.concatenate([free, constant], 1) @ rng.integers(-2, 3, (n_free + n_constant, n_derived))
    values = np.concatenate([free, constant, derived], 1)[:, rng.permutation(n_free + n_constant + n_derived)]
    values = values.astype(np.float32)
    code = encode(values, offsets)
    if code is not None:
        assert code.stored.shape[0] < values.shape[1]
        errors = np.abs(decoded(code, offsets).astype(float) - values).max(0)
        assert (errors <= [max_error(column) for column in values.T]).all()


def test_episode_numbers():
    assert episode_numbers(offsets_of([1, 3])).tolist() == [0, 0, 1, 1, 1, 1]
    assert episode_numbers(offsets_of([1, 3]), 1, 3).tolist() == [0, 1]
