"""Running mean and variance of rewards and returns (the file name is stock EPyMARL's)."""

import torch as th
from torch import Tensor, nn


class RunningMeanStd(nn.Module):
    """Mean and population variance of all samples given to `update`, merged batch by batch (Chan et al. 1979).

    shape: of one sample; each entry has its own statistics. epsilon: weight of the initial mean 0 and variance 1. The
    statistics are buffers, which move, save and load with the module that holds them.
    """

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, epsilon: float = 1e-4, shape: tuple[int, ...] = (), device: str = "cpu") -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("mean", th.zeros(shape, device=device))
        self.register_buffer("var", th.ones(shape, device=device))
        self.register_buffer("count", th.tensor(epsilon, device=device))

    @th.no_grad()
    def update(self, arr: Tensor, mask: Tensor | None = None) -> None:
        """Add the samples `arr`, (..., *shape), where `mask` (0 or 1 per sample) is 1; all samples without a mask.

        One value per sample, (..., 1), counts for every entry: stock's mixers give one team value to all agents.
        """
        if len(self.shape) == 1 and arr.shape[-1] == 1:
            arr = arr.expand(*arr.shape[:-1], *self.shape)
        samples = arr.reshape(-1, *self.shape).to(self.mean.dtype)  # (K, *shape)
        weights = samples.new_ones(len(samples)) if mask is None else mask.reshape(-1).to(samples.dtype)  # (K,)
        counted = weights.view(-1, *[1] * len(self.shape)) > 0  # (K, 1, ...)
        n = weights.sum()  # ()
        mean = th.where(counted, samples, 0).sum(0) / n.clamp_min(1)  # (*shape)
        squares = th.where(counted, samples - mean, 0).square().sum(0)  # (*shape)
        total = self.count + n
        difference = mean - self.mean
        squares = squares + self.var * self.count + difference.square() * self.count * n / total
        self.mean.add_(difference * n / total)
        self.var.copy_(squares / total)
        self.count.copy_(total)

    def standardise(self, values: Tensor) -> Tensor:
        """Standardise values (..., *shape): subtract the mean and divide by the standard deviation."""
        return (values - self.mean) / self.var.sqrt()

    def restore(self, values: Tensor) -> Tensor:
        """Invert `standardise`."""
        return values * self.var.sqrt() + self.mean
