"""A critic of each agent's observation: `critic(batch)` gives (B, T, N, 1)."""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import nn

from components.episode_buffer import EpisodeBatch


class ValueCritic(nn.Module):
    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace) -> None:
        super().__init__()
        self.n_agents, self.output_type = args.n_agents, "v"
        width: int = scheme["obs"]["vshape"]
        width += self.n_agents
        self.layers = nn.Sequential(nn.Linear(width, args.hidden_dim), nn.ReLU(), nn.Linear(args.hidden_dim, 1))

    def forward(self, batch: EpisodeBatch, t: int | None = None) -> th.Tensor:
        steps = slice(None) if t is None else slice(t, t + 1)
        obs = batch["obs"][:, steps]
        eye = th.eye(self.n_agents, device=batch.device).expand(*obs.shape[:2], -1, -1)
        return self.layers(th.cat([obs, eye], dim=-1))
