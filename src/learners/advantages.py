"""Generalised advantage estimation (Schulman et al. 2016), and rows of a rollout as a batch of transitions."""

from types import SimpleNamespace

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch


def discounted_so_far(reward: Tensor, valid: Tensor, gamma: float) -> Tensor:
    """sum_k gamma^k r_(t-k) over the episode up to t; reward (B, T, M), valid (B, T, 1) -> (B, T, M)."""
    total, sums = th.zeros_like(reward[:, 0]), []
    for t in range(reward.shape[1]):
        total = gamma * total + reward[:, t] * valid[:, t]  # (B, M)
        sums.append(total)
    return th.stack(sums, dim=1)


def advantages(
    reward: Tensor, terminated: Tensor, valid: Tensor, values: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """A_t = d_t + gamma lambda A_(t+1) with d_t = r_t + gamma V_(t+1) - V_t, without the second terms at a terminal.

    A time limit is no terminal: the last step before it still has V_(t+1), and only A_(t+1) is missing there.

    reward: (B, T-1, M) or (B, T-1, 1); terminated, valid: (B, T-1, 1), valid 1 where a row holds a transition; values:
    (B, T, M). Returns (B, T-1, M).
    """
    goes_on = 1 - terminated.to(values.dtype)  # (B, T-1, 1)
    errors = reward + gamma * goes_on * values[:, 1:] - values[:, :-1]  # (B, T-1, M)
    following = th.cat([valid[:, 1:], th.zeros_like(valid[:, :1])], dim=1)  # (B, T-1, 1)
    kept = gamma * gae_lambda * goes_on * following  # (B, T-1, 1)
    later, found = th.zeros_like(errors[:, 0]), []
    for t in reversed(range(errors.shape[1])):
        later = errors[:, t] + kept[:, t] * later  # (B, M)
        found.append(later)
    return th.stack(found[::-1], dim=1)


def standardised(values: Tensor, valid: Tensor) -> Tensor:
    """Values minus their mean, divided by their standard deviation, both over valid rows. (B, T, M), (B, T, 1)."""
    count = (valid.sum() * values.shape[-1]).clamp_min(1)
    mean = (values * valid).sum() / count
    variance = ((values - mean).square() * valid).sum() / count
    return (values - mean) / (variance.sqrt() + 1e-8)


def transitions(batch: EpisodeBatch, valid: Tensor) -> EpisodeBatch:
    """The transitions of a rollout as R windows of one step, (R, 2, ...); valid: (B, T-1, 1)."""
    episode, step = (valid.squeeze(-1) > 0).nonzero(as_tuple=True)  # (R,) each
    data = {}
    for key, values in batch.data.transition_data.items():
        data[key] = th.stack([values[episode, step], values[episode, step + 1]], dim=1)  # (R, 2, ...)
    scheme = dict(batch.scheme)
    if "actions_onehot" in data:
        before = batch["actions_onehot"][episode, (step - 1).clamp_min(0)]  # (R, N, A)
        first = before * (step > 0).view(-1, 1, 1)
        data["prev_actions_onehot"] = th.stack([first, data["actions_onehot"][:, 0]], dim=1)
        scheme["prev_actions_onehot"] = scheme["actions_onehot"]
    data["filled"] = th.zeros_like(data["filled"])
    data["filled"][:, 0] = 1
    wrapped = SimpleNamespace(transition_data=data, episode_data={})
    return EpisodeBatch(scheme, batch.groups, len(episode), 2, data=wrapped, device=batch.device)
