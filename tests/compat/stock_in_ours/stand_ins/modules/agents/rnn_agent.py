"""An agent with the members of stock's: no normaliser, no `is_recurrent`, no `unshared`; `use_rnn` has no default."""

from types import SimpleNamespace

import torch as th
from torch import nn


class RNNAgent(nn.Module):
    def __init__(self, input_shape: int, args: SimpleNamespace) -> None:
        super().__init__()
        self.args = args
        self.first = nn.Linear(input_shape, args.hidden_dim)
        self.middle = (nn.GRUCell if args.use_rnn else nn.Linear)(args.hidden_dim, args.hidden_dim)
        self.last = nn.Linear(args.hidden_dim, args.n_actions)

    def init_hidden(self) -> th.Tensor:
        return self.first.weight.new(1, self.args.hidden_dim).zero_()

    def forward(self, inputs: th.Tensor, hidden_state: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        x = th.relu(self.first(inputs))
        if self.args.use_rnn:
            h = self.middle(x, hidden_state.reshape(-1, self.args.hidden_dim))
        else:
            h = th.relu(self.middle(x))
        return self.last(h), h
