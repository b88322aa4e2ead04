import torch as th
from torch import nn


class RNNAgent(nn.Module):
    def __init__(self, input_shape, args):
        super().__init__()
        self.args, width = args, args.hidden_dim
        self.fc1, self.fc2 = nn.Linear(input_shape, width), nn.Linear(width, args.n_actions)
        self.rnn = nn.GRUCell(width, width) if args.use_rnn else nn.Linear(width, width)

    def init_hidden(self):
        return self.fc1.weight.new_zeros(1, self.args.hidden_dim)

    def forward(self, inputs, hidden_state):
        x = th.relu(self.fc1(inputs))
        hidden = hidden_state.reshape(-1, self.args.hidden_dim)
        hidden = self.rnn(x, hidden) if self.args.use_rnn else th.relu(self.rnn(x))
        return self.fc2(hidden), hidden
