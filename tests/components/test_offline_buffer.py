from types import SimpleNamespace

import numpy as np
import pytest
import torch as th

from benchmarks.buffer_sampling import measure
from components.offline_buffer import EXTRAS, OfflineBuffer
from components.scheme import build_scheme
from tests.components.buffers import OBS, N, dataset, env_info, first_rows, make, stock_mask
from tests.no_device_reads import NoDeviceReads
from utils.errors import DatasetError


def test_transitions_are_consecutive_rows_of_one_episode_with_every_key():
    buffer, arrays, offsets = make([3, 5, 1], window=1)
    batch = buffer.sample(200)
    rows = first_rows(batch)
    assert buffer.n_windows == 9 and set(rows.tolist()) == set(range(12)) - set((offsets[1:] - 1).tolist())
    for step in (0, 1):
        assert th.equal(batch["obs"][:, step], th.from_numpy(arrays["obs"])[rows + step])
        assert th.equal(batch["actions"][:, step], th.from_numpy(arrays["actions"])[rows + step])
        expected = arrays["reward"].mean(1, dtype=np.float64).astype(np.float32)
        assert th.equal(batch["reward"][:, step, 0], th.from_numpy(expected)[rows + step])
    assert th.equal(batch["state"], batch["obs"].flatten(2))
    assert th.equal(batch["actions_onehot"], batch["actions"])
    assert batch["avail_actions"].shape == (200, 2, N, 2) and batch["avail_actions"].all()
    assert batch["filled"].shape == (200, 2, 1) and batch["filled"].all()
    for key, field in buffer.scheme.items():
        assert batch[key].dtype == field.get("dtype", th.float32), key
    part = batch[5:7, :1]  # a real EpisodeBatch
    assert part["obs"].shape == (2, 1, N, OBS) and part["next_action_valid"].shape == (2, 1, 1)
    assert batch[[3, 1]]["reward"].shape == (2, 2, 1)


@pytest.mark.parametrize("window", [1, 2, 3])
def test_windows_never_cross_episodes_and_are_uniform(window):
    buffer, _, offsets = make([3, 7, 4], window=window)
    episode = np.searchsorted(offsets, np.arange(offsets[-1]), side="right") - 1
    rows = buffer.sample(30_000)["obs"][:, :, 0, 0].long().numpy()
    assert np.array_equal(rows, rows[:, :1] + np.arange(window + 1))
    assert np.array_equal(episode[rows], np.broadcast_to(episode[rows[:, :1]], rows.shape))
    counts = np.bincount(rows[:, 0], minlength=offsets[-1])
    counts = counts[counts > 0]
    assert len(counts) == buffer.n_windows == sum(length - window + 1 for length in (3, 7, 4))
    expected = 30_000 / len(counts)
    assert ((counts - expected) ** 2 / expected).sum() < 40  # chi-squared with at most 13 degrees of freedom


def sample_both_episodes(buffer):
    """A batch that holds each of the two episodes: (batch, index of the first, index of the second)."""
    while True:
        batch = buffer.sample(8)
        rows = first_rows(batch).tolist()
        if len(set(rows)) == 2:
            return batch, rows.index(min(rows)), rows.index(max(rows))


def test_short_episode_cut_by_time_has_no_fake_transition():
    # Stock's layout would mark all 4 rows of the 3-step episode filled; its mask would then be [1, 1, 1, 1, 0].
    buffer, *_ = make([3, 5], window=None)
    batch, short, long = sample_both_episodes(buffer)
    assert batch.max_seq_length == 6 and int(batch.max_t_filled()) == 6
    assert batch["filled"][short, :, 0].tolist() == [1, 1, 1, 0, 0, 0]
    assert batch["filled"][long, :, 0].tolist() == [1, 1, 1, 1, 1, 1]
    assert stock_mask(batch)[short].tolist() == [1, 1, 1, 0, 0]
    assert stock_mask(batch)[long].tolist() == [1, 1, 1, 1, 1]
    # the final row is there to bootstrap from, everything behind it is zero
    assert batch["obs"][short, :, 0, 0].tolist() == [0, 1, 2, 3, 0, 0]
    assert batch["next_action_valid"][short, :, 0].tolist() == [1, 1, 1, 0, 0, 0]
    assert batch["state"][short, 4:].eq(0).all() and batch["reward"][short, 3:].eq(0).all()


def test_short_episode_with_a_terminal_is_masked_by_it():
    buffer, *_ = make([3, 5], window=None, terminal=[0])
    batch, short, long = sample_both_episodes(buffer)
    assert batch["filled"][short, :, 0].tolist() == [1, 1, 1, 1, 0, 0]
    assert batch["terminated"][short, :, 0].tolist() == [0, 0, 1, 0, 0, 0]
    assert stock_mask(batch)[short].tolist() == [1, 1, 1, 0, 0]
    assert stock_mask(batch)[long].tolist() == [1, 1, 1, 1, 1]


def test_a_batch_is_trimmed_to_its_longest_episode_which_stays_whole():
    buffer, *_ = make([3, 5], window=None)
    seen = set()
    for _ in range(30):
        batch = buffer.sample(2)
        longest = {0: 4, 4: 6}[int(first_rows(batch).max())]
        assert batch.max_seq_length == longest == int(batch.max_t_filled())
        seen.add(longest)
    assert seen == {4, 6}


def test_a_window_longer_than_an_episode_pads_it():
    buffer, *_ = make([2, 6], window=4)
    assert buffer.n_windows == 1 + 3
    batch = buffer.sample(64)
    assert batch.max_seq_length == 5
    short = first_rows(batch).tolist().index(0)
    assert stock_mask(batch)[short].tolist() == [1, 1, 0, 0]
    assert set(map(tuple, stock_mask(batch).tolist())) == {(1, 1, 0, 0), (1, 1, 1, 1)}


def test_next_action_valid():
    buffer, _, offsets = make([2, 3], window=1, known=[True, False])
    batch = buffer.sample(200)
    valid = dict(zip(first_rows(batch).tolist(), batch["next_action_valid"][:, 0, 0].tolist(), strict=True))
    assert valid == {0: 1, 1: 1, 3: 1, 4: 1, 5: 0}  # row 1 leads to a final row whose action is known, row 5 to none
    final = th.isin(first_rows(batch) + 1, th.from_numpy(offsets[1:] - 1))
    assert batch["next_action_valid"][final, 1].eq(0).all()


@pytest.mark.parametrize("window", [1, None])
def test_extras(window):
    buffer, arrays, offsets = make([3, 5], window=window, extras=EXTRAS)
    batch = buffer.sample(50)
    real = batch["filled"].squeeze(-1).bool()
    rows = batch["obs"][..., 0, 0].long()  # (B, T)
    episode = th.from_numpy(np.searchsorted(offsets, rows[:, 0].numpy(), side="right") - 1)
    start = th.from_numpy(offsets)[episode]
    assert th.equal(batch["init_obs"], th.from_numpy(arrays["obs"])[start])
    assert th.equal(batch["init_state"], th.from_numpy(arrays["obs"])[start].flatten(1))
    time = rows - start.unsqueeze(1)
    previous = th.from_numpy(arrays["actions"])[(rows - 1).clamp(min=0)] * (time > 0)[..., None, None]
    assert th.equal(batch["prev_actions_onehot"][real], previous[real])
    assert batch[:3]["init_obs"].shape == (3, N, OBS)


@pytest.mark.parametrize("window", [1, 2, None])
def test_a_part_samples_from_its_episodes_only(window):
    whole, arrays, offsets = make([3, 5, 4, 2], window=window)
    buffer = whole.part(np.array([1, 3]))
    batch = buffer.batch(th.arange(buffer.n_windows))
    rows = batch["obs"][..., 0, 0].long()[batch["filled"].squeeze(-1).bool()]
    held = {*range(offsets[1], offsets[2]), *range(offsets[3], offsets[4])}
    assert set(rows.tolist()) <= held and len(set(rows.tolist())) > 4
    assert {int(row) for row in buffer.sample(200)["obs"][:, 0, 0, 0]} <= held
    starts = buffer.batch(buffer.first_windows())["obs"][:, 0, 0, 0]
    assert starts.tolist() == [offsets[1], offsets[3]]
    every = whole.part(np.arange(4))
    assert th.equal(whole.sample(9)["obs"], every.sample(9)["obs"])


@pytest.mark.parametrize("how, expected", [("sum", [6.0]), ("mean", [2.0]), ("agent0", [1.0]), (None, [1.0, 2.0, 3.0])])
def test_reward_scalarisations(how, expected):
    buffer, *_ = make([3, 5], window=1, reward=how)
    batch = buffer.sample(50)
    rows = first_rows(batch).float()
    assert th.allclose(batch["reward"][:, 0], rows.unsqueeze(1) * th.tensor(expected))


def test_discrete_actions_with_stored_state_and_availability():
    n_rows = 4 + 6
    available = np.random.default_rng(0).integers(0, 2, (n_rows, N, 5)).astype(np.uint8)
    state = np.arange(n_rows * 7, dtype=np.float32).reshape(n_rows, 7)
    more = {"avail_actions": available, "state": state}
    buffer, arrays, _ = make(
        [3, 5], window=None, discrete=True, more=more, extras=("init_state", "prev_actions_onehot")
    )
    batch, short, long = sample_both_episodes(buffer)
    assert batch["actions"].dtype == th.long and batch["avail_actions"].dtype == th.int
    assert th.equal(batch["actions_onehot"][long].argmax(-1), batch["actions"][long, ..., 0])
    assert th.equal(batch["avail_actions"][long], th.from_numpy(available[4:]).int())
    assert batch["avail_actions"][short, 4:].all() and batch["actions_onehot"][short, 4:].eq(0).all()
    assert th.equal(batch["state"][long], th.from_numpy(state[4:]))
    assert th.equal(batch["init_state"][long], th.from_numpy(state[4]))
    assert batch["prev_actions_onehot"][long, 0].eq(0).all()
    assert th.equal(batch["prev_actions_onehot"][long, 1:], batch["actions_onehot"][long, :-1])


@pytest.mark.parametrize("window", [1, 3, None])
def test_the_sampler_resumes_its_stream(window):
    one, *_ = make([3, 5, 4], window=window, seed=3)
    one.sample(10)
    state = one.state_dict()
    expected = [one.sample(10) for _ in range(3)]
    other, *_ = make([3, 5, 4], window=window, seed=8)
    other.load_state_dict(state)
    for batch in expected:
        again = other.sample(10)
        assert all(th.equal(batch[key], again[key]) for key in one.scheme)


def test_sampling_leaves_the_global_streams_alone():
    buffer, *_ = make([3, 5], window=1)
    th.manual_seed(0)
    np.random.seed(0)
    buffer.sample(100)
    drawn = th.rand(1), np.random.rand()
    th.manual_seed(0)
    np.random.seed(0)
    assert (th.rand(1), np.random.rand()) == drawn


def test_seeding_the_global_generators_repeats_no_batch():
    """As an evaluation may, and does in the codes of OMAR and CFCQL."""
    drawn = []
    for reseeds in (False, True):
        buffer, *_ = make([20], window=1)
        for _ in range(3):
            if reseeds:
                np.random.seed(100)
                th.manual_seed(100)
            drawn.append(buffer.sample(8)["obs"].clone())
    assert not th.equal(drawn[3], drawn[4])
    assert all(th.equal(first, second) for first, second in zip(drawn[:3], drawn[3:], strict=True))


def test_drawing_windows_never_waits_for_the_device():
    buffer, _, _ = make([5, 7, 4], window=2, extras=EXTRAS)
    with NoDeviceReads():
        buffer.sample(16)


def test_samples_are_copies():
    buffer, *_ = make([3], window=3)
    buffer.sample(1)["obs"].fill_(-1)
    assert buffer.sample(1)["obs"].min() == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(DatasetError, match="no extra 'foo'"):
        make([3], window=1, extras=("foo",))
    with pytest.raises(DatasetError, match="window is 0"):
        make([3], window=0)
    with pytest.raises(DatasetError, match="reward_scalarisation is 'max'"):
        make([3], window=1, reward="max")
    arrays, offsets = dataset([3])
    settings = {"window": 1, "reward_scalarisation": "mean", "seed": 0}
    for info, message in (
        (env_info() | {"obs_shape": 5}, "obs has shape"),
        (env_info(state=9), "holds no state"),
        (env_info(discrete=True), "actions has shape"),
    ):
        parts = build_scheme(info, SimpleNamespace(common_reward=True))
        with pytest.raises(DatasetError, match=message):
            OfflineBuffer(arrays, offsets, np.ones(1, bool), *parts, **settings)


def test_a_memory_mapped_dataset_samples_the_same(tmp_path):
    arrays, offsets = dataset([3, 5])
    mapped = {}
    for key, array in arrays.items():
        np.save(tmp_path / f"{key}.npy", array)
        mapped[key] = np.load(tmp_path / f"{key}.npy", mmap_mode="c")
    parts = build_scheme(env_info(), SimpleNamespace(common_reward=True))
    settings = {"window": 1, "reward_scalarisation": "mean", "seed": 0}
    one = OfflineBuffer(arrays, offsets, np.ones(2, bool), *parts, **settings).sample(20)
    other = OfflineBuffer(mapped, offsets, np.ones(2, bool), *parts, **settings).sample(20)
    assert all(th.equal(one[key], other[key]) for key in one.scheme)


@pytest.mark.skipif(not th.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("window, lengths", [(1, [3, 5]), (None, [4, 4]), (None, [3, 5])])
def test_on_a_gpu_rows_and_batches_stay_there(window, lengths):
    arrays, offsets = dataset(lengths)
    parts = build_scheme(env_info(), SimpleNamespace(common_reward=True))
    settings = {"window": window, "reward_scalarisation": "mean", "seed": 0, "device": "cuda", "extras": EXTRAS}
    buffer = OfflineBuffer(arrays, offsets, np.ones(2, bool), *parts, **settings)
    state = buffer.state_dict()
    batch = buffer.sample(20)
    assert all(batch[key].is_cuda for key in buffer.scheme)
    buffer.load_state_dict(state)
    assert th.equal(buffer.sample(20)["obs"], batch["obs"])


def test_sampling_is_ten_times_faster_than_stocks_way():
    """Other programs take memory's bandwidth from the one more than from the other: the best of five measurements."""
    measured = (measure(n_episodes=2000, repeats=15) for _ in range(5))
    assert any(stock / ours >= 10 for stock, ours in measured)
