"""Ensembles of decentralised critics: each agent's values from its own observation."""

from types import SimpleNamespace
from typing import Any

import torch as th
import torch.nn.functional as F
from torch import Tensor, nn

from modules.layers.normaliser import Normaliser
from modules.layers.sizes import field_size
from modules.layers.stacked_linear import StackedLinear
from utils.keys import Key

LOCAL_KEYS = {
    "shared_critics": Key("one network of values for all agents, told apart by an index, instead of one for each", bool)
}


class LocalEnsemble(nn.Module):
    """E networks of two hidden ReLU layers: V_i(o_i), Q_i(o_i, .) of all discrete actions, or Q_i(o_i, a_i).

    shared: one network for all agents, told apart by a one-hot index; else one network per agent. members: E.
    with_actions: action values, of every action at once where they are discrete, of K given ones where continuous. The
    observation's part of the first layer is then computed once for all K.

    scheme: `obs`, `actions`. args: n_agents, n_actions, hidden_dim.
    """

    def __init__(
        self, scheme: dict[str, Any], args: SimpleNamespace, members: int, with_actions: bool, shared: bool = False
    ) -> None:
        super().__init__()
        discrete = not scheme["actions"]["dtype"].is_floating_point
        self.n_agents, self.members, self.shared = int(args.n_agents), members, shared
        self.takes_actions, self.gives_actions = with_actions and not discrete, with_actions and discrete
        obs_dim = field_size(scheme, "obs")
        self.normaliser = Normaliser(self.n_agents, obs_dim)
        self.n_seen = obs_dim + (self.n_agents if shared else 0)
        n_stack = members * (1 if shared else self.n_agents)
        n_inputs = self.n_seen + (int(args.n_actions) if self.takes_actions else 0)
        self.fc1 = StackedLinear(n_stack, n_inputs, args.hidden_dim)
        self.fc2 = StackedLinear(n_stack, args.hidden_dim, args.hidden_dim)
        self.fc3 = StackedLinear(n_stack, args.hidden_dim, int(args.n_actions) if self.gives_actions else 1)

    def forward(self, obs: Tensor, actions: Tensor | None = None, members: int | None = None) -> Tensor:
        """Observations (R, N, O), continuous actions (R, K, N, A) -> (E, R, N), (E, R, A, N) or (E, R, K, N).

        members: only the first so many of each agent's networks (None: all); E is that number then.
        """
        members = self.members if members is None else members
        seen = self.by_network(self._see(obs).unsqueeze(1), members)  # (E*G, rows, O')
        first = self.fc1.weight[: len(seen)]  # (E*G, I, H)
        x: Tensor = th.baddbmm(self.fc1.bias[: len(seen)], seen, first[:, : self.n_seen])  # (E*G, rows, H)
        n_rows, n_actions = len(obs), 1
        if self.takes_actions:
            assert actions is not None
            n_actions = actions.shape[1]
            change = th.bmm(self.by_network(actions, members), first[:, self.n_seen :])  # (E*G, K*rows, H)
            x = (x.unsqueeze(1) + change.unflatten(1, (n_actions, -1))).flatten(1, 2)
        for layer in (self.fc2, self.fc3):
            x = th.baddbmm(
                layer.bias[: len(seen)], F.relu(x), layer.weight[: len(seen)]
            )  # (E*G, K*rows, H), then 1 or A
        by_agent = x.unflatten(0, (members, -1)).unflatten(2, (n_actions, -1))  # (E, G, K, rows, 1 or A)
        if self.shared:
            by_agent = by_agent.squeeze(1).unflatten(2, (n_rows, self.n_agents))  # (E, K, R, N, 1 or A)
            values: Tensor = by_agent.permute(0, 2, 1, 4, 3)  # (E, R, K, 1 or A, N)
        else:
            values = by_agent.permute(0, 3, 2, 4, 1)  # (E, R, K, 1 or A, N)
        values = values.flatten(2, 3)  # (E, R, K, N): K is 1, A or the number of candidates
        return values if self.takes_actions or self.gives_actions else values.squeeze(2)

    def taken(self, obs: Tensor, actions: Tensor) -> Tensor:
        """Q_i of one action of each agent, (R, N, A), one-hot where they are discrete: (E, R, N)."""
        if self.gives_actions:
            picked: Tensor = (self(obs) * actions.transpose(1, 2)).sum(2)  # (E, R, A, N) -> (E, R, N)
            return picked
        values: Tensor = self(obs, actions.unsqueeze(1))  # (E, R, 1, N)
        return values.squeeze(2)

    def by_network(self, inputs: Tensor, members: int) -> Tensor:
        """Inputs (R, K, N, I) for each network of `members`, the alternative slowest: (E*G, K*rows, I)."""
        if self.shared:
            rows = inputs.transpose(0, 1).flatten(0, 2).unsqueeze(0)  # (1, K*R*N, I)
        else:
            rows = inputs.permute(2, 1, 0, 3).flatten(1, 2)  # (N, K*R, I)
        return rows.repeat(members, 1, 1)

    def _see(self, obs: Tensor) -> Tensor:
        seen: Tensor = self.normaliser(obs)  # (R, N, O)
        if self.shared:
            index = th.eye(self.n_agents, dtype=obs.dtype, device=obs.device).expand(len(obs), -1, -1)
            seen = th.cat([seen, index], dim=-1)  # (R, N, O+N)
        return seen
