from types import SimpleNamespace

import torch as th
import torch.nn.functional as F
from torch import Tensor, nn

from modules.mixers.hypernet import hypernet, state_size


class FreeMixer(nn.Module):
    """QMIX's network without the absolute values: Q_tot = w_2(s)^T elu(W_1(s)^T q + b_1(s)) + V(s).

    The team's value may fall where an agent's rises. So the agents' best actions need not be the team's, and only
    learners whose policies climb Q_tot itself can use it (FACMAC, Peng et al. 2021; B3C, Kim & Sycara 2026).

    forward: agent_qs (B, T, N), states (B, T, S) -> (B, T, 1); with_bias=False leaves out V(s).
    args: n_agents, state_shape, mixing_embed_dim (width of the mixing network), hypernet_layers (1 or 2),
    hypernet_embed (width of the weights' two-layer hyper-networks). Raises ConfigError for another number of layers.
    """

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__()
        self.n_agents, self.embed_dim = args.n_agents, args.mixing_embed_dim
        self.state_dim = state_size(args)
        self.hyper_w_1 = hypernet(args, self.n_agents * self.embed_dim)
        self.hyper_w_final = hypernet(args, self.embed_dim)
        self.hyper_b_1 = nn.Linear(self.state_dim, self.embed_dim)
        self.hyper_b_final = nn.Sequential(
            nn.Linear(self.state_dim, self.embed_dim), nn.ReLU(), nn.Linear(self.embed_dim, 1)
        )  # V(s)

    def forward(self, agent_qs: Tensor, states: Tensor, with_bias: bool = True) -> Tensor:
        rows = states.reshape(-1, self.state_dim)  # (B*T, S)
        qs = agent_qs.reshape(-1, 1, self.n_agents)  # (B*T, 1, N)
        w_1 = self.hyper_w_1(rows).view(-1, self.n_agents, self.embed_dim)  # (B*T, N, E)
        hidden = F.elu(th.baddbmm(self.hyper_b_1(rows).unsqueeze(1), qs, w_1))  # (B*T, 1, E)
        total = th.bmm(hidden, self.hyper_w_final(rows).unsqueeze(2))  # (B*T, 1, 1)
        if with_bias:
            total = total + self.hyper_b_final(rows).unsqueeze(1)  # (B*T, 1, 1)
        return total.view(*agent_qs.shape[:2], 1)
