"""What the losses of several papers share: pure functions, each with its formula.

A batch's rows are its transitions, R = B (T - 1); weights and targets come in without a gradient.
"""

import math

import torch as th
from torch import Tensor

from components.episode_buffer import EpisodeBatch
from modules.layers.masks import FORBIDDEN

EVERY, NOW, NEXT, FIRST = slice(None), slice(None, -1), slice(1, None), slice(None, 1)  # time steps of a batch


def transition_mask(batch: EpisodeBatch) -> Tensor:
    """Rows that hold a transition, (B, T-1, 1) float: stock EPyMARL's mask, filled and not past a terminal.

    The final row of an episode that was cut is no transition; the buffers leave it out of `filled` where the batch goes
    on after it. Rows that only warm up a recurrent state (`learned` 0, from windows with a burn-in) do not count.
    """
    mask = batch["filled"][:, :-1].float()
    if mask.shape[1] > 1:  # nothing comes before a batch's first step
        alive = 1 - batch["terminated"][:, :-2].float()
        mask = mask * th.cat([th.ones_like(mask[:, :1]), alive], dim=1)
    return mask * batch["learned"][:, :-1] if "learned" in batch.scheme else mask


def available(batch: EpisodeBatch, steps: slice) -> Tensor:
    """1 where an agent has the action, or the action dimension, else 0: (R, N, A)."""
    return batch["avail_actions"][:, steps].flatten(0, 1)


def rows_of(batch: EpisodeBatch, key: str, steps: slice) -> Tensor:
    """An entry of the batch on the time steps `steps`, row by row: (B, T', ...) -> (R, ...)."""
    return batch[key][:, steps].flatten(0, 1)


def first_of(batch: EpisodeBatch, key: str) -> Tensor:
    """An entry at the first step of the rows' episodes, (B, 1, ...).

    Windows bring it along (`init_<key>`, one of the learner's EXTRAS); whole episodes begin with it.
    """
    brought = f"init_{key}"
    first: Tensor = batch[brought].unsqueeze(1) if brought in batch.scheme else batch[key][:, FIRST]
    return first


def after_first(batch: EpisodeBatch, key: str) -> Tensor:
    """An entry at every step, after that at the first step of the rows' episodes: (B, 1+T, ...).

    (B, T, ...) of whole episodes, which begin with it.
    """
    brought = f"init_{key}"
    if brought not in batch.scheme:
        whole: Tensor = batch[key]
        return whole
    return th.cat([batch[brought].unsqueeze(1), batch[key]], dim=1)


def of_each_row(first: Tensor, batch: EpisodeBatch) -> Tensor:
    """What the rows of an episode share, (B, 1, ...), for each of them: (R, ...)."""
    return first.expand(-1, batch.max_seq_length - 1, *first.shape[2:]).flatten(0, 1)


def next_action_known(batch: EpisodeBatch) -> Tensor:
    """Whether row t+1 stores an action of the behaviour, (R,) bool.

    Replay buffers of online runs have no such key: their rows all store one.
    """
    if "next_action_valid" not in batch.scheme:
        return th.ones_like(batch["filled"][:, NOW], dtype=th.bool).flatten()
    return batch["next_action_valid"][:, NOW].flatten() > 0


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the valid rows. values (..., R), mask (R,) -> (...); zero where no row is valid."""
    return (values * mask).sum(-1) / mask.sum().clamp_min(1)


def steps_after_the_end(batch: EpisodeBatch, gamma: float) -> Tensor:
    """Discounted steps in the state after the end, (): gamma + gamma^2 + ... for each end of an episode."""
    ends = (transition_mask(batch) * batch["terminated"][:, NOW]).sum()
    steps: Tensor = ends * gamma / (1 - gamma)
    return steps


# -- targets -----------------------------------------------------------------------------------------------------------


def td_target(reward: Tensor, terminated: Tensor, next_value: Tensor, gamma: float) -> Tensor:
    """y = r + gamma (1 - terminated) V(s'); all of one shape, or of shapes that broadcast.

    A time limit is no terminal: values are bootstrapped through it.
    """
    return reward + gamma * (1 - terminated.to(reward.dtype)) * next_value


def clip_target(next_value: Tensor, bound: Tensor) -> Tensor:
    """min(V(s'), M R*): B3C's clipping of the bootstrapped value (Kim & Sycara, AAMAS 2026).

    bound: M R*, (), a multiple of the largest return in the data; infinity never clips.
    """
    return next_value.minimum(bound)


def expectile_loss(error: Tensor, expectile: float) -> Tensor:
    """|tau - 1(error < 0)| error^2, elementwise; error: target minus prediction (implicit Q-learning, eq. 5)."""
    return (expectile - (error < 0).to(error.dtype)).abs() * error.square()


# -- weights -----------------------------------------------------------------------------------------------------------


def exponential_weights(advantage: Tensor, temperature: float, largest: float) -> Tensor:
    """min(exp(A / temperature), largest), elementwise: advantage-weighted regression."""
    return (advantage / temperature).clamp_max(math.log(largest)).exp()


def log_mean_exp(values: Tensor, mask: Tensor, zeros: Tensor | None = None) -> Tensor:
    """log (1/n sum_r exp x_r) over the n valid rows; values (..., R), mask (R,) -> (...).

    zeros: a number of further rows, (), in which x is 0. The result is a number of the whole batch: compute it in
    `batch_context`, never inside a loss.
    """
    total, count = values.masked_fill(mask == 0, -th.inf).logsumexp(-1), mask.sum()  # (...), ()
    if zeros is not None:
        total, count = total.logaddexp(zeros.log()), count + zeros
    return total - count.clamp_min(1).to(values.dtype).log()


# -- conservative penalties --------------------------------------------------------------------------------------------


def logsumexp_actions(values: Tensor, forbidden: Tensor | None) -> Tensor:
    """log sum_k exp Q(s, a_k) over K actions per agent, (..., R, K, N) -> (..., R, N), without its constants.

    For uniform samples these are the log-density and -log K, which have no gradient. forbidden: (R, K, N) bool, the
    actions that an agent lacks, or None.
    """
    return (values if forbidden is None else values.masked_fill(forbidden, FORBIDDEN)).logsumexp(-2)


def importance_logsumexp(values: Tensor, log_densities: Tensor) -> Tensor:
    """log (1/K sum_k exp(Q_k - log p_k)): CQL(H)'s penalty from K joint samples of known densities (Kumar et al. 2020).

    values (..., R, K), log_densities (R, K) of uniform, policy or joint samples -> (..., R).
    """
    return (values - log_densities).logsumexp(-1) - math.log(values.shape[-1])
