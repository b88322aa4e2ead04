"""A mixer that learners import by its class: weights from the state, kept non-negative."""

from types import SimpleNamespace

import numpy as np
import torch as th
from torch import nn


class TotalMixer(nn.Module):
    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__()
        self.weights = nn.Linear(int(np.prod(args.state_shape)), args.n_agents)

    def forward(self, agent_qs: th.Tensor, states: th.Tensor) -> th.Tensor:
        return (agent_qs * th.abs(self.weights(states))).sum(dim=2, keepdim=True)
