"""Base of the estimated behaviour policies: one small network per agent."""

from types import SimpleNamespace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from modules.layers.normaliser import Normaliser
from modules.layers.sizes import field_size
from modules.layers.stacked_linear import StackedLinear


class BaseDensity(nn.Module):
    """Densities mu_i(a_i | o_i) of all agents i, each from its own network of two hidden ReLU layers.

    scheme: must hold `obs`. args: n_agents, n_actions, hidden_dim. n_outputs: number of outputs per network.
    """

    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace, n_outputs: int) -> None:
        super().__init__()
        n_inputs = field_size(scheme, "obs")
        self.normaliser = Normaliser(args.n_agents, n_inputs)
        self.fc1 = StackedLinear(args.n_agents, n_inputs, args.hidden_dim)
        self.fc2 = StackedLinear(args.n_agents, args.hidden_dim, args.hidden_dim)
        self.fc3 = StackedLinear(args.n_agents, args.hidden_dim, n_outputs)

    def outputs(self, obs: Tensor) -> Tensor:
        """The networks' outputs. obs (R, N, O) -> (R, N, n_outputs)."""
        x = F.relu(self.fc1(self.normaliser(obs).transpose(0, 1)))  # (N, R, H)
        x = F.relu(self.fc2(x))  # (N, R, H)
        outputs: Tensor = self.fc3(x)  # (N, R, n_outputs)
        return outputs.transpose(0, 1)

    def log_prob(self, obs: Tensor, actions: Tensor, avail_actions: Tensor) -> Tensor:
        """Log-density log mu_i(a_i | o_i) of K actions per agent, (R, K, N).

        obs (R, N, O); actions (R, K, N, A), one-hot where discrete; avail_actions (R, N, A).
        """
        raise NotImplementedError
