from types import SimpleNamespace

import torch.nn.functional as F
from torch import Tensor, nn

from modules.layers.normaliser import Normaliser
from modules.layers.stacked_linear import StackedLinear, one_of
from modules.policies import output_width


class MLPNSAgent(nn.Module):
    """One `MLPAgent` per agent (no parameter sharing), as stacked parameters (N, in, out).

    forward: inputs (B*N, input_shape), the agent index fastest -> outputs (B*N, output_width), unsquashed.
    """

    is_recurrent = False
    unshared = True

    def __init__(self, input_shape: int, args: SimpleNamespace) -> None:
        super().__init__()
        self.n_agents = args.n_agents
        self.normaliser = Normaliser(args.n_agents, input_shape)
        self.fc1 = StackedLinear(args.n_agents, input_shape, args.hidden_dim)
        self.fc2 = StackedLinear(args.n_agents, args.hidden_dim, args.hidden_dim)
        self.fc3 = StackedLinear(args.n_agents, args.hidden_dim, output_width(args))
        final_init = getattr(args, "final_init", None)
        if final_init is not None:
            nn.init.uniform_(self.fc3.weight, -final_init, final_init)

    def init_hidden(self) -> Tensor:
        return self.fc1.weight.new_zeros(self.n_agents, 1)  # controllers carry a hidden state; unused here

    def alone(self, index: int) -> "MLPNSAgent":
        """One agent's network as a copy of its own, for inputs (B, input_shape)."""
        own = one_of(self, index)
        own.n_agents = 1
        return own

    def forward(self, inputs: Tensor, hidden_state: Tensor) -> tuple[Tensor, Tensor]:
        by_agent = self.normaliser(inputs.reshape(-1, self.n_agents, inputs.shape[-1]))  # (B, N, I)
        x = F.relu(self.fc1(by_agent.transpose(0, 1)))  # (N, B, H)
        x = F.relu(self.fc2(x))  # (N, B, H)
        return self.fc3(x).transpose(0, 1).flatten(0, 1), hidden_state  # (B*N, P)
