"""Windows that begin earlier, to warm up a recurrent state: what is learned from, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st

from components.offline_buffer import EXTRAS
from learners.losses import transition_mask
from tests.components.buffers import make, stock_mask
from utils.errors import DatasetError

LENGTHS = st.lists(st.integers(1, 7), min_size=1, max_size=4)


def learned_rows(batch: Any) -> list[list[int]]:
    """The dataset's rows that each window learns from."""
    mask = transition_mask(batch).squeeze(-1)
    rows = batch["obs"][:, :-1, 0, 0].long()
    return [line[keep > 0].tolist() for line, keep in zip(rows, mask, strict=True)]


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, window=st.integers(1, 5), burn_in=st.integers(1, 9), data=st.data())
def test_the_same_transitions_are_learned_with_and_without(
    lengths: list[int], window: int, burn_in: int, data: st.DataObject
) -> None:
    """From one seed, window by window: so every transition is as likely as without a burn-in."""
    terminal = data.draw(st.lists(st.sampled_from(range(len(lengths))), unique=True))
    plain, *_ = make(lengths, window=window, terminal=terminal, seed=1)
    warmed, *_ = make(lengths, window=window, burn_in=burn_in, terminal=terminal, seed=1)
    assert plain.n_windows == warmed.n_windows
    one, other = plain.sample(64), warmed.sample(64)
    assert other["obs"].shape[1] == burn_in + window + 1
    assert learned_rows(one) == learned_rows(other)
    # without `learned` (stock's learners) a window also counts its warm-up rows, and never its final row or padding
    counted = stock_mask(other)
    assert (counted >= other["learned"][:, :-1, 0]).all()
    assert (counted.sum(1) == (other["learned"].squeeze(-1) * th.arange(1, burn_in + window + 2)).amax(1)).all()


@settings(max_examples=40, deadline=None)
@given(lengths=LENGTHS, window=st.integers(1, 4), burn_in=st.integers(1, 9), known=st.booleans())
def test_rows_agree_with_the_dataset(lengths: list[int], window: int, burn_in: int, known: bool) -> None:
    buffer, arrays, offsets = make(lengths, window=window, burn_in=burn_in, known=known, extras=EXTRAS)
    batch = buffer.sample(64)
    learned = batch["learned"].squeeze(-1)
    for b in range(64):
        first_learned = int(learned[b].argmax())
        rows = batch["obs"][b, :, 0, 0].long()
        s, n_learned = int(rows[first_learned]), int(learned[b].sum())
        episode = int(np.searchsorted(offsets, s, side="right")) - 1
        start, end = int(offsets[episode]), int(offsets[episode + 1])
        begin = max(start, s - burn_in)
        length = s - begin + n_learned + 1
        assert n_learned == min(window, end - 1 - s) and first_learned == s - begin
        expected = th.arange(begin, begin + length)
        assert th.equal(rows[:length], expected) and not batch["obs"][b, length:].any()
        assert not batch["filled"][b, length:].any() and not learned[b, length - 1 :].any()
        assert th.equal(batch["actions"][b, :length], th.from_numpy(arrays["actions"])[expected])
        assert batch["init_obs"][b].eq(start).all()
        before = arrays["actions"][begin - 1] if begin > start else np.zeros_like(arrays["actions"][0])
        assert th.equal(batch["prev_actions_onehot"][b, 0], th.from_numpy(before))
        valid = batch["next_action_valid"][b, :length, 0]
        assert th.equal(valid, ((expected < end - 2) | ((expected == end - 2) & known)).float())


def test_every_transition_is_equally_likely() -> None:
    buffer, _, offsets = make([3, 5, 1], window=1, burn_in=2)
    rows = th.tensor(sum(learned_rows(buffer.sample(30_000)), []))
    counts = np.bincount(rows.numpy(), minlength=int(offsets[-1]))
    assert counts[offsets[1:] - 1].sum() == 0 and len(rows) == 30_000
    counts = np.delete(counts, offsets[1:] - 1)
    assert ((counts - 30_000 / 9) ** 2 / (30_000 / 9)).sum() < 30  # chi-squared with 8 degrees of freedom


def test_without_burn_in_nothing_is_marked() -> None:
    buffer, *_ = make([3, 5], window=2)
    assert "learned" not in buffer.scheme and "learned" not in buffer.sample(2).scheme


@pytest.mark.parametrize(("window", "burn_in"), [(None, 2), (3, -1)])
def test_what_has_no_meaning_is_refused(window: int | None, burn_in: int) -> None:
    with pytest.raises(DatasetError, match=f"burn_in is {burn_in}; it must be"):
        make([3], window=window, burn_in=burn_in)


@pytest.mark.skipif(not th.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_marks_stay_there() -> None:
    buffer, *_ = make([3, 5], window=2, burn_in=2, device="cuda")
    assert buffer.sample(4)["learned"].is_cuda
