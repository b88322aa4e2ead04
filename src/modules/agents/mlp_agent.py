from types import SimpleNamespace

import torch.nn.functional as F
from torch import Tensor, nn

from modules.layers.normaliser import Normaliser
from modules.policies import output_width


class MLPAgent(nn.Module):
    """One feed-forward network for all agents: two hidden ReLU layers on standardised inputs.

    forward: inputs (B*N, input_shape) -> outputs (B*N, output_width), unsquashed; the hidden state passes through.
    `final_init` (a key of the algorithm's YAML; null keeps torch's) bounds the last layer's first weights: tanh
    policies start near the middle of the action range.
    """

    is_recurrent = False
    unshared = False

    def __init__(self, input_shape: int, args: SimpleNamespace) -> None:
        super().__init__()
        self.normaliser = Normaliser(input_shape)
        self.fc1 = nn.Linear(input_shape, args.hidden_dim)
        self.fc2 = nn.Linear(args.hidden_dim, args.hidden_dim)
        self.fc3 = nn.Linear(args.hidden_dim, output_width(args))
        final_init = getattr(args, "final_init", None)
        if final_init is not None:
            nn.init.uniform_(self.fc3.weight, -final_init, final_init)

    def init_hidden(self) -> Tensor:
        return self.fc1.weight.new_zeros(1, 1)  # controllers carry a hidden state; unused here

    def forward(self, inputs: Tensor, hidden_state: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.fc1(self.normaliser(inputs)))  # (B*N, H)
        x = F.relu(self.fc2(x))  # (B*N, H)
        return self.fc3(x), hidden_state
