"""Tables over a dataset's flat rows: its windows, and discounted sums of its rewards."""

import numpy as np
import torch as th
from torch import Tensor


def next_action_valid(offsets: Tensor, last_action_known: np.ndarray) -> Tensor:
    """1 on rows whose next row holds an action that is known to be the behaviour's, (R, 1); 0 on final rows."""
    valid = th.ones(int(offsets[-1]), 1)
    valid[offsets[1:] - 1] = 0.0
    valid[offsets[1:] - 2] = th.from_numpy(last_action_known).float().unsqueeze(-1)
    return valid


def discounted_to_go(reward: Tensor, offsets: Tensor, gamma: float) -> Tensor:
    """Discounted returns to go within episodes, G_t = r_t + gamma G_{t+1}, (R, ...); final rows hold no step."""
    to_go = reward.clone()
    ends = offsets[1:] - 1  # the final rows
    for back in range(1, int(offsets.diff().max())):
        rows = (ends - back)[ends - back >= offsets[:-1]]
        to_go[rows] += gamma * to_go[rows + 1]
    return to_go


def window_table(offsets: Tensor, terminated: Tensor, window: int | None, burn_in: int) -> dict[str, Tensor]:
    """Tables of all windows, (W,) each.

    start: first row; length: rows; before: burn-in rows; cut: whether the last step is no terminal; first: the first
    row of its episode.
    """
    n_rows, ends = offsets.diff(), offsets[1:]
    counts = th.ones_like(n_rows) if window is None else (n_rows - window).clamp(min=1)
    episode = th.arange(len(n_rows)).repeat_interleave(counts)
    first = offsets[:-1][episode]
    learned = first + th.arange(len(episode)) - (counts.cumsum(0) - counts)[episode]  # the first row to learn from
    stop = ends[episode] if window is None else th.minimum(ends[episode], learned + window + 1)
    before = (learned - first).clamp(max=burn_in)
    start = learned - before
    cut = terminated[stop - 2, 0] == 0
    return {"start": start, "length": stop - start, "before": before, "cut": cut, "first": first}
