from types import SimpleNamespace

import torch.nn.functional as F
from torch import Tensor, nn

from modules.layers.normaliser import Normaliser
from modules.policies import output_width


class RNNAgent(nn.Module):
    """One network for all agents, on standardised inputs: linear, GRU (linear when `use_rnn` is False), linear.

    forward: inputs (B*N, input_shape), hidden reshapeable to (B*N, H) -> outputs (B*N, output_width), hidden (B*N, H).
    """

    unshared = False

    def __init__(self, input_shape: int, args: SimpleNamespace) -> None:
        super().__init__()
        self.args = args
        self.is_recurrent = args.use_rnn
        self.normaliser = Normaliser(input_shape)
        self.fc1 = nn.Linear(input_shape, args.hidden_dim)
        self.rnn = (
            nn.GRUCell(args.hidden_dim, args.hidden_dim)
            if args.use_rnn
            else nn.Linear(args.hidden_dim, args.hidden_dim)
        )
        self.fc2 = nn.Linear(args.hidden_dim, output_width(args))

    def init_hidden(self) -> Tensor:
        return self.fc1.weight.new_zeros(1, self.args.hidden_dim)  # (1, H)

    def forward(self, inputs: Tensor, hidden_state: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.fc1(self.normaliser(inputs)))  # (B*N, H)
        if self.args.use_rnn:
            hidden = self.rnn(x, hidden_state.reshape(-1, self.args.hidden_dim))
        else:
            hidden = F.relu(self.rnn(x))
        return self.fc2(hidden), hidden
