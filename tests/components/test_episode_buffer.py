from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch as th

from components.episode_buffer import EpisodeBatch, ReplayBuffer
from components.scheme import Identity, build_scheme
from components.transforms import OneHot
from learners.losses import transition_mask

DISCRETE = {"state_shape": 4, "obs_shape": 3, "n_actions": 5, "n_agents": 2, "episode_limit": 6}
CONTINUOUS = DISCRETE | {"n_actions": 2, "action_space": "continuous", "action_dim": 2}
ARGS = SimpleNamespace(common_reward=True)


def batch(env_info: dict[str, Any] = DISCRETE, size: int = 3, kind: type[EpisodeBatch] = EpisodeBatch) -> Any:
    scheme, groups, preprocess = build_scheme(env_info, ARGS)
    return kind(scheme, groups, size, env_info["episode_limit"] + 1, preprocess=preprocess)


def test_shapes_are_stocks() -> None:
    b = batch()
    assert b["state"].shape == (3, 7, 4) and b["obs"].shape == (3, 7, 2, 3)
    assert b["actions"].shape == (3, 7, 2, 1) and b["actions"].dtype == th.long
    assert b["actions_onehot"].shape == b["avail_actions"].shape == (3, 7, 2, 5)
    assert b["reward"].shape == b["terminated"].shape == b["filled"].shape == (3, 7, 1)
    assert b.scheme["actions_onehot"]["vshape"] == (5,)


def test_continuous_actions_are_their_own_encoding() -> None:
    b = batch(CONTINUOUS)
    values = th.rand(3, 2, 2)
    b.update({"actions": values.unsqueeze(1)}, ts=2)
    assert b["actions"].dtype == th.float32
    assert th.equal(b["actions_onehot"][:, 2], values)


def test_update_encodes_and_marks_filled() -> None:
    b = batch()
    b.update({"actions": th.tensor([[1, 4]] * 3)}, ts=0)
    assert b["actions_onehot"][0, 0].argmax(-1).tolist() == [1, 4]
    assert b["filled"][:, 0].all() and not b["filled"][:, 1:].any()
    b.update({"reward": [(2.0,)] * 3}, ts=1, mark_filled=False)
    assert not b["filled"][:, 1].any() and b["reward"][:, 1].eq(2).all()


def test_update_refuses_unknown_keys_and_shapes_that_would_mix_dimensions() -> None:
    b = batch()
    with pytest.raises(KeyError, match="velocity is not in this batch"):
        b.update({"velocity": th.zeros(3, 1)}, ts=0)
    with pytest.raises(ValueError, match="unsafe reshape of 'obs'"):
        b.update({"obs": th.zeros(3, 3, 2)}, ts=0)  # (B, O, N) instead of (B, N, O)


def test_slices_keep_the_batch_interface() -> None:
    b = batch()
    b.update({"state": th.arange(12.0).view(3, 4)}, ts=1)
    part = b[[0, 2], 1:3]
    assert part.batch_size == 2 and part.max_seq_length == 2
    assert part["state"][1, 0].tolist() == [8, 9, 10, 11]
    assert b[1]["state"].shape == (1, 7, 4) and b[np.array([2])].batch_size == 1
    assert set(b[("state", "obs")].scheme) == {"state", "obs"}
    with pytest.raises(IndexError, match="contiguous"):
        b[0:1, [0, 2]]
    with pytest.raises(ValueError, match="'nothing' is not in this batch"):
        b["nothing"]


def test_max_t_filled_is_a_slice_bound() -> None:
    b = batch()
    b.update({"reward": [(0.0,)]}, bs=slice(0, 1), ts=slice(0, 1))
    b.update({"reward": [[(0.0,)] * 4]}, bs=slice(1, 2), ts=slice(0, 4))
    assert b[:, : b.max_t_filled()].max_seq_length == 4


def test_reserved_key_is_refused() -> None:
    with pytest.raises(ValueError, match="reserved"):
        EpisodeBatch({"filled": {"vshape": 1}}, {}, 1, 1)


def test_replay_buffer_is_a_ring_whose_samples_are_copies() -> None:
    buffer = batch(size=4, kind=ReplayBuffer)
    for value in range(3):
        pair = batch(size=2)
        pair.update({"state": th.full((2, 7, 4), float(value))})
        buffer.insert_episode_batch(pair)
    assert buffer.episodes_in_buffer == 4 and buffer.buffer_index == 2
    assert buffer["state"][:, 0, 0].tolist() == [2, 2, 1, 1]
    assert buffer.can_sample(4) and not buffer.can_sample(5)
    sample = buffer.sample(4)  # stock returns views here, so that a learner's write corrupts the buffer
    sample["state"].zero_()
    assert buffer["state"].any()
    with pytest.raises(ValueError, match="cannot sample 5 episodes"):
        buffer.sample(5)


def test_replay_buffer_splits_an_insert_that_wraps_and_clears_what_it_replaces() -> None:
    buffer = batch(size=3, kind=ReplayBuffer)
    long, short = batch(size=2), batch(size=2)
    long.update({"state": th.ones(2, 7, 4)})
    short.update({"state": th.full((2, 1, 4), 5.0)}, ts=slice(0, 1))
    buffer.insert_episode_batch(long)
    buffer.insert_episode_batch(short[:, 0:1])
    assert buffer["state"][:, 0, 0].tolist() == [5, 1, 5]
    assert buffer["filled"][0].sum() == 1  # nothing of the longer episode it replaced is left


def ragged_buffer(terminal: bool) -> ReplayBuffer:
    """Two episodes, of 3 and of 6 steps; the state of row t of episode e is 10 e + t, the action before it t - 1."""
    buffer = batch(size=5, kind=ReplayBuffer)
    for episode, steps in enumerate((3, 6)):
        one = batch(size=1)
        times = th.arange(steps + 1.0)
        one.update({"state": (10 * episode + times).view(1, -1, 1).expand(1, -1, 4)}, ts=slice(0, steps + 1))
        one.update({"actions": times.long().remainder(5).view(1, -1, 1, 1).expand(1, -1, 2, 1)}, ts=slice(0, steps + 1))
        one.update({"reward": th.ones(1, steps, 1)}, ts=slice(0, steps))
        if terminal:
            one.update({"terminated": [[(1,)]]}, ts=steps - 1)
        buffer.insert_episode_batch(one)
    return buffer


def test_windows_come_from_one_episode_and_every_transition_is_equally_likely() -> None:
    buffer = ragged_buffer(terminal=False)
    assert buffer.n_transitions == 9
    np.random.seed(0)
    drawn = buffer.sample_windows(9000, 1)
    assert drawn.max_seq_length == 2 and drawn["filled"].all()
    starts = drawn["state"][:, 0, 0]
    assert th.equal(drawn["state"][:, 1, 0], starts + 1) and drawn["reward"][:, 0].eq(1).all()
    values, counts = starts.unique(return_counts=True)
    assert values.tolist() == [0, 1, 2, 10, 11, 12, 13, 14, 15]
    assert counts.min() > 850 and counts.max() < 1150
    before = drawn["prev_actions_onehot"][:, 0, 0]  # (B, A)
    assert not before[starts.remainder(10) == 0].any()
    later = starts.remainder(10) > 0
    assert th.equal(before[later].argmax(-1), (starts[later].remainder(10).long() - 1).remainder(5))


@pytest.mark.parametrize("terminal", [False, True])
def test_windows_longer_than_an_episode_hold_it_whole_without_a_transition_into_the_padding(terminal: bool) -> None:
    drawn = ragged_buffer(terminal).sample_windows(200, 5)
    short = drawn["state"][:, 0, 0] == 0
    assert short.any() and (~short).any()
    mask = transition_mask(drawn)[..., 0]
    assert th.equal(mask[short], th.tensor([[1.0, 1, 1, 0, 0]]).expand(int(short.sum()), -1))
    assert mask[~short].all() and not drawn["reward"][short, 3:].any()


def test_a_continued_replay_buffer_holds_what_the_first_held() -> None:
    first, second = ragged_buffer(terminal=True), batch(size=5, kind=ReplayBuffer)
    second.load_state_dict(first.state_dict())
    np.random.seed(1)
    one = first.sample_windows(20, 2)
    np.random.seed(1)
    other = second.sample_windows(20, 2)
    assert all(th.equal(one[key], other[key]) for key in one.data.transition_data)
    assert (second.buffer_index, second.n_transitions) == (first.buffer_index, first.n_transitions)
    with pytest.raises(ValueError, match="buffer_size=1"):
        batch(size=1, kind=ReplayBuffer).load_state_dict(first.state_dict())


def test_a_replay_buffers_state_of_another_kind_is_refused() -> None:
    state = ragged_buffer(terminal=True).state_dict()
    held, obs = len(state["rows"]), state["transition"]["obs"]
    others = [{"index": index} for index in (-1, 5, 1.0, True, None)]
    others += [
        {"rows": rows} for rows in (state["rows"] - 100, state["rows"] + 100, state["rows"].float(), th.ones(1, held))
    ]
    for changed in (obs[:1], obs[:, :2], obs.double(), obs[None]):
        others.append({"transition": state["transition"] | {"obs": changed}})
    others.append({"transition": state["transition"] | {"more": obs}})
    others.append({"transition": {key: value for key, value in state["transition"].items() if key != "obs"}})
    for other in others:
        with pytest.raises(ValueError, match="the replay buffer"):
            batch(size=5, kind=ReplayBuffer).load_state_dict(state | other)


@pytest.mark.skipif(not th.cuda.is_available(), reason="needs a CUDA device")
def test_a_replay_buffer_on_a_gpu_is_saved_from_and_continued_through_the_cpu() -> None:
    scheme, groups, preprocess = build_scheme(DISCRETE, ARGS)
    buffers = [ReplayBuffer(scheme, groups, 3, 7, preprocess=preprocess, device="cuda") for _ in range(2)]
    buffers[0].insert_episode_batch(batch())
    state = buffers[0].state_dict()
    assert not any(value.is_cuda for store in ("transition", "episode") for value in state[store].values())
    buffers[1].load_state_dict(state)
    assert buffers[1]["obs"].is_cuda and th.equal(buffers[0]["obs"], buffers[1]["obs"])


def test_transforms() -> None:
    assert OneHot(3).transform(th.tensor([[2], [0]])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert OneHot(3).infer_output_info((1,), th.long) == ((3,), th.float32)
    assert Identity().infer_output_info((2,), th.float32) == ((2,), th.float32)
