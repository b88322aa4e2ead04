"""Values of states, for learners that need no action: V(s), or nu(s) of the whole team."""

from types import SimpleNamespace
from typing import Any

import torch as th
import torch.nn.functional as F
from torch import Tensor, nn

from modules.layers.normaliser import Normaliser
from modules.layers.sizes import field_size
from modules.layers.stacked_linear import StackedLinear


class StateCritic(nn.Module):
    """E networks V_j(s) of two hidden ReLU layers, as stacked parameters with a leading dimension E.

    scheme: `state`. args: hidden_dim. members: E. n_outputs: values per state, 1 or one per agent.
    """

    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace, members: int = 1, n_outputs: int = 1) -> None:
        super().__init__()
        state_dim = field_size(scheme, "state")
        self.normaliser = Normaliser(state_dim, field="state")
        self.fc1 = StackedLinear(members, state_dim, args.hidden_dim)
        self.fc2 = StackedLinear(members, args.hidden_dim, args.hidden_dim)
        self.fc3 = StackedLinear(members, args.hidden_dim, n_outputs)

    def forward(self, state: Tensor) -> Tensor:
        """State (R, S) -> (E, R), or (E, R, n_outputs) where there are several."""
        inputs = self.normaliser(state).expand(len(self.fc1.weight), -1, -1)  # (E, R, S)
        hidden = F.relu(self.fc2(F.relu(self.fc1(inputs))))  # (E, R, H)
        values: Tensor = self.fc3(hidden)  # (E, R, n_outputs)
        return values.squeeze(-1)

    def squared_slope(self, state: Tensor) -> Tensor:
        """Squared norm of the slope of sum_j V_j, per standard deviation of the state: (R, S) -> (R,)."""
        gradient = th.func.grad(lambda states: self(states).sum())(state)  # (R, S)
        per_deviation: Tensor = gradient * self.normaliser.std
        return per_deviation.square().sum(-1)
