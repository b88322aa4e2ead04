"""A critic of the state and all agents' one-hot actions: `critic(states, actions)` gives (B, T, 1)."""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import nn


class JointCritic(nn.Module):
    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace) -> None:
        super().__init__()
        width = scheme["state"]["vshape"] + args.n_actions * args.n_agents
        self.layers = nn.Sequential(nn.Linear(width, args.hidden_dim), nn.ReLU(), nn.Linear(args.hidden_dim, 1))

    def forward(self, states: th.Tensor, actions: th.Tensor) -> th.Tensor:
        return self.layers(th.cat([states, actions.flatten(-2)], dim=-1))
