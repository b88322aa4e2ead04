"""Input standardisation with statistics that travel with the weights."""

from collections.abc import Mapping
from typing import Any

import torch as th
from torch import Tensor, nn

# Columns that do not vary in the data (padding, silent communication) are centred but not scaled.
SMALLEST_STD = 1e-6

InputStatistics = Mapping[str, tuple[Tensor, Tensor]]  # field -> mean and standard deviation


class Normaliser(nn.Module):
    """Standardise inputs by a mean and a standard deviation kept as buffers; the identity until `fill` is called.

    shape: the trailing shape of the statistics, broadcast against the inputs. field: the entry of a batch that the
    inputs begin with, `obs` or `state`; None: it stays the identity. Only filled statistics are saved: the files of
    networks without any are stock EPyMARL's, and such files load as the identity.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *shape: int, field: str | None = "obs") -> None:
        super().__init__()
        self.register_buffer("mean", th.zeros(shape))
        self.register_buffer("std", th.ones(shape))
        self.filled, self.field = False, field

    def fill(self, mean: Tensor, std: Tensor) -> None:
        """Set the statistics. mean, std: this layer's `shape`. Raises ValueError where the shapes differ."""
        if mean.shape != self.mean.shape or std.shape != self.std.shape:
            raise ValueError(
                f"normalisation statistics have shapes {tuple(mean.shape)} and {tuple(std.shape)}, "
                f"the layer needs {tuple(self.mean.shape)}"
            )
        self.filled = True
        self.mean.copy_(mean)
        self.std.copy_(th.where(std < SMALLEST_STD, th.ones_like(std), std))

    def fill_field(self, mean: Tensor, std: Tensor) -> None:
        """Set the statistics of the inputs' leading columns from those of a batch's entry.

        mean, std: (S,) of the state, or (N, O) of all agents' observations. One network for all agents, of inputs (I,),
        takes these pooled; networks of their own, (N, I), each its own. Further columns (last action, index) are left
        as they are.
        """
        if mean.dim() > self.mean.dim():
            second_moment = (std.square() + mean.square()).mean(0)
            mean = mean.mean(0)
            std = (second_moment - mean.square()).clamp_min(0).sqrt()
        extra = self.mean.shape[-1] - mean.shape[-1]
        self.fill(
            th.cat([mean, mean.new_zeros(*mean.shape[:-1], extra)], dim=-1),
            th.cat([std, std.new_ones(*std.shape[:-1], extra)], dim=-1),
        )

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        if self.filled:
            super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        self.filled = f"{prefix}mean" in state_dict
        if not self.filled:
            state_dict |= {f"{prefix}mean": th.zeros_like(self.mean), f"{prefix}std": th.ones_like(self.std)}
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs - self.mean) / self.std  # (..., *shape)


def fill_normalisers(module: nn.Module, statistics: InputStatistics) -> None:
    """Fill every normaliser inside `module` that has a field with the statistics of that field.

    statistics: `obs`, mean and standard deviation (N, O) each, and `state`, (S,) each.
    """
    for layer in module.modules():
        if isinstance(layer, Normaliser) and layer.field is not None:
            layer.fill_field(*statistics[layer.field])
