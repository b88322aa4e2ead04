import numpy as np
import torch as th
from torch import nn


class QMixer(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.n_agents, self.width = args.n_agents, args.mixing_embed_dim
        self.state_dim = int(np.prod(args.state_shape))
        self.first = nn.Linear(self.state_dim, self.n_agents * self.width)
        self.last, self.bias = nn.Linear(self.state_dim, self.width), nn.Linear(self.state_dim, 1)

    def forward(self, agent_qs, states):
        rows = states.reshape(-1, self.state_dim)
        first = self.first(rows).abs().view(-1, self.n_agents, self.width)
        hidden = th.bmm(agent_qs.view(-1, 1, self.n_agents), first)
        total = th.bmm(hidden, self.last(rows).abs().unsqueeze(2)).squeeze(2) + self.bias(rows)
        return total.view(len(agent_qs), -1, 1)
