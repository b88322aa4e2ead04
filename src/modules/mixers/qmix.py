from types import SimpleNamespace

import numpy as np
import torch as th
import torch.nn.functional as F
from torch import Tensor, nn

from utils.errors import ConfigError


class QMixer(nn.Module):
    """QMIX (Rashid et al. 2018): Q_tot = |w_2(s)|^T elu(|W_1(s)|^T q + b_1(s)) + V(s), increasing in every q_i.

    forward: agent_qs (B, T, N), states (B, T, S) -> (B, T, 1). args: n_agents, state_shape, mixing_embed_dim (width of
    the mixing network), hypernet_layers (1 or 2), hypernet_embed (width of the weights' two-layer hyper-networks).
    Raises ConfigError for another number of layers.
    """

    def __init__(self, args: SimpleNamespace) -> None:
        super().__init__()
        self.n_agents, self.embed_dim = args.n_agents, args.mixing_embed_dim
        self.state_dim = int(np.prod(args.state_shape))
        self.hyper_w_1 = self._hypernet(args, self.embed_dim * self.n_agents)
        self.hyper_w_final = self._hypernet(args, self.embed_dim)
        self.hyper_b_1 = nn.Linear(self.state_dim, self.embed_dim)
        self.V = nn.Sequential(
            nn.Linear(self.state_dim, self.embed_dim), nn.ReLU(), nn.Linear(self.embed_dim, 1)
        )  # stock's name: a bias of the output that may depend on the state in any way

    def _hypernet(self, args: SimpleNamespace, n_outputs: int) -> nn.Module:
        layers = getattr(args, "hypernet_layers", 1)
        if layers == 1:
            return nn.Linear(self.state_dim, n_outputs)
        if layers == 2:
            width = args.hypernet_embed
            return nn.Sequential(nn.Linear(self.state_dim, width), nn.ReLU(), nn.Linear(width, n_outputs))
        raise ConfigError(f"hypernet_layers={layers}: QMIX's hyper-networks have 1 or 2 layers")

    def forward(self, agent_qs: Tensor, states: Tensor) -> Tensor:
        rows = states.reshape(-1, self.state_dim)  # (B*T, S)
        qs = agent_qs.reshape(-1, 1, self.n_agents)  # (B*T, 1, N)
        w_1 = self.hyper_w_1(rows).abs().view(-1, self.n_agents, self.embed_dim)  # (B*T, N, E)
        b_1 = self.hyper_b_1(rows).unsqueeze(1)  # (B*T, 1, E)
        hidden = F.elu(th.baddbmm(b_1, qs, w_1))  # (B*T, 1, E)
        w_final = self.hyper_w_final(rows).abs().unsqueeze(2)  # (B*T, E, 1)
        total = th.bmm(hidden, w_final) + self.V(rows).unsqueeze(1)  # (B*T, 1, 1)
        return total.view(*agent_qs.shape[:2], 1)
