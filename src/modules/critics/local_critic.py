"""Values of single agents, each from its own observations: ComaDICE's nu_i and q_i."""

from types import SimpleNamespace
from typing import Any

import torch as th
from torch import Tensor, nn

from modules.layers.affine_relu import affine_relu
from modules.layers.normaliser import Normaliser
from modules.layers.sizes import field_size


class LocalCritic(nn.Module):
    """One network for all agents, told apart by a one-hot index: nu_i(o_i), or q_i(o_i, a_i) with `with_actions`.

    Two hidden ReLU layers; where `recurrent` the second is a GRU, which starts from zeros at the first row of a batch.
    Gradients also flow through rows that only warm it up. In the policies they do not.
    q_i of discrete actions is the logged one's entry of A outputs, that of continuous ones takes them as inputs.

    Without memory it is the same function as `LocalEnsemble` with `shared`. Both stay, for their weights lie
    differently, in saved files and in what is drawn for the start.

    scheme: `obs`, `actions`. args: n_agents, n_actions, hidden_dim.
    """

    def __init__(self, scheme: dict[str, Any], args: SimpleNamespace, with_actions: bool, recurrent: bool) -> None:
        super().__init__()
        obs_dim = field_size(scheme, "obs")
        self.n_agents, self.recurrent, self.with_actions = int(args.n_agents), recurrent, with_actions
        self.discrete = not scheme["actions"]["dtype"].is_floating_point
        inputs_action = with_actions and not self.discrete
        self.normaliser = Normaliser(self.n_agents, obs_dim)
        n_inputs = obs_dim + self.n_agents + (int(args.n_actions) if inputs_action else 0)
        self.fc1 = nn.Linear(n_inputs, args.hidden_dim)
        self.fc2: nn.Module
        if recurrent:
            self.fc2 = nn.GRU(args.hidden_dim, args.hidden_dim, batch_first=True)
        else:
            self.fc2 = nn.Linear(args.hidden_dim, args.hidden_dim)
        self.fc3 = nn.Linear(args.hidden_dim, int(args.n_actions) if with_actions and self.discrete else 1)

    def forward(self, obs: Tensor, actions: Tensor | None = None) -> Tensor:
        """obs (B, T, N, O), actions (B, T, N, A), one-hot where they are discrete -> (B, T, N)."""
        index = th.eye(self.n_agents, dtype=obs.dtype, device=obs.device).expand(*obs.shape[:2], -1, -1)
        inputs = [self.normaliser(obs), index]  # (B, T, N, O), (B, T, N, N)
        if self.with_actions:
            assert actions is not None
            if not self.discrete:
                inputs.append(actions)
        x = affine_relu(th.cat(inputs, dim=-1), self.fc1)  # (B, T, N, H)
        x = affine_relu(x, self.fc2) if isinstance(self.fc2, nn.Linear) else self._remember(x)  # (B, T, N, H)
        outputs: Tensor = self.fc3(x)  # (B, T, N, 1 or A)
        if self.with_actions and self.discrete:
            assert actions is not None
            return (outputs * actions).sum(-1)
        return outputs.squeeze(-1)

    def _remember(self, x: Tensor) -> Tensor:
        rows = x.transpose(1, 2).flatten(0, 1)  # (B*N, T, H)
        hidden: Tensor = self.fc2(rows)[0].unflatten(0, (len(x), self.n_agents))  # (B, N, T, H)
        return hidden.transpose(1, 2)
