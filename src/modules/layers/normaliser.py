"""Input standardisation with statistics that travel with the weights."""

from typing import Any

import torch as th
from torch import Tensor, nn

# Columns that do not vary in the data (padding, silent communication) are centred but not scaled.
SMALLEST_DEVIATION = 1e-6


class Normaliser(nn.Module):
    """Standardise inputs by a mean and a deviation kept as buffers; the identity until `fill` is called.

    shape: the trailing shape of the statistics, broadcast against the inputs. Only filled statistics are saved, so the
    files of networks without any are stock EPyMARL's, and such files load as the identity.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("mean", th.zeros(shape))
        self.register_buffer("std", th.ones(shape))
        self.filled = False

    def fill(self, mean: Tensor, std: Tensor) -> None:
        """Set the statistics. mean, std: this layer's `shape`. Raises ValueError where the shapes differ."""
        if mean.shape != self.mean.shape or std.shape != self.std.shape:
            raise ValueError(
                f"normalisation statistics have shapes {tuple(mean.shape)} and {tuple(std.shape)}, "
                f"the layer needs {tuple(self.mean.shape)}"
            )
        self.filled = True
        self.mean.copy_(mean)
        self.std.copy_(th.where(std < SMALLEST_DEVIATION, th.ones_like(std), std))

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


def dataset_normaliser(field: dict[str, Any], input_norm: str, *shape: int) -> Normaliser:
    """A normaliser of a scheme's entry, filled with its `mean` and `std` where there are any and `input_norm` asks."""
    normaliser = Normaliser(*shape)
    if input_norm == "dataset" and "mean" in field:
        normaliser.fill(field["mean"], field["std"])
    return normaliser


def fill_from_agents(normaliser: Normaliser, mean: Tensor, std: Tensor) -> None:
    """Fill an agent's normaliser with every agent's observation statistics, mean and std (N, O).

    One network for all agents, of inputs (I,), takes them pooled; networks of their own, (N, I), each its own. Inputs
    beside the observation (last action, index) are left as they are.
    """
    if normaliser.mean.dim() == 1:
        second_moment = (std.square() + mean.square()).mean(0)
        mean = mean.mean(0)
        std = (second_moment - mean.square()).clamp_min(0).sqrt()
    extra = normaliser.mean.shape[-1] - mean.shape[-1]
    normaliser.fill(
        th.cat([mean, mean.new_zeros(*mean.shape[:-1], extra)], dim=-1),
        th.cat([std, std.new_ones(*std.shape[:-1], extra)], dim=-1),
    )
