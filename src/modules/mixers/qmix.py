from types import SimpleNamespace

import torch as th
import torch.nn.functional as F
from torch import Tensor, nn

from modules.mixers.hypernet import hypernet, state_size


class QMixer(nn.Module):
    """QMIX (Rashid et al. 2018): Q_tot = |w_2(s)|^T elu(|W_1(s)|^T q + b_1(s)) + V(s), increasing in every q_i.

    forward: agent_qs (B, T, N), states (B, T, S) -> (B, T, 1); with_bias=False leaves out V(s).
    args: n_agents, state_shape, mixing_embed_dim (width of the mixing network), hypernet_layers (1 or 2),
    hypernet_embed (width of the weights' two-layer hyper-networks). Raises ConfigError for another number of layers.
    """

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__()
        self.n_agents, self.embed_dim = args.n_agents, args.mixing_embed_dim
        self.state_dim = state_size(args)
        self.hyper_w_1 = hypernet(args, self.embed_dim * self.n_agents)
        self.hyper_w_final = hypernet(args, self.embed_dim)
        self.hyper_b_1 = nn.Linear(self.state_dim, self.embed_dim)
        self.V = nn.Sequential(
            nn.Linear(self.state_dim, self.embed_dim), nn.ReLU(), nn.Linear(self.embed_dim, 1)
        )  # named as in stock EPyMARL: the state-dependent bias of the output

    def signed(self, weights: Tensor) -> Tensor:
        """The mixing weights, made non-negative: Q_tot rises with every q_i."""
        return weights.abs()

    def forward(self, agent_qs: Tensor, states: Tensor, with_bias: bool = True) -> Tensor:
        rows = states.reshape(-1, self.state_dim)  # (B*T, S)
        qs = agent_qs.reshape(-1, 1, self.n_agents)  # (B*T, 1, N)
        w_1 = self.signed(self.hyper_w_1(rows)).view(-1, self.n_agents, self.embed_dim)  # (B*T, N, E)
        b_1 = self.hyper_b_1(rows).unsqueeze(1)  # (B*T, 1, E)
        hidden = F.elu(th.baddbmm(b_1, qs, w_1))  # (B*T, 1, E)
        w_final = self.signed(self.hyper_w_final(rows)).unsqueeze(2)  # (B*T, E, 1)
        total = th.bmm(hidden, w_final)  # (B*T, 1, 1)
        if with_bias:
            total = total + self.V(rows).unsqueeze(1)  # (B*T, 1, 1)
        return total.view(*agent_qs.shape[:2], 1)
