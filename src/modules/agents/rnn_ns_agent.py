import copy
from types import SimpleNamespace

import torch as th
from torch import Tensor, nn

from modules.agents.rnn_agent import RNNAgent
from modules.layers.normaliser import Normaliser
from modules.layers.stacked_linear import one_of


class RNNNSAgent(nn.Module):
    """One `RNNAgent` per agent (no parameter sharing). Rows are ordered B*N, the agent index fastest."""

    unshared = True

    def __init__(self, input_shape: int, args: SimpleNamespace) -> None:
        super().__init__()
        self.is_recurrent = args.use_rnn
        self.n_agents, self.hidden_dim = args.n_agents, args.hidden_dim
        self.normaliser = Normaliser(args.n_agents, input_shape)
        agents = [RNNAgent(input_shape, args) for _ in range(args.n_agents)]
        for agent in agents:
            agent.normaliser.field = None  # it stays the identity: inputs are standardised above it
        self.agents = nn.ModuleList(agents)

    def init_hidden(self) -> Tensor:
        return next(self.parameters()).new_zeros(self.n_agents, self.hidden_dim)  # (N, H)

    def alone(self, index: int) -> "RNNNSAgent":
        """One agent's network as a copy of its own, for inputs (B, input_shape)."""
        own = copy.deepcopy(self)
        own.n_agents, own.agents = 1, nn.ModuleList([own.agents[index]])
        own.normaliser = one_of(own.normaliser, index)
        return own

    def forward(self, inputs: Tensor, hidden_state: Tensor) -> tuple[Tensor, Tensor]:
        by_agent = self.normaliser(inputs.reshape(-1, self.n_agents, inputs.shape[-1]))  # (B, N, I)
        hidden_by_agent = hidden_state.reshape(-1, self.n_agents, self.hidden_dim)
        hidden_by_agent = hidden_by_agent.expand(by_agent.shape[0], -1, -1)  # (B, N, H)
        results = [agent(by_agent[:, i], hidden_by_agent[:, i]) for i, agent in enumerate(self.agents)]
        out = th.stack([result[0] for result in results], dim=1)  # (B, N, P)
        hidden = th.stack([result[1] for result in results], dim=1)  # (B, N, H)
        return out.flatten(0, 1), hidden.flatten(0, 1)
