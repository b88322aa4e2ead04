"""The cross-entropy search for the best action of a critic, as OMAR uses it (Pan et al. 2022)."""

from collections.abc import Callable

import torch as th
from torch import Tensor


def search(
    value: Callable[[Tensor], Tensor], noise: Tensor, std: float, n_elites: int | None = None
) -> tuple[Tensor, Tensor]:
    """Draw actions from a Gaussian, move it to the better ones, and again; return the best of the last draw.

    value: of K candidates in [-1, 1] per row and agent, (R, K, N, A) -> (R, K, N). noise: standard normal,
    (R, I, K, N, A) for I draws. The first Gaussian has mean 0 and standard deviation `std`; then

        n_elites null:  mean = sum_k softmax(Q)_k a_k,  variance = 1/K sum_k (a_k - mean)^2
        else:           mean and standard deviation (n - 1 in the divisor) of the best, which stay among the candidates

    Agents are searched apart. Returns the best actions (R, N, A) and their values (R, N).
    """
    mean, spread = th.zeros_like(noise[:, 0, :1]), th.full_like(noise[:, 0, :1], std)  # (R, 1, N, A)
    candidates = noise[:, 0, :0]  # (R, 0, N, A)
    values = candidates[..., 0]  # (R, 0, N)
    for z in noise.unbind(1):  # (R, K, N, A)
        drawn = (mean + spread * z).clamp(-1, 1)
        candidates, values = th.cat([candidates, drawn], 1), th.cat([values, value(drawn)], 1)
        found, found_values = best_of(candidates, values, 1)  # (R, 1, N, A), (R, 1, N)
        if n_elites is None:
            weights = values.softmax(1).unsqueeze(-1)  # (R, K, N, 1)
            mean = (weights * candidates).sum(1, keepdim=True)
            spread = (candidates - mean).square().mean(1, keepdim=True).sqrt()
            candidates, values = candidates[:, :0], values[:, :0]  # each draw stands for itself
        else:
            candidates, values = best_of(candidates, values, n_elites)  # (R, elites, N, A)
            mean = candidates.mean(1, keepdim=True)
            spread = candidates.std(1, keepdim=True)
    return found[:, 0], found_values[:, 0]


def best_of(candidates: Tensor, values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` best of each row and agent: (R, K, N, A), (R, K, N) -> (R, count, N, A), (R, count, N)."""
    best, order = values.topk(count, dim=1)  # (R, count, N)
    return candidates.gather(1, order.unsqueeze(-1).expand(-1, -1, -1, candidates.shape[-1])), best
