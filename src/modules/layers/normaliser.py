"""Input standardisation with statistics that are saved with the weights."""

from collections.abc import Mapping
from typing import Any

import torch as th
from torch import Tensor, nn

# Smallest standard deviation to divide by. Columns that are constant in the data (padding) are centred, not scaled.
SMALLEST_STD = 1e-6

InputStatistics = Mapping[str, tuple[Tensor, Tensor]]  # field -> mean and standard deviation


class Normaliser(nn.Module):
    """A layer that standardises inputs by a mean and a standard deviation; the identity until `fill` is called.

    shape: of the statistics, broadcast against the inputs' last dimensions. field: the batch entry at the start of the
    inputs, `obs` or `state`; with None the layer stays the identity. Only filled statistics are saved, so that networks
    without them have stock EPyMARL's files; a file without statistics loads as the identity.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *shape: int, field: str | None = "obs") -> None:
        super().__init__()
        self.register_buffer("mean", th.zeros(shape))
        self.register_buffer("std", th.ones(shape))
        self.filled, self.field = False, field

    def fill(self, mean: Tensor, std: Tensor) -> None:
        """Set the statistics. mean, std: of this layer's `shape`. Raises ValueError for other shapes."""
        if mean.shape != self.mean.shape or std.shape != self.std.shape:
            raise ValueError(
                f"normalisation statistics have shapes {tuple(mean.shape)} and {tuple(std.shape)}, "
                f"the layer needs {tuple(self.mean.shape)}"
            )
        self.filled = True
        self.mean.copy_(mean)
        self.std.copy_(th.where(std < SMALLEST_STD, th.ones_like(std), std))

    def fill_field(self, mean: Tensor, std: Tensor) -> None:
        """Set the statistics of the inputs' first columns from those of a batch entry.

        mean, std: (S,) of the state, or (N, O) of all agents' observations. A network that agents share, with inputs
        (I,), pools them over agents; one network per agent, with inputs (N, I), takes each agent's own. Further columns
        (last action, agent index) are not standardised.
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
    """Fill every normaliser inside `module` that has a field with that field's statistics.

    statistics: mean and standard deviation of `obs`, (N, O) each, and of `state`, (S,) each.
    """
    for layer in module.modules():
        if isinstance(layer, Normaliser) and layer.field is not None:
            layer.fill_field(*statistics[layer.field])
