import torch as th
from torch import nn

from .rnn_agent import RNNAgent


class RNNNSAgent(nn.Module):
    def __init__(self, input_shape, args):
        super().__init__()
        self.n_agents = args.n_agents
        self.agents = nn.ModuleList(RNNAgent(input_shape, args) for _ in range(args.n_agents))

    def init_hidden(self):
        return th.cat([agent.init_hidden() for agent in self.agents])

    def forward(self, inputs, hidden_state):
        inputs = inputs.view(-1, self.n_agents, inputs.shape[-1])
        hidden = hidden_state.reshape(len(inputs), self.n_agents, -1)
        pairs = [agent(inputs[:, i], hidden[:, i]) for i, agent in enumerate(self.agents)]
        outputs, hidden = (th.stack(parts, dim=1).flatten(0, 1) for parts in zip(*pairs, strict=True))
        return outputs, hidden
