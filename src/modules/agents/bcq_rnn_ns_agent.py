"""BCQ's agents with a memory: values and a model of the behaviour given the history, for discrete actions."""

from types import SimpleNamespace

import torch as th
import torch.nn.functional as F
from torch import Tensor, nn

from modules.agents.bcq_ns_agent import BCQNSAgent
from modules.layers.stacked_linear import StackedLinear
from utils.errors import ConfigError


class StackedRNN(nn.Module):
    """One network per agent: linear, GRU, linear. (N, R, inputs), (N, R, H) -> (N, R, outputs), (N, R, H)."""

    def __init__(self, n_stack: int, n_inputs: int, hidden_dim: int, n_outputs: int) -> None:
        super().__init__()
        self.fc1 = StackedLinear(n_stack, n_inputs, hidden_dim)
        self.seen = StackedLinear(n_stack, hidden_dim, 3 * hidden_dim)
        self.kept = StackedLinear(n_stack, hidden_dim, 3 * hidden_dim)
        self.fc2 = StackedLinear(n_stack, hidden_dim, n_outputs)

    def forward(self, inputs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """One step, as `nn.GRUCell` does it: its gates are reset, update and new, in this order."""
        seen = self.seen(F.relu(self.fc1(inputs))).chunk(3, dim=-1)  # (N, R, H) each
        kept = self.kept(hidden).chunk(3, dim=-1)  # (N, R, H) each
        reset, update = (seen[0] + kept[0]).sigmoid(), (seen[1] + kept[1]).sigmoid()
        new = (seen[2] + reset * kept[2]).tanh()
        hidden = new + update * (hidden - new)
        return self.fc2(hidden), hidden


class BCQRNNNSAgent(BCQNSAgent):
    """`BCQNSAgent` whose values and behaviour's model each have a GRU, as OG-MARL's discrete BCQ has them.

    The hidden state of an agent is that of both, (2 H,), the values' first. Raises ConfigError for continuous actions.
    """

    is_recurrent = True

    def __init__(self, input_shape: int, args: SimpleNamespace) -> None:
        if args.agent_output_type == "mean":
            raise ConfigError(
                "agent=bcq_rnn_ns is for discrete actions, as BCQ's networks of continuous ones have no memory: set "
                "agent=bcq_ns window=1"
            )
        super().__init__(input_shape, args)

    def network(self, n_inputs: int) -> nn.Module:
        return StackedRNN(self.n_agents, n_inputs, int(self.args.hidden_dim), int(self.args.n_actions))

    def init_hidden(self) -> Tensor:
        return self.normaliser.mean.new_zeros(self.n_agents, 2 * int(self.args.hidden_dim))  # (N, 2 H)

    def forward(self, inputs: Tensor, hidden_state: Tensor, available: Tensor | None = None) -> tuple[Tensor, Tensor]:
        seen = self.see(self.by_agent(inputs))  # (N, B, I)
        states = hidden_state.reshape(-1, self.n_agents, hidden_state.shape[-1])  # (B or 1, N, 2 H)
        own, model = states.expand(seen.shape[1], -1, -1).transpose(0, 1).chunk(2, dim=-1)  # (N, B, H) each
        values, own = self.q[0](seen, own)
        logits, model = self.behaviour[0](seen, model)
        outputs = self.allowed_values(values, logits, available)  # (N, B, A)
        hidden = th.cat([own, model], dim=-1)  # (N, B, 2 H)
        return outputs.transpose(0, 1).flatten(0, 1), hidden.transpose(0, 1).flatten(0, 1)

    def over_time(self, networks: nn.ModuleList, obs: Tensor, learned: Tensor | None, steps: slice) -> Tensor:
        """As in `BCQNSAgent`, from an empty memory on; no gradient flows through that of rows which only warm it up."""
        hidden = obs.new_zeros(self.n_agents, len(obs), int(self.args.hidden_dim))  # (N, B, H)
        found = []
        for t in range(obs.shape[1]):
            outputs, hidden = networks[0](self.see(obs[:, t]), hidden)  # (N, B, A), (N, B, H)
            found.append(outputs)
            if learned is not None:
                hidden = th.where(learned[:, t] > 0, hidden, hidden.detach())
        return th.stack(found, dim=2)[:, :, steps].flatten(1, 2)
