"""An ensemble of centralised action-value networks, built for counterfactual actions."""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor, nn

from modules.critics.counterfactual_layers import Weights, counterfactual_values
from modules.critics.keys import ENSEMBLE_SIZE
from modules.layers.normaliser import Normaliser
from modules.layers.sizes import field_size
from modules.layers.stacked_linear import StackedLinear
from utils.keys import Key

CRITIC_KEYS = {
    "ensemble_size": ENSEMBLE_SIZE,
    "critic_dtype": Key("precision of products in the critics' hidden layers", ("float32", "bfloat16")),
}


class EnsembleCritic(nn.Module):
    """E networks Q_j(s, a_1..a_N), two hidden ReLU layers each, as stacked parameters with a leading dimension E.

    The first layer is split: W s + sum_i V_i a_i. The state part is computed once per state, a replaced action adds
    only its own agent's columns, and no state or activation is repeated for the sake of a counterfactual row.
    Members differ only by their initial weights (torch's `nn.Linear` start over the whole input).

    scheme: `state`. args: n_agents, n_actions, hidden_dim, ensemble_size, critic_dtype (precision of the hidden layers'
    products). members: E, where it is not `ensemble_size`; products are float32 then.
    """

    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace, members: int | None = None) -> None:
        super().__init__()
        low_precision = members is None and args.critic_dtype == "bfloat16"
        members = args.ensemble_size if members is None else members
        self.state_dim = field_size(scheme, "state")
        self.n_agents, self.action_dim = int(args.n_agents), int(args.n_actions)
        n_inputs = self.state_dim + self.n_agents * self.action_dim
        self.dtype: th.dtype | None = th.bfloat16 if low_precision else None
        self.normaliser = Normaliser(self.state_dim, field="state")
        self.fc1 = StackedLinear(members, n_inputs, args.hidden_dim)
        self.fc2 = StackedLinear(members, args.hidden_dim, args.hidden_dim)
        self.fc3 = StackedLinear(members, args.hidden_dim, 1)

    def forward(self, state: Tensor, actions: Tensor) -> Tensor:
        """Q_j of joint actions. state (R, S), actions (R, N, A) -> (E, R)."""
        return self._joint(state, actions.unsqueeze(1)).squeeze(-1)

    def joint(self, state: Tensor, actions: Tensor) -> Tensor:
        """Q_j of M joint actions of each state, whose part is computed once. actions (R, M, N, A) -> (E, R, M)."""
        return self._joint(state, actions)

    def single_replacements(
        self, state: Tensor, actions: Tensor, alternatives: Tensor, members: int | None = None
    ) -> Tensor:
        """Q_j with one agent's action replaced, of the first `members` networks (None: all).

        state (R, S), actions (R, N, A), alternatives (R, K, N, A) -> (E, R, K, N); column i replaces agent i alone.
        """
        values = self._single(state, actions, alternatives, members, with_base=False)  # (E, N*R*K)
        return self._shape(values, alternatives)

    def data_and_single_replacements(
        self, state: Tensor, actions: Tensor, alternatives: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`forward` and `single_replacements` of the same states, whose part is computed once: (E, R), (E, R, K, N)."""
        values = self._single(state, actions, alternatives, None, with_base=True)  # (E, N*R*K + R)
        n_data = len(actions)
        return values[:, -n_data:], self._shape(values[:, :-n_data], alternatives)

    def subset_replacements(self, state: Tensor, actions: Tensor, alternatives: Tensor, masks: Tensor) -> Tensor:
        """Q_j with the actions of a subset of agents replaced.

        state (R, S), actions and alternatives (R, N, A), masks (R, M, N) bool, true where an agent takes its
        alternative -> (E, R, M).
        """
        mixed = th.where(masks.unsqueeze(-1), alternatives.unsqueeze(1), actions.unsqueeze(1))  # (R, M, N, A)
        return self._joint(state, mixed)

    def _joint(self, state: Tensor, actions: Tensor) -> Tensor:
        n_rows, n_joint = actions.shape[:2]
        inputs = self.normaliser(state).expand(len(self.fc1.weight), -1, -1)  # (E, R, S), a view
        state_part = th.baddbmm(self.fc1.bias, inputs, self.fc1.weight[:, : self.state_dim])  # (E, R, H)
        weight = self.fc1.weight[:, None, self.state_dim :]  # (E, 1, N*A, H)
        rows = actions.reshape(1, n_rows * n_joint, -1)  # (1, R*M, N*A)
        values = counterfactual_values(state_part, rows, weight, self._upper(None), False, self.dtype)
        by_row: Tensor = values.unflatten(1, (n_rows, n_joint))  # (E, R, M)
        return by_row

    def _single(
        self, state: Tensor, actions: Tensor, alternatives: Tensor, members: int | None, with_base: bool
    ) -> Tensor:
        weight, bias = (self.fc1.weight, self.fc1.bias) if members is None else self._first(members)
        inputs = th.cat([self.normaliser(state), actions.flatten(1)], dim=-1)  # (R, S+N*A)
        logged = th.baddbmm(bias, inputs.expand(len(weight), -1, -1), weight)  # (E, R, H)
        change = (alternatives - actions.unsqueeze(1)).permute(2, 0, 1, 3).flatten(1, 2)  # (N, R*K, A)
        by_agent = weight[:, self.state_dim :].unflatten(1, (self.n_agents, self.action_dim))  # (E, N, A, H)
        return counterfactual_values(logged, change, by_agent, self._upper(members), with_base, self.dtype)

    def _shape(self, values: Tensor, alternatives: Tensor) -> Tensor:
        n_rows, n_alternatives, n_agents, _ = alternatives.shape
        by_agent: Tensor = values.unflatten(1, (n_agents, n_rows, n_alternatives))  # (E, N, R, K)
        return by_agent.permute(0, 2, 3, 1)

    def _first(self, members: int) -> tuple[Tensor, Tensor]:
        return self.fc1.weight[:members], self.fc1.bias[:members]

    def _upper(self, members: int | None) -> Weights:
        second, second_bias, third, third_bias = self.fc2.weight, self.fc2.bias, self.fc3.weight, self.fc3.bias
        if members is None:
            return second, second_bias, third, third_bias
        return second[:members], second_bias[:members], third[:members], third_bias[:members]
